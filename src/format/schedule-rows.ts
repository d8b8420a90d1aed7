/**
 * Rows of the system tree that say when backups are to be made, and what became of them.
 *
 *   schedule/<name UTF-8>   head, canonical MessagePack map: when, where, what to keep, what to verify
 *   schedrun/<name UTF-8>   head, canonical MessagePack list: the last run of the schedule
 *
 * A process that reads beside a writer cannot set a row: it leaves key and value of it in the vault, as the
 * note of a run.
 */
import { concatBytes, decodeUtf8, encodeUtf8, startsWith } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';
import { checksumMatches, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, f, layoutBytes } from '../codec/layout.ts';
import { decodeMsgpack, encodeMsgpack, type PackMap } from '../codec/msgpack.ts';
import { newerFormat } from './format-ladder.ts';

export const schedulePrefix: Uint8Array = encodeUtf8('schedule/');
export const scheduleRunPrefix: Uint8Array = encodeUtf8('schedrun/');

const systemTree: Place = { file: 'system tree' };

export const scheduleRow = defineLayout('schedulerow', 'schedule row head', 16, {
  flags: f(0, 'u32', 'zero. guards: newer format'),
  reserved: f(4, 4, 'zero'),
  definedMs: f(8, 'u64', 'when it was set, ms since 1970: no time before it is made up for'),
});

export const scheduleRunRow = defineLayout('schedrunrow', 'last run of a schedule, row head', 64, {
  flags: f(0, 'u32', 'zero. guards: newer format'),
  failures: f(4, 'u32', 'runs that failed since one succeeded'),
  dueMs: f(8, 'u64', 'the time of the schedule that the last run was for, ms since 1970'),
  startedMs: f(16, 'u64', 'when the last run began'),
  endedMs: f(24, 'u64', 'when it ended'),
  okDueMs: f(32, 'u64', 'the time of the schedule that the last success was for; 0 = none yet'),
  okMs: f(40, 'u64', 'when the last success ended; 0 = none yet'),
  verifiedMs: f(48, 'u64', 'when a verify after a run found nothing wrong; 0 = never'),
  reserved: f(56, 8, 'zero'),
});

export const runNote = defineLayout('runnote', 'note of a run of a schedule in a vault, head', 32, {
  checksum: f(0, 'hash64', 'xxh64(0; bytes 8 to the end)'),
  dbUuid: f(8, 16, 'identity of the store'),
  keyBytes: f(24, 'u32', 'bytes of the key of the row, which follow'),
  valueBytes: f(28, 'u32', 'bytes of its value, the last ones'),
});

/** Longest note, bytes: a longer one is none. */
export const runNoteBytesMax = 16_384;

/** The content of a schedule row; what the map may hold is for its reader to check. */
export interface ScheduleRow {
  readonly name: string;
  readonly definedMs: number;
  readonly policy: PackMap;
}

/** What became of the last run. */
export interface ScheduleRunRow {
  readonly failures: number;
  readonly dueMs: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly okDueMs: number;
  readonly okMs: number;
  readonly verifiedMs: number;
  /** Id of the backup it made, hex. */
  readonly backup: string | undefined;
  /** Why it failed. */
  readonly error: string | undefined;
}

export function scheduleKey(name: string): Uint8Array {
  return concatBytes([schedulePrefix, encodeUtf8(name, 'schedule name')]);
}

export function scheduleRunKey(name: string): Uint8Array {
  return concatBytes([scheduleRunPrefix, encodeUtf8(name, 'schedule name')]);
}

export function isScheduleKey(key: Uint8Array): boolean {
  return startsWith(key, schedulePrefix);
}

/** Value of a schedule row. VARVE_INVALID_ARGUMENT where the map is too large. */
export function encodeScheduleRow({ definedMs, policy }: Omit<ScheduleRow, 'name'>): Uint8Array {
  return concatBytes([
    layoutBytes(scheduleRow, { flags: 0, definedMs }),
    encodeMsgpack(policy, 'schedule', { bytesMax: policyBytesMax }),
  ]);
}

/** Longest policy, bytes. */
const policyBytesMax = 16_384;

