/** Options and argument parsers that several commands share. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { UserMetadata } from '../index.ts';

/** `--json`, on every command. */
export function jsonOption(): Option {
  return new Option('--json', 'one JSON object a line on stdout');
}

/** `--space NAME`, on every command that works on keys. */
export function spaceOption(): Option {
  return new Option('--space <name>', 'a named key space of the store instead of its own keys');
}

/** `--hex`, on every command that takes a key. */
export function hexOption(): Option {
  return new Option('--hex', 'keys and prefixes are given in hex, for bytes that are not UTF-8');
}

/** Options of the commands on keys. */
export interface KeyOptions {
  json?: boolean;
  space?: string;
  hex?: boolean;
}

/** Adds what every command on keys has. */
export function withKeyOptions(command: Command): Command {
  return command.addOption(spaceOption()).addOption(hexOption()).addOption(jsonOption());
}

/** A whole number from 0 up. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

/** Days from 0 up, also parts of one. */
export function days(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError('It must be a number of days.');
  return value;
}

/** Above 0, up to 100. */
export function percent(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || !(value > 0 && value <= 100))
    throw new InvalidArgumentError('It must be a number above 0, up to 100.');
  return value;
}

/** A number from 1 up. */
export function ratio(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value < 1)
    throw new InvalidArgumentError('It must be a number from 1 up.');
  return value;
}

/** Collects an option that may be given several times. */
export function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** `name=text`, or a JSON object whose fields are all taken; later ones win. */
export function collectMetadata(text: string, before: UserMetadata = {}): UserMetadata {
  if (text.startsWith('{')) return { ...before, ...jsonObject(text) };
  const cut = text.indexOf('=');
  if (cut < 1) throw new InvalidArgumentError('Give NAME=TEXT or a JSON object.');
  return { ...before, [text.slice(0, cut)]: text.slice(cut + 1) };
}

function jsonObject(text: string): UserMetadata {
  try {
    return JSON.parse(text) as UserMetadata;
  } catch (error) {
    if (error instanceof SyntaxError) throw new InvalidArgumentError(`Not JSON: ${error.message}`);
    throw error;
  }
}

/** A few lines under the help of a command. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`;
}
