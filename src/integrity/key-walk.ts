/** Every row of the key tree in order, with what counts among the versions of its key. */

import type { Seq } from '../base/brands.ts';
import { compareRange } from '../base/bytes.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { MISS, OK, type RowSource, type Step } from '../tree/cursor.ts';
import { MergeCursor } from '../tree/merge-cursor.ts';
import type { KeyTable } from '../tree/table-reader.ts';

/** A row, borrowed until the next one. */
export interface WalkedRow {
  readonly keyBytes: Uint8Array;
  readonly keyFrom: number;
  readonly keyTo: number;
  readonly valueBytes: Uint8Array;
  readonly valueFrom: number;
  readonly valueTo: number;
  readonly seq: Seq;
  /** Number of the ordinary row above it; 0 for the newest of its key. */
  readonly newerSeq: Seq;
  /** A GONE row says that this version is no more. */
  readonly isGone: boolean;
}

/**
 * Visits every row of `rows` that is no GONE row, in order; `pause` is looked at every few thousand rows.
 * Errors of the source and of `visit` end it.
 */
export async function walkRows(
  rows: RowSource,
  visit: (row: WalkedRow) => void,
  pause: () => Promise<void> | undefined,
): Promise<number> {
  let prefix = new Uint8Array(512);
  let prefixTo = -1;
  let newerSeq = 0;
  let goneSeq = -1;
  let count = 0;
  let started = false;
  const move = (): Step => (started ? rows.next() : rows.first());
  for (;;) {
    const step = move();
    if (step === MISS) {
      await rows.load();
      continue;
    }
    if (step !== OK) return count;
    started = true;
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = rows;
    const length = keyTo - seqBytes - keyFrom;
    if (prefixTo < 0 || compareRange(prefix, 0, prefixTo, keyBytes, keyFrom, keyTo - seqBytes) !== 0) {
      if (length > prefix.length) prefix = new Uint8Array(2 * length);
      prefix.set(keyBytes.subarray(keyFrom, keyTo - seqBytes));
      prefixTo = length;
      newerSeq = 0;
      goneSeq = -1;
    }
    const seq = seqOf(keyBytes, keyTo);
    if (rowKindAt(valueBytes, valueFrom) === rowKinds.gone) goneSeq = seq;
    else {
      const isGone = seq === goneSeq;
      visit({ keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo, seq, newerSeq, isGone });
      newerSeq = seq;
    }
    if (++count % 4096 === 0) {
      const waiting = pause();
      if (waiting !== undefined) await waiting;
    }
  }
}

/** All rows of tables that are held, newest table first, read front to back past any cache. */
export function rowsOfTables(newestFirst: readonly KeyTable[]): RowSource {
  return new MergeCursor(newestFirst.map((table) => table.scan()));
}
