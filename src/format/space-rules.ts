/**
 * Rows of the system tree with the rules of a space that came after its policy row (format/history-rows.ts).
 *
 *   rules/<u32 BE>  retention of superseded versions, and the quota of the space
 *   used/<u32 BE>   what the values of a space with a quota take; with each commit that changes it
 */
import type { Seq } from '../base/brands.ts';
import { encodeUtf8, startsWith, viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import type { PeriodRules } from '../base/keep-periods.ts';
import { decodeLayout, defineLayout, f, layoutBytes } from '../codec/layout.ts';
import { newerFormat } from './format-ladder.ts';

export const rulesPrefix: Uint8Array = encodeUtf8('rules/');
export const usedPrefix: Uint8Array = encodeUtf8('used/');

const place = { file: 'system tree' };

/** Bits of a rules row's flags. Never changed, never reused; an unknown one is a newer format. */
export const spaceRuleFlags = { retention: 1, quota: 2 } as const;
const knownFlags = 3;
/** Bit of a used row's flags: all values of the space are counted. */
const countedFlag = 1;

export const rulesRow = defineLayout('rulesrow', 'space rules row', 64, {
  flags: f(0, 'u32', 'which rules are set: 1 retention, 2 quota. guards: newer format'),
  last: f(4, 'u32', 'newest superseded versions of each key that are kept'),
  hourly: f(8, 'u32', 'hours of which the newest superseded version is kept; periods are of UTC'),
  daily: f(12, 'u32', 'days, likewise'),
  weekly: f(16, 'u32', 'weeks from Monday on, likewise'),
  monthly: f(20, 'u32', 'months, likewise'),
  yearly: f(24, 'u32', 'years, likewise'),
  reserved: f(28, 4, 'zero'),
  within: f(32, 'u64', 'versions put less than so many ms before the newest superseded one are kept'),
  quotaBytes: f(40, 'u64', 'bytes that the values of the space may take'),
  reserved2: f(48, 16, 'zero'),
});

export const usedRow = defineLayout('usedrow', 'space use row', 32, {
  flags: f(0, 'u32', '1 all values are counted; 0 those put since fromSeq. guards: newer format'),
  reserved: f(4, 4, 'zero'),
  fromSeq: f(8, 'u64', 'commit with which the counting began'),
  added: f(16, 'u64', 'bytes of values that came; where all are counted, bytes of all values'),
  removed: f(24, 'u64', 'bytes of values that went; 0 where all are counted'),
});

/** Rules of a space; undefined = not set. */
export interface SpaceRules {
  readonly retention: Required<PeriodRules> | undefined;
  readonly quotaBytes: number | undefined;
}

/** What the values of a space take. */
export interface SpaceUsed {
  /** All values are in it; else those that came and went since `fromSeq`. */
  readonly isWhole: boolean;
  readonly fromSeq: Seq;
  readonly added: number;
  readonly removed: number;
}

export function rulesKey(space: number): Uint8Array {
  return keyOf(rulesPrefix, space);
}

export function usedKey(space: number): Uint8Array {
  return keyOf(usedPrefix, space);
}

/** True for the key of a rules row. */
export function isRulesKey(key: Uint8Array): boolean {
  return startsWith(key, rulesPrefix);
}

/** True for the key of a used row. */
export function isUsedKey(key: Uint8Array): boolean {
  return startsWith(key, usedPrefix);
}

/** The space of a key for which isRulesKey or isUsedKey holds. VARVE_CORRUPT when it has another shape. */
export function ruledSpaceOf(key: Uint8Array): number {
  const prefix = isRulesKey(key) ? rulesPrefix : usedPrefix;
  if (key.length !== prefix.length + 4) throw corrupt('rules row has the wrong shape', place);
  return viewOf(key).getUint32(prefix.length);
}

export function encodeRulesRow({ retention, quotaBytes }: SpaceRules): Uint8Array {
  const flags =
    (retention === undefined ? 0 : spaceRuleFlags.retention) |
    (quotaBytes === undefined ? 0 : spaceRuleFlags.quota);
  return layoutBytes(rulesRow, { flags, ...(retention ?? none), quotaBytes: quotaBytes ?? 0 });
}

const none: Required<PeriodRules> = {
  last: 0,
  hourly: 0,
  daily: 0,
  weekly: 0,
  monthly: 0,
  yearly: 0,
  within: 0,
};

/** VARVE_FORMAT_VERSION on a rule this build does not know, VARVE_CORRUPT on another shape. */
export function decodeRulesRow(value: Uint8Array): SpaceRules {
  if (value.length !== rulesRow.size) throw corrupt('rules row has the wrong shape', place);
  const { flags, quotaBytes, last, hourly, daily, weekly, monthly, yearly, within } = decodeLayout(
    rulesRow,
    value,
    0,
    place,
  );
  if ((flags & ~knownFlags) !== 0) throw newerFormat('rules row with unknown flags', place);
  const retention = { last, hourly, daily, weekly, monthly, yearly, within };
  return {
    retention: (flags & spaceRuleFlags.retention) === 0 ? undefined : retention,
    quotaBytes: (flags & spaceRuleFlags.quota) === 0 ? undefined : quotaBytes,
  };
}

export function encodeUsedRow({ isWhole, fromSeq, added, removed }: SpaceUsed): Uint8Array {
  return layoutBytes(usedRow, { flags: isWhole ? countedFlag : 0, fromSeq, added, removed });
}

/** Errors as decodeRulesRow. */
export function decodeUsedRow(value: Uint8Array): SpaceUsed {
  if (value.length !== usedRow.size) throw corrupt('used row has the wrong shape', place);
  const { flags, fromSeq, added, removed } = decodeLayout(usedRow, value, 0, place);
  if ((flags & ~countedFlag) !== 0) throw newerFormat('used row with unknown flags', place);
  return { isWhole: flags === countedFlag, fromSeq, added, removed };
}

function keyOf(prefix: Uint8Array, space: number): Uint8Array {
  const out = new Uint8Array(prefix.length + 4);
  out.set(prefix);
  viewOf(out).setUint32(prefix.length, space);
  return out;
}
