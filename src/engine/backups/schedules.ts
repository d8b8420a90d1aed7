/**
 * Schedules of backups, kept in the store: when, where, what to keep, what to verify; and what became of
 * their last runs.
 *
 * Invariants (test/engine/schedules.test.ts)
 * - What was set is there after a crash and after a restore ("a schedule acknowledged is there after a
 *   crash").
 * - A schedule set anew begins with no runs ("a schedule that is set again begins anew").
 */
import {
  type BackupSchedule,
  checkSchedule,
  planSchedule,
  policyOf,
  type ScheduleEntry,
} from '../../backup/schedule-planner.ts';
import type { Vault } from '../../backup/vault.ts';
import { encodeUtf8 } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { checkNames } from '../../base/names.ts';
import { schedulesFeature } from '../../format/format-ladder.ts';
import {
  encodeScheduleRow,
  type ScheduleRunRow,
  scheduleKey,
  scheduleRunKey,
} from '../../format/schedule-rows.ts';
import type { Store } from '../store.ts';
import { notesInVaults, readSchedules, type ScheduleNotes, withNotes } from './schedule-book.ts';
import { type RunScheduleOptions, runSchedules, type ScheduleReport } from './schedule-run.ts';

const nameBytesMax = 200;
const schedulesMax = 1000;
/** How long a time may be without a success before it counts as late, where no option says otherwise. */
const graceMsDefault = 3_600_000;

/** A schedule, and how it stands. */
export interface ScheduleInfo {
  readonly name: string;
  readonly schedule: BackupSchedule;
  readonly defined: Date;
  /** The time it is to be run for as soon as somebody runs schedules. */
  readonly due?: Date;
  /** When it, or a try again, comes next. */
  readonly next?: Date;
  /** The first time it had no success for, where that is longer ago than the grace. */
  readonly lateSince?: Date;
  /** The last run. */
  readonly last?: {
    readonly due: Date;
    readonly started: Date;
    readonly ended: Date;
    readonly ok: boolean;
    /** Id of its backup. */
    readonly backup?: string;
    readonly error?: string;
  };
  /** Runs that failed since one succeeded. */
  readonly failures: number;
  /** When the last success ended. */
  readonly lastOk?: Date;
  /** When a verify behind a run last found nothing wrong. */
  readonly verified?: Date;
}

/** What is to be known of runs besides what the store has noted. */
export interface ListSchedulesOptions {
  /** How long a time may be without a success before it is late. Default an hour. */
  readonly graceMs?: number;
  /** Of runs that the store could not note, see RunScheduleOptions. */
  readonly notes?: ScheduleNotes;
  /**
   * Opens the vaults: also counts runs that a process beside a writer has noted there. Vaults that cannot be
   * opened or read are passed over.
   */
  readonly openVault?: (vault: string) => Promise<Vault>;
}

/** The schedules of a store. */
export interface ScheduleList {
  /**
   * Keeps a schedule under a name, instead of one that had it; its times count from now on. Nothing runs by
   * itself: see `run`. Durable as put. VARVE_INVALID_ARGUMENT.
   */
  set(name: string, schedule: BackupSchedule): Promise<ScheduleInfo>;
  /** VARVE_NOT_FOUND. `graceMs`: how long a time may be without a success before it is late; an hour. */
  get(name: string, options?: { graceMs?: number }): Promise<ScheduleInfo>;
  /** By name. */
  list(options?: ListSchedulesOptions): Promise<ScheduleInfo[]>;
  /** False where there was none. Durable as put. Backups that were made stay. */
  delete(name: string): Promise<boolean>;
  /** Makes the backups that are due, as they become due; see runSchedule, which opens vaults by itself. */
  run(options: RunScheduleOptions): Promise<ScheduleReport>;
}

