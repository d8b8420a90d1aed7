/**
 * The 32-bit hash of keys: MurmurHash3 x86_32 with seed 0, in plain JS (12 ns for 20 bytes, where a call
 * into WebAssembly costs ten times that). Filters on disk depend on every bit of it, so a table's properties
 * name the version it was built with.
 *
 * Not keyed: whoever chooses keys can make them collide. A filter then answers "maybe" more often, which
 * costs reads and never results.
 */
import { i32le } from '../base/bytes.ts';

/** Version of `hashKey32`; any change of its results takes a new number. */
export const keyHashVersion = 1;

/** Hash of `buf[from..to)` (borrowed), 0 .. 2^32-1. */
export function hashKey32(buf: Uint8Array, from: number, to: number): number {
  let h = 0;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    h ^= scramble(i32le(buf, at));
    h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let shift = 0; at < to; at++, shift += 8) tail |= buf[at]! << shift;
  h ^= scramble(tail);
  return mix32(h ^ (to - from));
}

/** Murmur3's finalizer: a bijection of 32-bit words in which every input bit reaches every output bit. */
export function mix32(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function scramble(word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}
