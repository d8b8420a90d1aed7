/**
 * Rows of the system tree: named spaces, and superseded versions that still hold chunks.
 *
 *   space/<name UTF-8>                               u32 number of the space
 *   trash/ <seq2 u64 BE> <row prefix> <seq1 u64 BE>  empty: version seq1 of the key was superseded by seq2
 */

import { concatBytes, decodeUtf8, encodeUtf8, viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';

export const spacePrefix: Uint8Array = encodeUtf8('space/');
export const trashPrefix: Uint8Array = encodeUtf8('trash/');

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
  const name = decodeUtf8(key.subarray(spacePrefix.length));
  const place = { file: 'system tree' };
  if (name === undefined || value.length !== 4) throw corrupt('space row has the wrong shape', place);
  return { name, number: viewOf(value).getUint32(0, true) };
}

/** Key of the row that remembers a superseded version holding chunks, in the order they were superseded. */
export function trashKey(seq2: number, rowPrefix: Uint8Array, seq1: number): Uint8Array {
  const out = new Uint8Array(trashPrefix.length + 16 + rowPrefix.length);
  out.set(trashPrefix);
  out.set(rowPrefix, trashPrefix.length + 8);
  const view = viewOf(out);
  view.setBigUint64(trashPrefix.length, BigInt(seq2));
  view.setBigUint64(out.length - 8, BigInt(seq1));
  return out;
}
