/** Schedules of backups: what one says, and when it is due. Pure. */
import { corrupt, invalid, isVarveError } from '../base/errors.ts';
import { checkFlags } from '../base/names.ts';
import type { PackMap } from '../codec/msgpack.ts';
import type { BackupMode } from '../format/backup-manifest.ts';
import { newerFormat } from '../format/format-ladder.ts';
import type { ScheduleRow, ScheduleRunRow } from '../format/schedule-rows.ts';
import { CronTimes } from './cron.ts';
import { checkKeepRules, type KeepRules } from './retention-planner.ts';
import { checkTimeZone } from './time-zone.ts';

/** What is proved of the vault after each run. */
export interface ScheduleVerify {
  /** Default 3. */
  readonly level?: 0 | 1 | 2 | 3;
  /** Packs are checked in turn, so that so many runs look at all of them. Default 1: all, each time. */
  readonly parts?: number;
  /** Ends after about so long; the next run goes on from there. */
  readonly maxMs?: number;
  /** Values of so many keys, chosen by chance, are read back whole. Default 0. */
  readonly testKeys?: number;
}

/** How the log between backups is archived. */
export interface ScheduleArchive {
  /** While schedules are run, what was committed goes into the vault every so many ms, 1,000 up to a day. */
  readonly everyMs: number;
  /** Log older than this goes when older backups go. Default: with the backups it is rolled forward from. */
  readonly keepMs?: number;
}

/** When backups are made, where, and what happens behind them. */
export interface BackupSchedule {
  /** Five fields of cron, or @hourly, @daily, @weekly, @monthly, @yearly. */
  readonly cron: string;
  /** IANA name, by whose clocks `cron` is read and days of `keep` begin. Default 'UTC'. */
  readonly timeZone?: string;
  /** Directory of the vault, or whatever `openVault` of the run knows it by. Made where there is none. */
  readonly vault: string;
  readonly mode?: BackupMode;
  readonly label?: string;
  readonly tags?: readonly string[];
  /** What a run wrote is read back before its backup counts. Default true. */
  readonly verifyNew?: boolean;
  readonly bytesPerSecond?: number;
  /** Behind a whole backup, older ones of this store that no rule keeps go, and what they alone needed. */
  readonly keep?: KeepRules;
  readonly verify?: ScheduleVerify;
  /** Also keeps the log, so that any moment between backups can be restored. Default: it is not. */
  readonly archive?: ScheduleArchive;
  /** It is kept and does not run. */
  readonly paused?: boolean;
}

/** A schedule with what is known of its runs. */
export interface ScheduleEntry {
  readonly name: string;
  readonly schedule: BackupSchedule;
  readonly definedMs: number;
  readonly run: ScheduleRunRow | undefined;
}

/** What is to be done about a schedule. */
export interface SchedulePlan {
  /** The time it is to be run for, now; several that were missed are one run, for the last of them. */
  readonly dueMs: number | undefined;
  /** It is a try again of a run that failed. */
  readonly isRetry: boolean;
  /** When to look again; undefined: never. */
  readonly nextMs: number | undefined;
  /** The oldest time without a success, if that is longer ago than `graceMs`. */
  readonly lateSinceMs: number | undefined;
}

const names: readonly string[] = [
  'cron',
  'timeZone',
  'vault',
  'mode',
  'label',
  'tags',
  'verifyNew',
  'bytesPerSecond',
  'keep',
  'verify',
  'archive',
  'paused',
];
const verifyNames: readonly string[] = ['level', 'parts', 'maxMs', 'testKeys'];
const archiveNames: readonly string[] = ['everyMs', 'keepMs'];
const modes: readonly string[] = ['full', 'differential', 'incremental'];

const minuteMs = 60_000;
const dayMs = 86_400_000;
/** A failed run is tried again after 1, 2, 4 … minutes, at most so many. */
const retryMinutesMax = 60;
/** A run that began so much later than now did so by a clock that was wrong. */
const futureMs = 3_600_000;

/** VARVE_INVALID_ARGUMENT names what is unknown or out of range. */
export function checkSchedule(given: BackupSchedule): BackupSchedule {
  if (typeof given !== 'object' || given === null) throw invalid('a schedule is an object');
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) throw invalid(`a schedule has no ${unknown}: it has ${names.join(', ')}`);
  const { cron, timeZone = 'UTC', vault, mode, label, tags, bytesPerSecond, keep, verify, archive } = given;
  checkTimeZone(timeZone);
  new CronTimes(cron, timeZone);
  if (typeof vault !== 'string' || vault === '' || vault.length > 4096)
    throw invalid('vault is the directory of a vault');
  if (mode !== undefined && !modes.includes(mode)) throw invalid(`mode is one of ${modes.join(', ')}`);
  if (label !== undefined && (typeof label !== 'string' || label.length > 1000))
    throw invalid('label is a text of at most 1,000 characters');
  const areTags = tags === undefined || (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string'));
  if (!areTags || (tags?.length ?? 0) > 99) throw invalid('tags is an array of at most 99 texts');
  whole('bytesPerSecond', bytesPerSecond, 1, Number.MAX_SAFE_INTEGER);
  checkFlags(given, ['verifyNew', 'paused']);
  if (keep !== undefined) checkKeepRules(keep, timeZone);
  if (verify !== undefined) checkVerify(verify);
  if (archive !== undefined) checkArchive(archive);
  return given;
}