/** VARVE_CORRUPT when it does not have the shape, VARVE_FORMAT_VERSION where a newer version wrote it. */
export function decodeScheduleRow(key: Uint8Array, value: Uint8Array): ScheduleRow {
  const name = nameIn(key, schedulePrefix, systemTree);
  if (value.length < scheduleRow.size) throw corrupt('schedule row has the wrong shape', systemTree);
  const { flags, definedMs } = decodeLayout(scheduleRow, value, 0, systemTree);
  if (flags !== 0) throw newerFormat('schedule row with unknown flags', systemTree);
  const policy = decodeMsgpack(value, systemTree, scheduleRow.size);
  const isMap =
    typeof policy === 'object' &&
    policy !== null &&
    !Array.isArray(policy) &&
    !(policy instanceof Uint8Array) &&
    Object.getPrototypeOf(policy) === Object.prototype;
  if (!isMap) throw corrupt('schedule row holds no map', systemTree);
  return { name, definedMs, policy: policy as PackMap };
}

export function encodeScheduleRunRow({ backup, error, ...numbers }: ScheduleRunRow): Uint8Array {
  const head = layoutBytes(scheduleRunRow, { flags: 0, ...numbers });
  return concatBytes([head, encodeMsgpack([backup ?? null, error ?? null], 'run of a schedule')]);
}

/** Name and content; errors as decodeScheduleRow. `place`: where the row lies. */
export function decodeScheduleRunRow(
  key: Uint8Array,
  value: Uint8Array,
  place: Place = systemTree,
): ScheduleRunRow & { readonly name: string } {
  const name = nameIn(key, scheduleRunPrefix, place);
  if (value.length < scheduleRunRow.size) throw corrupt('run of a schedule has the wrong shape', place);
  const { flags, ...numbers } = decodeLayout(scheduleRunRow, value, 0, place);
  if (flags !== 0) throw newerFormat('run of a schedule with unknown flags', place);
  const told = decodeMsgpack(value, place, scheduleRunRow.size);
  const [backup = null, error = null] = Array.isArray(told) && told.length === 2 ? told : [0, 0];
  const isText = (text: unknown): text is string | null => text === null || typeof text === 'string';
  if (!isText(backup) || !isText(error)) throw corrupt('run of a schedule holds no two texts', place);
  return { name, ...numbers, backup: backup ?? undefined, error: error ?? undefined };
}

/** The note of a run of the schedule `name` in the store `dbUuid` (16 bytes). */
export function encodeRunNote(dbUuid: Uint8Array, name: string, run: ScheduleRunRow): Uint8Array {
  const [key, value] = [scheduleRunKey(name), encodeScheduleRunRow(run)];
  const head = layoutBytes(runNote, {
    checksum: 0n,
    dbUuid,
    keyBytes: key.length,
    valueBytes: value.length,
  });
  const out = concatBytes([head, key, value]);
  writeChecksum(out, runNote.at.checksum, runNote.at.dbUuid, out.length);
  return out;
}

/** Store, name and content. VARVE_CORRUPT, VARVE_FORMAT_VERSION; `file` for messages. */
export function decodeRunNote(
  bytes: Uint8Array,
  file: string,
): ScheduleRunRow & { readonly name: string; readonly dbUuid: Uint8Array } {
  const place = { file };
  const { dbUuid, keyBytes, valueBytes } = decodeLayout(runNote, bytes, 0, place);
  const keyTo = runNote.size + keyBytes;
  const isWhole =
    bytes.length === keyTo + valueBytes &&
    checksumMatches(bytes, runNote.at.checksum, runNote.at.dbUuid, bytes.length);
  if (!isWhole) throw corrupt('note of a run fails its checksum', place);
  const row = decodeScheduleRunRow(bytes.subarray(runNote.size, keyTo), bytes.subarray(keyTo), place);
  return { dbUuid, ...row };
}

function nameIn(key: Uint8Array, prefix: Uint8Array, place: Place): string {
  const name = startsWith(key, prefix) ? decodeUtf8(key.subarray(prefix.length)) : undefined;
  if (name === undefined || name === '') throw corrupt('schedule has no name', place);
  return name;
}
