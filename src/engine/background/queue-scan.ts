/** Queues in the system tree: rows whose keys are in the order in which they are to be taken. */
import { compareBytes, compareRange, concatBytes, prefixEnd } from '../../base/bytes.ts';
import { decodeSysKey, encodeSysPrefix, seqBytes } from '../../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import { OK, settle } from '../../tree/cursor.ts';
import type { KeyTree } from '../../tree/key-tree.ts';

/** A slice of a queue. */
export interface QueueSlice {
  /** System keys that are there, in order, as the sequencer sees them. */
  readonly keys: readonly Uint8Array[];
  /** Where to go on, given to the next scan; undefined at the end. */
  readonly next: Uint8Array | undefined;
}

/** Where the rows of a queue from the number `at` on begin. */
export function queueFrom(queue: Uint8Array, at: number): Uint8Array {
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(at));
  return beginning(concatBytes([queue, number]));
}

/** The bytes all internal keys of system keys with that beginning begin with. */
function beginning(sysKey: Uint8Array): Uint8Array {
  const whole = encodeSysPrefix(sysKey);
  return whole.subarray(0, whole.length - 2);
}

/**
 * Keys of `queue` from the internal key `from` on (its front where that is undefined) that `takes` accepts;
 * the first it refuses ends the queue. Looks at `rowsMax` rows, about, and waits for blocks.
 */
export async function scanQueue(
  tree: KeyTree,
  queue: Uint8Array,
  from: Uint8Array | undefined,
  takes: (sysKey: Uint8Array) => boolean,
  rowsMax: number,
): Promise<QueueSlice> {
  const front = beginning(queue);
  const end = prefixEnd(front)!;
  const keys: Uint8Array[] = [];
  const view = tree.view();
  try {
    const cursor = view.cursor();
    let last: Uint8Array | undefined;
    let step = await settle(cursor, () => cursor.seek(from ?? front));
    for (let rows = 0; step === OK; rows++) {
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom } = cursor;
      // Versions of a row come newest first: the first one counts.
      const prefixTo = keyTo - seqBytes;
      if (last === undefined || compareRange(keyBytes, keyFrom, prefixTo, last, 0, last.length) !== 0) {
        last = keyBytes.slice(keyFrom, prefixTo);
        if (compareBytes(last, end) >= 0) break;
        const { sysKey } = decodeSysKey(keyBytes, keyFrom, keyTo, { file: 'system tree' });
        if (!takes(sysKey)) break;
        if (rows >= rowsMax) return { keys, next: last };
        if (rowKindAt(valueBytes, valueFrom) === rowKinds.put) keys.push(sysKey);
      }
      step = await settle(cursor, () => cursor.next());
    }
    return { keys, next: undefined };
  } finally {
    view.release();
  }
}
