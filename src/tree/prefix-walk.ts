/** Going over the rows of a tree key by key, in bounded steps: rows of one key are never parted. */
import { compareBytes, compareRange } from '../base/bytes.ts';
import { seqBytes } from '../format/internal-key.ts';
import { type KeyCursor, OK, settle } from './cursor.ts';
import type { KeyTree } from './key-tree.ts';

/** What to go over, and what to do on the way. */
export interface PrefixWalk {
  /** Row prefixes from <= prefix < to; `to` undefined: to the end of the tree. */
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
  /** Asked before each further key, given the rows met so far: true ends the walk before it. */
  readonly isFull: (rows: number) => boolean;
  /** Each row, newest first. `cursor` is borrowed for the call, `prefix` is the callee's to keep. */
  readonly row: (cursor: KeyCursor, prefix: Uint8Array, isFirst: boolean) => void;
}

/** Where a walk has ended. */
export interface WalkEnd {
  /** The key it did not come to any more; undefined: it went over everything. */
  readonly next: Uint8Array | undefined;
  /** The last key it went over. */
  readonly last: Uint8Array | undefined;
}

/** Goes over all rows of the tree as of now, whoever sees them; waits for blocks. */
export async function walkPrefixes(tree: KeyTree, walk: PrefixWalk): Promise<WalkEnd> {
  const { from, to, isFull, row } = walk;
  const view = tree.view();
  try {
    const cursor = view.cursor();
    let last: Uint8Array | undefined;
    let step = await settle(cursor, () => cursor.seek(from));
    for (let rows = 0; step === OK; rows++) {
      const { keyBytes, keyFrom, keyTo } = cursor;
      const prefixTo = keyTo - seqBytes;
      const isFirst =
        last === undefined || compareRange(keyBytes, keyFrom, prefixTo, last, 0, last.length) !== 0;
      if (isFirst) {
        const prefix = keyBytes.slice(keyFrom, prefixTo);
        if (to !== undefined && compareBytes(prefix, to) >= 0) break;
        if (isFull(rows)) return { next: prefix, last };
        last = prefix;
      }
      row(cursor, last!, isFirst);
      step = await settle(cursor, () => cursor.next());
    }
    return { next: undefined, last };
  } finally {
    view.release();
  }
}
