/** Chunks as the cache keeps them: the id, and the bytes behind it. */
import { compareRange } from '../base/bytes.ts';
import { frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';

/**
 * The id (copied) and the chunk (borrowed) behind it: the frame the chunk was read with where that is all its
 * memory holds, a copy of both else.
 */
export function withId(id: Uint8Array, bytes: Uint8Array): Uint8Array {
  const { buffer, byteOffset, length } = bytes;
  if (byteOffset >= chunkIdBytes && buffer.byteLength <= frameBytes(length)) {
    const framed = new Uint8Array(buffer, byteOffset - chunkIdBytes, chunkIdBytes + length);
    if (compareRange(framed, 0, chunkIdBytes, id, 0, chunkIdBytes) === 0) return framed;
  }
  const copy = new Uint8Array(chunkIdBytes + length);
  copy.set(id);
  copy.set(bytes, chunkIdBytes);
  return copy;
}
