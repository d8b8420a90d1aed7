/**
 * Rows of the system tree: range deletes that are not carried out yet, named spaces, superseded versions that
 * still hold chunks, versions that expire, and list nodes that may be dead.
 *
 *   expire/ <t u64 BE> <row prefix> <seq u64 BE>     empty: version seq of the key expires at t (ms)
 *   node/ <chunk id>                                empty: the list node may have lost its last reference
 *   range/ <c u64 BE>                                head, lower bound, upper bound: commit c hides the keys
 *                                                    between them, versions below c
 *   space/<name UTF-8>                               u32 number of the space
 *   spaces                                           u32 lowest number no space ever had; absent = 1
 *   trash/ <seq2 u64 BE> <row prefix> <seq1 u64 BE>  empty: version seq1 of the key was superseded by seq2
 */

import type { Seq } from '../base/brands.ts';
import { compareBytes, concatBytes, decodeUtf8, encodeUtf8, startsWith, viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { integerMax } from '../base/limits.ts';
import { decodeLayout, defineLayout, f, layoutBytes } from '../codec/layout.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { rowPrefixBytesMax } from './internal-key.ts';

export const expiryPrefix: Uint8Array = encodeUtf8('expire/');
export const nodePrefix: Uint8Array = encodeUtf8('node/');
export const rangePrefix: Uint8Array = encodeUtf8('range/');
export const spacePrefix: Uint8Array = encodeUtf8('space/');
export const nextSpaceKey: Uint8Array = encodeUtf8('spaces');
export const trashPrefix: Uint8Array = encodeUtf8('trash/');

/** A row prefix of tree K holds a space and the end of the key. */
const rowPrefixBytesMin = 6;

export const rangeRowHead = defineLayout('rangerow', 'range row head', 12, {
  commitTimeMs: f(0, 'u48', "the range delete's commit time, ms since 1970"),
  reserved: f(6, 2, 'zero'),
  fromBytes: f(8, 'u32', 'length of the lower bound that follows. guards: bounds that run into each other'),
});

/** A range delete: from <= row prefix < to hides versions below `seq`. */
export interface RangeRow {
  /** Number of the commit. */
  readonly seq: Seq;
  readonly timeMs: number;
  /** Bounds on row keys of tree K, space included. */
  readonly from: Uint8Array;
  /** Undefined: to the end of the tree. */
  readonly to: Uint8Array | undefined;
}

export function rangeKey(seq: Seq): Uint8Array {
  const out = new Uint8Array(rangePrefix.length + 8);
  out.set(rangePrefix);
  viewOf(out).setBigUint64(rangePrefix.length, BigInt(seq));
  return out;
}

export function isRangeKey(key: Uint8Array): boolean {
  return key.length === rangePrefix.length + 8 && startsWith(key, rangePrefix);
}

/** Number of the commit from a key for which isRangeKey holds; VARVE_CORRUPT when it is out of range. */
export function rangeSeqOf(key: Uint8Array): Seq {
  const seq = Number(viewOf(key).getBigUint64(rangePrefix.length));
  if (seq > integerMax) throw corrupt('range row has a number above 2^53-1', { file: 'system tree' });
  return seq;
}

/** Value of a range row, a fresh array. An upper bound is not empty. */
export function encodeRangeRow({ timeMs, from, to }: Omit<RangeRow, 'seq'>): Uint8Array {
  const head = layoutBytes(rangeRowHead, { commitTimeMs: timeMs, fromBytes: from.length });
  return concatBytes(to === undefined ? [head, from] : [head, from, to]);
}

/** A range row from its key and value (copied); VARVE_CORRUPT when it does not have the shape. */
export function decodeRangeRow(key: Uint8Array, value: Uint8Array): RangeRow {
  const place = { file: 'system tree' };
  const { size } = rangeRowHead;
  if (!isRangeKey(key) || value.length < size) throw corrupt('range row has the wrong shape', place);
  const { commitTimeMs, fromBytes } = decodeLayout(rangeRowHead, value, 0, place);
  const toBytes = value.length - size - fromBytes;
  const isBound = fromBytes <= rowPrefixBytesMax && toBytes >= 0 && toBytes <= rowPrefixBytesMax;
  if (!isBound) throw corrupt('range row has bounds of a wrong length', place);
  const from = value.slice(size, size + fromBytes);
  const to = toBytes === 0 ? undefined : value.slice(size + fromBytes);
  if (to !== undefined && compareBytes(from, to) >= 0) throw corrupt('range row hides nothing', place);
  return { seq: rangeSeqOf(key), timeMs: commitTimeMs, from, to };
}

/** The lowest number no space ever had, from the row `spaces`; VARVE_CORRUPT when it has the wrong shape. */
export function decodeNextSpace(value: Uint8Array): number {
  if (value.length !== 4) throw corrupt('row of the next space has the wrong shape', { file: 'system tree' });
  return viewOf(value).getUint32(0, true);
}

export function spaceKey(name: string): Uint8Array {
  return concatBytes([spacePrefix, encodeUtf8(name, 'space name')]);
}

export function encodeSpaceRow(number: number): Uint8Array {
  const out = new Uint8Array(4);
  viewOf(out).setUint32(0, number, true);
  return out;
}

/** Name and number from a row; VARVE_CORRUPT when it does not have the shape. */
export function decodeSpaceRow(key: Uint8Array, value: Uint8Array): { name: string; number: number } {
  const name = spaceNameOf(key);
  if (value.length !== 4) throw corrupt('space row has the wrong shape', { file: 'system tree' });
  return { name, number: viewOf(value).getUint32(0, true) };
}

/** The name in the key of a space row. VARVE_CORRUPT when it is none. */
export function spaceNameOf(key: Uint8Array): string {
  const name = decodeUtf8(key.subarray(spacePrefix.length));
  if (name === undefined) throw corrupt('space row has the wrong shape', { file: 'system tree' });
  return name;
}

/** Key of the row that remembers a superseded version holding chunks, in the order they were superseded. */
export function trashKey(seq2: Seq, rowPrefix: Uint8Array, seq1: Seq): Uint8Array {
  return queueKey(trashPrefix, seq2, rowPrefix, seq1);
}

/** Key of the row that remembers when a version expires, in the order of time. */
export function expiryKey(expireAtMs: number, rowPrefix: Uint8Array, seq: Seq): Uint8Array {
  return queueKey(expiryPrefix, expireAtMs, rowPrefix, seq);
}

/** Key of the row that remembers a list node which may be dead. `id` has its 32 bytes at `at`. */
export function nodeKey(id: Uint8Array, at: number): Uint8Array {
  return concatBytes([nodePrefix, id.subarray(at, at + chunkIdBytes)]);
}

/** Id of the node from such a key, a copy; VARVE_CORRUPT when the key does not have the shape. */
export function decodeNodeKey(key: Uint8Array): Uint8Array {
  if (key.length !== nodePrefix.length + chunkIdBytes || !startsWith(key, nodePrefix)) {
    throw corrupt('row of a list node has a key of the wrong shape', { file: 'system tree' });
  }
  return key.slice(nodePrefix.length);
}

/** A version of a key that waits in a queue of the system tree. */
export interface QueuedVersion {
  /** What the queue is in the order of: the superseding number, or a time. */
  readonly at: number;
  /** A copy. */
  readonly rowPrefix: Uint8Array;
  readonly seq: Seq;
}

/** A row of the queue whose keys begin with `queue`; VARVE_CORRUPT when the key does not have the shape. */
export function decodeQueueKey(queue: Uint8Array, key: Uint8Array): QueuedVersion {
  const place = { file: 'system tree' };
  const prefixBytes = key.length - queue.length - 16;
  if (prefixBytes < rowPrefixBytesMin || prefixBytes > rowPrefixBytesMax || !startsWith(key, queue)) {
    throw corrupt('queued version has a key of the wrong shape', place);
  }
  const view = viewOf(key);
  const at = Number(view.getBigUint64(queue.length));
  const seq = Number(view.getBigUint64(key.length - 8));
  if (at > integerMax || seq > integerMax) throw corrupt('queued version has a number above 2^53-1', place);
  return { at, rowPrefix: key.slice(queue.length + 8, key.length - 8), seq };
}

function queueKey(queue: Uint8Array, at: number, rowPrefix: Uint8Array, seq: Seq): Uint8Array {
  const out = new Uint8Array(queue.length + 16 + rowPrefix.length);
  out.set(queue);
  out.set(rowPrefix, queue.length + 8);
  const view = viewOf(out);
  view.setBigUint64(queue.length, BigInt(at));
  view.setBigUint64(out.length - 8, BigInt(seq));
  return out;
}
