/** `--at T`: a point in time as people write it. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { At, Engine, ReadOptions } from '../index.ts';
import { spaceOf } from './session.ts';
import type { ExportSource } from './tree/export-tree.ts';

/** Of the commands that read. */
export interface AtOptions {
  at?: At;
}

/** Adds `--at`. */
export function withAt(command: Command): Command {
  return command.addOption(
    new Option(
      '--at <when>',
      'as it was then: the number of a commit, a date, or the name of a snapshot ' +
        '(snapshot:NAME where that looks like one of these)',
    ).argParser(pointArgument),
  );
}

/** What names a snapshot whatever its name looks like, as `versions` shows it. */
const snapshotPrefix = 'snapshot:';

/**
 * Digits are a commit's number; what begins as 2026-11-21 does is a date, UTC where it says no zone; anything
 * else is the name of a snapshot, and so is all that comes behind `snapshot:`.
 */
export function pointArgument(text: string): At {
  if (text.startsWith(snapshotPrefix)) return { snapshot: text.slice(snapshotPrefix.length) };
  if (/^\d+$/.test(text)) {
    const seq = Number(text);
    if (!Number.isSafeInteger(seq)) throw new InvalidArgumentError('No commit has such a number.');
    return seq;
  }
  if (!/^\d{4}-\d{2}-\d{2}($|[T ])/.test(text)) return { snapshot: text };
  return timeArgument(text);
}

/** A time as an option, see dateOf. */
export function timeArgument(text: string): Date {
  const date = dateOf(text);
  if (date === undefined) throw new InvalidArgumentError('Not a date: give YYYY-MM-DD[THH:MM[:SS]][Z].');
  return date;
}

/**
 * A date, or a date and a time, UTC where it says no zone; undefined for anything else, days that no month
 * has among it: Date takes the 31st of February for a day in March.
 */
export function dateOf(text: string): Date | undefined {
  const day = text.slice(0, 10);
  const hasZone = /(Z|[+-]\d{2}:?\d{2})$/i.test(text.slice(10));
  const date = new Date(text.length === 10 || hasZone ? text : `${text.replace(' ', 'T')}Z`);
  const midnight = new Date(day);
  const isDay = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day);
  return isDay && !Number.isNaN(date.getTime()) ? date : undefined;
}

/** The option of a read. */
export function readAt(at: At | undefined): ReadOptions {
  return at === undefined ? {} : { at };
}

/** The space a command reads; one of the past need not be there any more. */
export function spaceAt(engine: Engine, name: string | undefined, at: At | undefined): Engine {
  return spaceOf(engine, name, at === undefined);
}

/** A store of one state, for commands that read all of it. */
export function storeAt(space: Engine, at: At | undefined): ExportSource {
  if (at === undefined) return space;
  return {
    get: (key) => space.get(key, { at }),
    stream: (key, options) => space.stream(key, { ...options, at }),
    pieces: (key, options) => space.pieces(key, { ...options, at }),
    scan: (options) => space.scan({ ...options, at }),
  };
}
