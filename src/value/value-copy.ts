/**
 * Copies of small values for callers to keep. An array with memory of its own costs five times what a view
 * costs, so small ones share the memory of Node's buffer pool: 8 KiB pieces that are never handed out twice
 * and that no thread can take away (they are marked untransferable). A value that is kept keeps its piece.
 *
 * Invariants (test/value/value-copy.test.ts)
 * - Copies never overlap each other or their source ("copies are independent of each other and of their
 *   source").
 */

/** Longer values get memory of their own, without a neighbour. */
const pooledBytesMax = 2048;
/** Up to this size values are cut from a region taken from the pool at once: one view less for each. */
const cutBytesMax = 256;
const regionBytes = 2048;

let memory: ArrayBufferLike = new ArrayBuffer(0);
let at = 0;
let end = 0;

/**
 * A copy of bytes[from..to), the caller's to keep and to change. Its `buffer` may hold more than the copy.
 */
export function copyOut(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const length = to - from;
  const out = length <= cutBytesMax ? cut(length) : take(length);
  out.set(bytes.subarray(from, to));
  return out;
}

function cut(length: number): Uint8Array {
  if (at + length > end) {
    const region = Buffer.allocUnsafe(regionBytes);
    memory = region.buffer;
    at = region.byteOffset;
    end = at + regionBytes;
  }
  const out = new Uint8Array(memory, at, length);
  at += (length + 7) & ~7;
  return out;
}

function take(length: number): Uint8Array {
  if (length > pooledBytesMax) return newArray(length);
  const piece = Buffer.allocUnsafe(length);
  return new Uint8Array(piece.buffer, piece.byteOffset, length);
}

/** An array with memory of its own and any content: write all of it before it is handed out. */
export function newArray(length: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}