/** The schedules of an open store. */
export function schedulesOf(store: Store): ScheduleList {
  const { clock } = store.parts.env;
  const list = async (options: ListSchedulesOptions): Promise<ScheduleInfo[]> => {
    checkNames(options, ['graceMs', 'notes', 'openVault'], 'option');
    const { graceMs = graceMsDefault, notes, openVault } = options;
    checkGrace(graceMs);
    const entries = await readSchedules(store);
    const told = openVault === undefined ? undefined : await notesInVaults(store, entries, openVault);
    const newest = entries.map((entry) => withNotes(withNotes(entry, notes), told));
    return newest.map((entry) => infoOf(entry, clock.now(), graceMs));
  };
  const get = async (name: string, graceMs: number): Promise<ScheduleInfo> => {
    const found = (await list({ graceMs })).find((info) => info.name === name);
    if (found === undefined) throw new VarveError('VARVE_NOT_FOUND', `no schedule ${JSON.stringify(name)}`);
    return found;
  };
  return {
    set: (name, schedule) =>
      store.run(async () => {
        await setSchedule(store, name, schedule);
        return await get(name, graceMsDefault);
      }),
    get: (name, options = {}) =>
      store.run(async () => {
        checkNames(options, ['graceMs'], 'option');
        return await get(name, options.graceMs ?? graceMsDefault);
      }),
    list: (options = {}) => store.run(() => list(options)),
    delete: (name) => store.run(() => deleteSchedule(store, name)),
    run: (options) => runSchedules(store, options),
  };
}

async function setSchedule(store: Store, name: string, given: BackupSchedule): Promise<void> {
  const write = store.writable();
  checkName(name);
  const schedule = checkSchedule(given);
  const definedMs = store.parts.env.clock.now();
  const value = encodeScheduleRow({ definedMs, policy: policyOf(schedule) });
  const known = await readSchedules(store);
  if (known.length >= schedulesMax && !known.some((entry) => entry.name === name))
    throw invalid(`a store has at most ${schedulesMax} schedules`);
  await write.checkpointer.require(schedulesFeature);
  const rows = [
    { key: scheduleKey(name), value },
    { key: scheduleRunKey(name), value: undefined },
  ];
  await store.stillWritable().txn.commit([], [], rows)?.done;
}

async function deleteSchedule(store: Store, name: string): Promise<boolean> {
  store.writable();
  checkName(name);
  if (!(await readSchedules(store)).some((entry) => entry.name === name)) return false;
  const rows = [scheduleKey(name), scheduleRunKey(name)].map((key) => ({ key, value: undefined }));
  await store.stillWritable().txn.commit([], [], rows)?.done;
  return true;
}

function infoOf(entry: ScheduleEntry, nowMs: number, graceMs: number): ScheduleInfo {
  const { name, schedule, definedMs, run } = entry;
  const { dueMs, nextMs, lateSinceMs } = planSchedule(entry, nowMs, graceMs);
  return {
    name,
    schedule,
    defined: new Date(definedMs),
    ...(dueMs === undefined ? {} : { due: new Date(dueMs) }),
    ...(nextMs === undefined ? {} : { next: new Date(nextMs) }),
    ...(lateSinceMs === undefined ? {} : { lateSince: new Date(lateSinceMs) }),
    ...(run === undefined ? {} : { last: lastOf(run) }),
    failures: run?.failures ?? 0,
    ...(run === undefined || run.okMs === 0 ? {} : { lastOk: new Date(run.okMs) }),
    ...(run === undefined || run.verifiedMs === 0 ? {} : { verified: new Date(run.verifiedMs) }),
  };
}

function lastOf(run: ScheduleRunRow): NonNullable<ScheduleInfo['last']> {
  const { dueMs, startedMs, endedMs, failures, backup, error } = run;
  return {
    due: new Date(dueMs),
    started: new Date(startedMs),
    ended: new Date(endedMs),
    ok: failures === 0,
    ...(backup === undefined ? {} : { backup }),
    ...(error === undefined ? {} : { error }),
  };
}

function checkName(name: string): void {
  if (typeof name !== 'string' || !/^[\p{L}\p{N}][\p{L}\p{N} ._-]*$/u.test(name))
    throw invalid('a schedule has a name of letters, digits, spaces, dots, dashes and underscores');
  if (encodeUtf8(name, 'schedule name').length > nameBytesMax)
    throw invalid(`the name of a schedule has at most ${nameBytesMax} bytes`);
}

function checkGrace(graceMs: number): void {
  if (!(graceMs >= 0 && graceMs <= Number.MAX_SAFE_INTEGER)) throw invalid('graceMs is a number from 0 up');
}
