/**
 * What was checked when, kept in the file `checks` beside the files of a store: text, one line of it JSON.
 *
 *   varve-checks 1 <xxh64 of the rest, 16 hex digits>\n
 *   {"store":…,"rounds":…,"files":[[phase,no,level,ms],…]}\n
 *
 * It is no part of the store: without it, or where it is damaged, everything counts as not checked.
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { decodeUtf8 } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';
import { xxh64 } from '../codec/checksum.ts';

export const checkRecordVersion = 1;
/** Bytes of a record, and things listed in it, at most. */
export const checkRecordBytesMax = 16 * 1024 * 1024;
export const checkedUnitsMax = 250_000;

/** One thing that was checked and found sound: `phase` and `level` as numbers of their lists. */
export interface CheckedUnit {
  readonly phase: number;
  /** File number; 0 where the phase is checked at once. */
  readonly no: FileNo;
  readonly level: number;
  /** When, ms since 1970. */
  readonly ms: number;
}

/** The last check that went through everything there was to check. */
export interface CheckRound {
  readonly ms: number;
  readonly level: number;
  readonly damage: number;
}

export interface CheckRecord {
  /** Hex of the store's uuid. */
  readonly store: string;
  readonly last: CheckRound | undefined;
  readonly units: readonly CheckedUnit[];
}

const magic = 'varve-checks ';
const headBytes = `${magic}1 0123456789abcdef\n`.length;

/** The bytes of the file, a new buffer. At most `checkedUnitsMax` units. */
export function encodeCheckRecord({ store, last, units }: CheckRecord): Uint8Array {
  assert(units.length <= checkedUnitsMax, 'check record fits');
  const round = last === undefined ? null : [last.ms, last.level, last.damage];
  const files = units.map(({ phase, no, level, ms }) => [phase, no, level, ms]);
  const body = new TextEncoder().encode(`${JSON.stringify({ store, last: round, files })}\n`);
  const head = new TextEncoder().encode(`${magic}${checkRecordVersion} ${sumOf(body)}\n`);
  const out = new Uint8Array(head.length + body.length);
  out.set(head);
  out.set(body, head.length);
  return out;
}

/** VARVE_CORRUPT when the bytes (borrowed) are no whole record of this version. */
export function decodeCheckRecord(bytes: Uint8Array, file: string): CheckRecord {
  const place: Place = { file };
  const head = /^varve-checks (\d{1,9}) ([0-9a-f]{16})\n$/.exec(
    decodeUtf8(bytes.subarray(0, headBytes)) ?? '',
  );
  if (head === null || Number(head[1]) !== checkRecordVersion) throw corrupt('no record of checks', place);
  const body = bytes.subarray(headBytes);
  if (sumOf(body) !== head[2]) throw corrupt('record of checks fails its checksum', place);
  const record = parseBody(decodeUtf8(body) ?? '');
  if (record === undefined) throw corrupt('record of checks has another shape', place);
  return record;
}

function sumOf(body: Uint8Array): string {
  return xxh64(body).toString(16).padStart(16, '0');
}

function parseBody(text: string): CheckRecord | undefined {
  const value = parseObject(text);
  if (value === undefined) return undefined;
  const { store, last, files } = value;
  if (typeof store !== 'string' || !Array.isArray(files) || files.length > checkedUnitsMax) return undefined;
  const units: CheckedUnit[] = [];
  for (const row of files as unknown[]) {
    if (!isCounts(row, 4)) return undefined;
    units.push({ phase: row[0]!, no: row[1]!, level: row[2]!, ms: row[3]! });
  }
  if (last === null) return { store, last: undefined, units };
  if (!isCounts(last, 3)) return undefined;
  return { store, last: { ms: last[0]!, level: last[1]!, damage: last[2]! }, units };
}

function isCounts(value: unknown, length: number): value is number[] {
  return (
    Array.isArray(value) && value.length === length && value.every((n) => Number.isSafeInteger(n) && n >= 0)
  );
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
