import { expect } from 'vitest';
import { equalBytes } from '../../../src/base/bytes.ts';
import type { StreamChunker } from '../../../src/kernels/chunker/chunker.ts';

/** Cuts of `bytes` written in pieces whose lengths `piece` gives, with a drain after each. */
export function cutsInPieces(chunker: StreamChunker, bytes: Uint8Array, piece: () => number): number[] {
  chunker.reset();
  const ends: number[] = [];
  let taken = 0;
  let end = 0;
  const drain = (atEnd: boolean): void => {
    for (let n = chunker.next(atEnd); n > 0; n = chunker.next(atEnd)) {
      expect(equalBytes(chunker.chunk(), bytes.subarray(end, end + n))).toBe(true);
      end += n;
      ends.push(end);
      chunker.consume();
    }
  };
  while (taken < bytes.length) {
    taken += chunker.write(bytes.subarray(0, Math.min(bytes.length, taken + piece())), taken);
    drain(false);
  }
  drain(true);
  chunker.reset();
  return ends;
}
