/** From points in time to commit numbers, by the time rows of the system tree. */
import type { Seq } from '../../base/brands.ts';
import { compareRange, prefixEnd } from '../../base/bytes.ts';
import { timeKey, timePrefix } from '../../format/history-rows.ts';
import { encodeSysPrefix, rowPrefixEnd, seqOf } from '../../format/internal-key.ts';
import { type KeyCursor, MISS, OK, type Step } from '../../tree/cursor.ts';
import type { KeyTree } from '../../tree/key-tree.ts';

/** Where the keys of time rows end in the system tree. */
const end: Uint8Array = prefixEnd(encodeSysPrefix(timePrefix).subarray(0, timePrefix.length))!;

/**
 * The number before that of the first commit with a later time row; `visibleSeq` where there is none. Exact
 * where every commit since that moment has time rows. Reads missing blocks on the calling thread.
 */
export function lastCommitBy(system: KeyTree, ms: number, visibleSeq: Seq): Seq {
  if (ms < 0) return Math.min(firstMarked(system, 0), visibleSeq + 1) - 1;
  return Math.min(firstMarked(system, ms + 1), visibleSeq + 1) - 1;
}

/** The number of the first commit stamped in or after that millisecond; MAX_SAFE_INTEGER = none. */
function firstMarked(system: KeyTree, ms: number): Seq {
  system.lost.refuseRange(new Uint8Array(0), undefined);
  const view = system.view();
  try {
    const cursor = view.cursor();
    const sought = encodeSysPrefix(timeKey(ms));
    let step = now(cursor, () => cursor.seek(sought));
    let first = Number.MAX_SAFE_INTEGER;
    let key: Uint8Array | undefined;
    // A millisecond may have several rows, those of later memtables first.
    while (step === OK) {
      const { keyBytes, keyFrom, keyTo } = cursor;
      if (compareRange(keyBytes, keyFrom, keyTo, end, 0, end.length) >= 0) break;
      const prefixTo = rowPrefixEnd(keyBytes, keyFrom, keyTo);
      if (key !== undefined && compareRange(keyBytes, keyFrom, prefixTo, key, 0, key.length) !== 0) break;
      key ??= keyBytes.slice(keyFrom, prefixTo);
      first = seqOf(keyBytes, keyTo);
      step = now(cursor, () => cursor.next());
    }
    return first;
  } finally {
    view.release();
  }
}

function now(cursor: KeyCursor, move: () => Step): Step {
  let step = move();
  while (step === MISS) {
    cursor.loadSync();
    step = move();
  }
  return step;
}
