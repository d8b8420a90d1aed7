/**
 * Rows of the system tree that say what of the past is kept.
 *
 *   clock              u64 ms: the moment by which history.ms was last judged
 *   policy/<u32 BE>    policy of a space; that of space 0 is also the one of every space without its own
 *   snap/<name UTF-8>  head, note: a named snapshot
 *   time/<ms u64 BE>   empty: the number in the row's key is that of the first commit stamped with this
 *                      millisecond. Made when commits are applied, not logged; only where history.ms is used
 */
import type { Seq } from '../base/brands.ts';
import { concatBytes, decodeUtf8, encodeUtf8, startsWith, viewOf } from '../base/bytes.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { integerMax } from '../base/limits.ts';
import { decodeLayout, defineLayout, f, layoutBytes } from '../codec/layout.ts';

export const clockKey: Uint8Array = encodeUtf8('clock');
export const policyPrefix: Uint8Array = encodeUtf8('policy/');
export const snapshotPrefix: Uint8Array = encodeUtf8('snap/');
export const timePrefix: Uint8Array = encodeUtf8('time/');

const place = { file: 'system tree' };

/** Bits of a policy row's flags. Never changed, never reused; an unknown one is a newer format. */
export const policyFlags = { history: 1, ttl: 2 } as const;
const knownPolicyFlags = 3;

export const policyRow = defineLayout('policyrow', 'policy row', 48, {
  flags: f(0, 'u32', 'which policies are set: 1 history, 2 ttl. guards: newer format'),
  versions: f(4, 'u32', 'newest superseded versions of each key that are kept'),
  historyMs: f(8, 'u64', 'how long superseded versions are kept, ms'),
  sinceSeq: f(16, 'u64', 'the state after this commit and later ones is whole, as far as historyMs reaches'),
  sinceMs: f(24, 'u64', 'its commit time, ms since 1970'),
  ttlMs: f(32, 'u64', 'time to live of values put without one, ms'),
  reserved: f(40, 8, 'zero'),
});

export const snapshotRow = defineLayout('snaprow', 'snapshot row head', 24, {
  seq: f(0, 'u64', 'number of the commit whose state it is: its own'),
  timeMs: f(8, 'u48', "that commit's time, ms since 1970"),
  flags: f(14, 'u16', 'zero. guards: newer format'),
  noteBytes: f(16, 'u32', 'length of the note that follows, UTF-8. guards: a row cut off'),
  reserved: f(20, 4, 'zero'),
});

/** How much of its past a space keeps. */
export interface HistoryPolicy {
  readonly versions: number;
  readonly ms: number;
  /** What `ms` promises holds from this commit on. */
  readonly sinceSeq: Seq;
  readonly sinceMs: number;
}

/** Policies of a space; undefined = not set. */
export interface SpacePolicy {
  readonly history: HistoryPolicy | undefined;
  readonly ttlMs: number | undefined;
}

/** A named snapshot. */
export interface SnapshotRow {
  readonly name: string;
  readonly seq: Seq;
  readonly timeMs: number;
  readonly note: string;
}

export function isClockKey(key: Uint8Array): boolean {
  return key.length === clockKey.length && startsWith(key, clockKey);
}

export function encodeClockRow(ms: number): Uint8Array {
  return u64(ms);
}

/** VARVE_CORRUPT when it does not have the shape, as all decoders here. */
export function decodeClockRow(value: Uint8Array): number {
  if (value.length !== 8) throw corrupt('clock row has the wrong shape', place);
  return numberAt(value, 0);
}

export function policyKey(space: number): Uint8Array {
  const out = new Uint8Array(policyPrefix.length + 4);
  out.set(policyPrefix);
  viewOf(out).setUint32(policyPrefix.length, space);
  return out;
}

export function isPolicyKey(key: Uint8Array): boolean {
  return startsWith(key, policyPrefix);
}

/** The space of a key for which isPolicyKey holds. */
export function policySpaceOf(key: Uint8Array): number {
  if (key.length !== policyPrefix.length + 4) throw corrupt('policy row has the wrong shape', place);
  return viewOf(key).getUint32(policyPrefix.length);
}

export function encodePolicyRow({ history, ttlMs }: SpacePolicy): Uint8Array {
  return layoutBytes(policyRow, {
    flags: (history === undefined ? 0 : policyFlags.history) | (ttlMs === undefined ? 0 : policyFlags.ttl),
    versions: history?.versions ?? 0,
    historyMs: history?.ms ?? 0,
    sinceSeq: history?.sinceSeq ?? 0,
    sinceMs: history?.sinceMs ?? 0,
    ttlMs: ttlMs ?? 0,
  });
}

/** VARVE_FORMAT_VERSION on a policy this build does not know. */
export function decodePolicyRow(value: Uint8Array): SpacePolicy {
  if (value.length !== policyRow.size) throw corrupt('policy row has the wrong shape', place);
  const { flags, versions, historyMs, sinceSeq, sinceMs, ttlMs } = decodeLayout(policyRow, value, 0, place);
  if ((flags & ~knownPolicyFlags) !== 0) throw newer('policy row with unknown flags');
  return {
    history: (flags & policyFlags.history) === 0 ? undefined : { versions, ms: historyMs, sinceSeq, sinceMs },
    ttlMs: (flags & policyFlags.ttl) === 0 ? undefined : ttlMs,
  };
}

export function snapshotKey(name: string): Uint8Array {
  return concatBytes([snapshotPrefix, encodeUtf8(name, 'snapshot name')]);
}

export function isSnapshotKey(key: Uint8Array): boolean {
  return startsWith(key, snapshotPrefix);
}

export function encodeSnapshotRow({ seq, timeMs, note }: Omit<SnapshotRow, 'name'>): Uint8Array {
  const bytes = encodeUtf8(note, 'note');
  return concatBytes([layoutBytes(snapshotRow, { seq, timeMs, flags: 0, noteBytes: bytes.length }), bytes]);
}

/** VARVE_FORMAT_VERSION on flags this build does not know. */
export function decodeSnapshotRow(key: Uint8Array, value: Uint8Array): SnapshotRow {
  const name = decodeUtf8(key.subarray(snapshotPrefix.length));
  if (name === undefined || value.length < snapshotRow.size) {
    throw corrupt('snapshot row has the wrong shape', place);
  }
  const { seq, timeMs, flags, noteBytes } = decodeLayout(snapshotRow, value, 0, place);
  if (flags !== 0) throw newer('snapshot row with unknown flags');
  const note = decodeUtf8(value.subarray(snapshotRow.size));
  if (note === undefined || noteBytes !== value.length - snapshotRow.size) {
    throw corrupt('snapshot row has a note of a wrong length', place);
  }
  return { name, seq, timeMs, note };
}

export function timeKey(ms: number): Uint8Array {
  return concatBytes([timePrefix, u64(ms)]);
}

function u64(n: number): Uint8Array {
  const out = new Uint8Array(8);
  viewOf(out).setBigUint64(0, BigInt(n));
  return out;
}

function numberAt(bytes: Uint8Array, at: number): number {
  const n = Number(viewOf(bytes).getBigUint64(at));
  if (n > integerMax) throw corrupt('number above 2^53-1', place);
  return n;
}

function newer(what: string): VarveError {
  return new VarveError('VARVE_FORMAT_VERSION', `${place.file}: ${what}`, place);
}