function checkParts(what: string, part: object, known: readonly string[]): void {
  if (typeof part !== 'object' || part === null) throw invalid(`${what} is an object`);
  const unknown = Object.keys(part).find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalid(`${what} has no ${unknown}: it has ${known.join(', ')}`);
}

function checkArchive(archive: ScheduleArchive): void {
  checkParts('archive', archive, archiveNames);
  if (archive.everyMs === undefined) throw invalid('archive.everyMs is needed');
  whole('archive.everyMs', archive.everyMs, 1000, dayMs);
  whole('archive.keepMs', archive.keepMs, 1, Number.MAX_SAFE_INTEGER);
}

function checkVerify(verify: ScheduleVerify): void {
  checkParts('verify', verify, verifyNames);
  whole('verify.level', verify.level, 0, 3);
  whole('verify.parts', verify.parts, 1, 1e6);
  whole('verify.maxMs', verify.maxMs, 1, Number.MAX_SAFE_INTEGER);
  whole('verify.testKeys', verify.testKeys, 0, 10_000);
}

function whole(name: string, value: number | undefined, from: number, to: number): void {
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= from && value <= to))
    throw invalid(`${name} is a whole number from ${from} to ${to}`);
}

/** The map of a row: only what is given. */
export function policyOf(schedule: BackupSchedule): PackMap {
  const given = Object.entries(schedule).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    given.map(([name, value]) => [name, isPlain(value) ? withoutUndefined(value) : value]),
  ) as PackMap;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withoutUndefined(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined));
}

/** What a row says. VARVE_FORMAT_VERSION on fields of a newer version, VARVE_CORRUPT on what cannot be. */
export function scheduleOf({ name, policy }: Pick<ScheduleRow, 'name' | 'policy'>): BackupSchedule {
  const place = { file: 'system tree' };
  if (Object.keys(policy).some((field) => !names.includes(field)))
    throw newerFormat(`schedule ${JSON.stringify(name)} has fields this build does not know`, place);
  try {
    return checkSchedule(policy as unknown as BackupSchedule);
  } catch (error) {
    if (!isVarveError(error, 'VARVE_INVALID_ARGUMENT')) throw error;
    throw corrupt(`schedule ${JSON.stringify(name)} cannot be: ${error.message}`, place);
  }
}

/** Decides about one schedule. `graceMs`: how long a time may be without a success before it is late. */
export function planSchedule(entry: ScheduleEntry, nowMs: number, graceMs: number): SchedulePlan {
  const { schedule, definedMs } = entry;
  const nothing = { dueMs: undefined, isRetry: false, nextMs: undefined, lateSinceMs: undefined };
  if (schedule.paused === true) return nothing;
  const times = new CronTimes(schedule.cron, schedule.timeZone ?? 'UTC');
  const run = believed(entry.run, nowMs);
  const missedMs = times.last(run?.dueMs ?? definedMs, nowMs);
  const retryMs = run !== undefined && run.failures > 0 ? run.endedMs + backoffMs(run.failures) : undefined;
  const isRetry = missedMs === undefined && retryMs !== undefined && retryMs <= nowMs;
  const cronMs = times.next(nowMs);
  const nextMs = Math.min(cronMs ?? Number.POSITIVE_INFINITY, retryMs ?? Number.POSITIVE_INFINITY);
  return {
    dueMs: isRetry ? run!.dueMs : missedMs,
    isRetry,
    nextMs: Number.isFinite(nextMs) ? nextMs : undefined,
    lateSinceMs: lateSince(times, run?.okDueMs || definedMs, nowMs - graceMs),
  };
}

/** The first time after the last success, where it is over. */
function lateSince(times: CronTimes, okMs: number, beforeMs: number): number | undefined {
  const first = times.next(okMs);
  return first !== undefined && first <= beforeMs ? first : undefined;
}

/** What was noted by a clock that ran ahead does not hold backups up. */
function believed(run: ScheduleRunRow | undefined, nowMs: number): ScheduleRunRow | undefined {
  return run !== undefined && run.startedMs > nowMs + futureMs ? undefined : run;
}

function backoffMs(failures: number): number {
  return Math.min(2 ** Math.min(failures - 1, 10), retryMinutesMax) * minuteMs;
}
