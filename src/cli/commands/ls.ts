/** varve ls: keys in order. */
import type { Command } from 'commander';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { Entry, EntryStat, KeyEntry, ScanOptions } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, type KeyOptions, wholeNumber, withKeyOptions } from '../options.ts';
import { type AtOptions, readAt, spaceAt, withAt } from '../point.ts';
import { type Runner, readStore, type Session } from '../session.ts';
import { keyArgument, keyFields, keyText, plainText } from '../text.ts';
import { statFields } from './stat.ts';

interface Options extends KeyOptions, AtOptions {
  prefix?: string;
  after?: string;
  limit?: number;
  delimiter?: string;
  reverse?: boolean;
  long?: boolean;
}

export function addLs(program: Command, runner: Runner): void {
  const command = program
    .command('ls')
    .description('List keys in byte order. Control characters in keys are shown as \\xNN.')
    .argument('<store>', 'directory of the store')
    .option('--prefix <prefix>', 'only keys that begin with this')
    .option('--long', 'size, time, content type and tags beside each key')
    .option('--limit <n>', 'at most this many', wholeNumber)
    .option('--delimiter <text>', 'fold keys that go on behind this text into one line, as directories')
    .option('--after <key>', 'go on behind this key, the last one seen')
    .option('--reverse', 'last key first')
    .addHelpText(
      'after',
      examples('varve ls ./data --prefix photos/ --delimiter /', 'varve ls ./data --json --limit 100'),
    );
  withAt(withKeyOptions(command)).action((store: string, options: Options) =>
    runner.run(options, (session) => ls(session, store, options)),
  );
}

async function ls(session: Session, store: string, options: Options): Promise<number> {
  const long = options.long === true;
  const scan: ScanOptions = { values: false, stats: long, ...readAt(options.at) };
  if (options.prefix !== undefined) scan.prefix = keyArgument(options.prefix, options.hex);
  if (options.after !== undefined) scan.after = keyArgument(options.after, options.hex);
  if (options.limit !== undefined) scan.limit = options.limit;
  if (options.delimiter !== undefined) scan.delimiter = options.delimiter;
  if (options.reverse === true) scan.reverse = true;
  return await readStore(session, store, async (engine) => {
    for await (const entry of spaceAt(engine, options.space, options.at).scan<Uint8Array>(scan)) {
      throwIfAborted(session.io.signal);
      if (session.json) await session.out.json(entryFields(entry));
      else await session.out.line(entryText(session, entry, long));
      if (session.out.closed) break;
    }
    return exitCodes.done;
  });
}

function entryFields(entry: Entry<Uint8Array>): object {
  if (entry.key === undefined) {
    const { key, keyHex } = keyFields(entry.prefix) as { key?: string; keyHex?: string };
    return { type: 'prefix', prefix: key, prefixHex: keyHex };
  }
  const stat = entry.stat === undefined ? {} : statFields(entry.stat);
  return { type: 'entry', ...keyFields(entry.key), seq: entry.seq, size: entry.size, ...stat };
}

function entryText(session: Session, entry: Entry<Uint8Array>, long: boolean): string {
  if (entry.key === undefined) {
    const shown = session.paint('cyan', keyText(entry.prefix));
    return long ? `${' '.repeat(longHeadWidth)}${shown}` : shown;
  }
  return long ? longText(session, entry) : keyText(entry.key);
}

const longHeadWidth = 12 + 2 + 20 + 2;

function longText(session: Session, entry: KeyEntry<Uint8Array>): string {
  const stat = entry.stat!;
  const notes = notesOf(stat);
  const head = `${String(entry.size).padStart(12)}  ${stat.modified.toISOString().slice(0, 19)}Z  `;
  return `${head}${keyText(entry.key)}${notes === '' ? '' : session.paint('dim', `  ${notes}`)}`;
}

function notesOf(stat: EntryStat): string {
  const { contentType, tags = [], metadata } = stat;
  const target = metadata?.target;
  const parts = [
    ...(contentType === undefined ? [] : [plainText(contentType)]),
    ...tags.map((tag) => `#${plainText(tag)}`),
    ...(metadata?.type === 'symlink' && target instanceof Uint8Array ? [`-> ${keyText(target)}`] : []),
  ];
  return parts.join(' ');
}
