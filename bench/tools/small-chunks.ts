/**
 * Values that are cut into the smallest chunks there are, so that a bench of the chunk index needs little
 * disk beside it: every 128 bytes end in the same 64, after which a chunk ends wherever it began.
 */
import { createChunker, type StreamChunker } from '../../src/kernels/chunker/chunker.ts';
import { type ChunkSizes, chunkerWindowBytes, solveParams } from '../../src/kernels/chunker/params.ts';
import { fillValue } from './kv-data.ts';

/** How the store of the bench cuts: shorter chunks than this average are only found in values made for it. */
export const tinyChunks = {
  algorithm: 'fastcdc',
  min: 64,
  avg: 1024,
  max: 4096,
} as const satisfies ChunkSizes;

/** Bytes of almost every chunk of such a value: what no other chunk has, then the window that ends it. */
export const smallChunkBytes = 2 * chunkerWindowBytes;

/** Fills values; one for each bench. */
export class SmallChunks {
  readonly #ending: Uint32Array;

  constructor() {
    const chunker = createChunker(solveParams(tinyChunks));
    this.#ending = new Uint32Array(endingOf(chunker).slice().buffer);
    chunker.release();
  }

  /** Fills `words`, a multiple of 128 bytes, with value number `n`: as `fillValue`, but for the endings. */
  fill(words: Uint32Array, n: number): void {
    fillValue(words, n);
    const step = smallChunkBytes / 4;
    for (let at = step / 2; at < words.length; at += step) words.set(this.#ending, at);
  }
}

/** The window before a cut that is one at every length from the smallest on: found in noise. */
function endingOf(chunker: StreamChunker): Uint8Array {
  const { normal } = chunker.params;
  for (let n = 0; ; n++) {
    const words = new Uint32Array(16_384);
    fillValue(words, n);
    chunker.reset();
    chunker.write(new Uint8Array(words.buffer));
    for (let length = chunker.next(true); chunker.pending > length; length = chunker.next(true)) {
      // What ends a chunk that is shorter than the normal point ends a longer one too.
      if (length < normal) return chunker.chunk().subarray(length - chunkerWindowBytes);
      chunker.consume();
    }
  }
}
