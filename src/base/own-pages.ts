/**
 * Sizes of large arrays that come and go, so that what is freed goes back to the system.
 *
 * An allocator serves arrays up to some size from one heap, in which the space of a freed one is lost between
 * two that stay, and stays resident: glibc does so up to 32 MiB once an array of that size was freed. A
 * larger array has pages of its own. Those never written to take no memory, so it costs nothing to ask for
 * more than is needed; freed, they are gone at once.
 */
import { KiB, MiB } from './limits.ts';

/** A buffer of this size has pages of its own with every allocator that Node is built with. */
export const ownPagesBytes: number = 32 * MiB + 64 * KiB;

/** Arrays up to this size come from the heap: what is lost between so few is little. */
const heapBytesMax = MiB;

/** Bytes to ask for where `needed` are: as many, or enough for pages of their own. */
export function pagedBytes(needed: number): number {
  return needed <= heapBytesMax ? needed : Math.max(needed, ownPagesBytes);
}

/** A zeroed array of `length` numbers, over pages of its own where it is large. */
export function pagedWords(length: number): Uint32Array {
  return new Uint32Array(new ArrayBuffer(pagedBytes(4 * length)), 0, length);
}

/**
 * An array of `length` bytes, more than before, that begins with `bytes` (taken, the whole buffer under it):
 * in the same place where there is room.
 */
export function grownBytes(bytes: Uint8Array, length: number): Uint8Array {
  const { buffer, byteOffset } = bytes;
  if (byteOffset === 0 && buffer.byteLength >= length) return new Uint8Array(buffer, 0, length);
  const grown = new Uint8Array(new ArrayBuffer(pagedBytes(length)), 0, length);
  grown.set(bytes);
  return grown;
}

/** As `grownBytes`, in numbers. */
export function grownWords(words: Uint32Array, length: number): Uint32Array {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return new Uint32Array(grownBytes(bytes, 4 * length).buffer, 0, length);
}
