/**
 * Which rows of the system tree a backup holds: what says how keys are to be read and kept. Left out are rows
 * that can be derived (expiry, what a space with a quota takes), that speak of history a backup does not have
 * (named snapshots, trash, times), and what a store remembers of its own work.
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, startsWith } from '../base/bytes.ts';
import { historyFeature, rulesFeature, schedulesFeature } from '../format/format-ladder.ts';
import { decodePolicyRow, encodePolicyRow, isPolicyKey } from '../format/history-rows.ts';
import { decodeSysKey, encodeInternalKey } from '../format/internal-key.ts';
import { isScheduleKey } from '../format/schedule-rows.ts';
import { isRulesKey } from '../format/space-rules.ts';
import { decodeSpaceRow, nextSpaceKey, spacePrefix } from '../format/system-rows.ts';

/** True for the key of a row that goes into backups. */
export function isBackedUp(sysKey: Uint8Array): boolean {
  if (startsWith(sysKey, spacePrefix) || compareBytes(sysKey, nextSpaceKey) === 0) return true;
  return isPolicyKey(sysKey) || isScheduleKey(sysKey) || isRulesKey(sysKey);
}

/** The feature bits that a catalog needs for such a row. */
export function featuresOf(sysKey: Uint8Array): number {
  if (isPolicyKey(sysKey)) return historyFeature;
  if (isScheduleKey(sysKey)) return schedulesFeature;
  return isRulesKey(sysKey) ? rulesFeature : 0;
}

/** The value as a backup holds it: without what is true in one store only. */
export function backedUpValue(sysKey: Uint8Array, value: Uint8Array): Uint8Array {
  return isPolicyKey(sysKey) ? policySince(value, 0, 0) : value;
}

/** The value in a store restored to `seq`, whose history begins there. */
export function restoredValue(sysKey: Uint8Array, value: Uint8Array, seq: Seq, timeMs: number): Uint8Array {
  return isPolicyKey(sysKey) ? policySince(value, seq, timeMs) : value;
}

function policySince(value: Uint8Array, sinceSeq: Seq, sinceMs: number): Uint8Array {
  const { history, ttlMs } = decodePolicyRow(value);
  return encodePolicyRow({ history: history && { ...history, sinceSeq, sinceMs }, ttlMs });
}

/** The system key behind an encoded row prefix. VARVE_CORRUPT when it is none. */
export function sysKeyOf(prefix: Uint8Array): Uint8Array {
  const key = encodeInternalKey(prefix, 0);
  return decodeSysKey(key, 0, key.length, { file: 'backup' }).sysKey;
}

/** Name and number where the row names a space. */
export function spaceNamed(
  sysKey: Uint8Array,
  value: Uint8Array,
): { readonly name: string; readonly number: number } | undefined {
  return startsWith(sysKey, spacePrefix) ? decodeSpaceRow(sysKey, value) : undefined;
}
