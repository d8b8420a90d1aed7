/** System rows that have to do with range deletes, as the audit reads them from tables. */
import { decodeUtf8, startsWith, toHex, viewOf } from '../../src/base/bytes.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import { decodeSysKey } from '../../src/format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../src/format/row-kinds.ts';
import { decodeRangeRow, isRangeKey, rangeSeqOf, spacePrefix } from '../../src/format/system-rows.ts';
import type { RowSource } from '../../src/tree/cursor.ts';
import type { Row } from './rows.ts';

/** A version of the row of range delete `of`; `row` undefined: it is carried out. */
export interface RangeMark {
  readonly of: number;
  readonly seq: number;
  readonly row: Row | undefined;
}

/** What a system row says of range deletes and dropped spaces; nothing for other rows. */
export function readSystemRow(row: RowSource): {
  dropped?: { readonly seq: number; readonly name: string };
  mark?: RangeMark;
} {
  const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = row;
  const { sysKey, seq } = decodeSysKey(keyBytes, keyFrom, keyTo);
  const isPut = rowKindAt(valueBytes, valueFrom) === rowKinds.put;
  if (startsWith(sysKey, spacePrefix)) {
    const name = decodeUtf8(sysKey.subarray(spacePrefix.length))!;
    return isPut ? {} : { dropped: { seq, name } };
  }
  if (!isRangeKey(sysKey)) return {};
  const of = rangeSeqOf(sysKey);
  if (!isPut) return { mark: { of, seq, row: undefined } };
  const { from, to } = decodeRangeRow(sysKey, valueBytes.subarray(valueFrom + 1, valueTo));
  const range = { from: toHex(from), to: to === undefined ? undefined : toHex(to) };
  const record = xxh64(valueBytes.subarray(valueFrom, valueTo));
  const space = viewOf(from).getUint32(0);
  const about = { seq, space, key: '', isPut: false, hasChunks: false, id: undefined };
  return { mark: { of, seq, row: { ...about, record, range } } };
}

/** Range deletes whose newest row is there. */
export function pendingOf(tables: Iterable<{ readonly ranges: readonly RangeMark[] }>): Row[] {
  const newest = new Map<number, RangeMark>();
  for (const { ranges } of tables) {
    for (const mark of ranges) {
      const other = newest.get(mark.of);
      if (other === undefined || other.seq < mark.seq) newest.set(mark.of, mark);
    }
  }
  return Array.from(newest.values()).flatMap(({ row }) => (row === undefined ? [] : [row]));
}
