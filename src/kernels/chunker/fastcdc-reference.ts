/**
 * FastCDC on a 64-bit gear hash (algorithm id 1), in plain TypeScript: the definition, the oracle of the
 * WebAssembly kernel, and what runs where there is no WebAssembly.
 *
 * With G[0..255] the gear table (u64, key.ts), the hash of position c is taken over the 64 bytes before it:
 *     h = 0; for each byte of b[c-64 .. c): h = (2 h + G[byte]) mod 2^64;  a = h >> 32
 *     strict(c) = a < strict threshold;  loose(c) = a < loose threshold
 * A running hash is the same thing, since older bytes have left the word by then. Unlike published FastCDC
 * it is not restarted at a chunk's start: a position is a candidate or not whatever chunk it lies in.
 */
import { viewOf } from '../../base/bytes.ts';
import type { ChunkerKey } from './key.ts';
import { type ChunkerParams, chunkerWindowBytes } from './params.ts';
import type { ScanKernel } from './scan-kernel.ts';

const signBit = 0x80000000 | 0;

/** A plain TypeScript kernel with a window of `windowBytes` of its own. */
export function fastcdcReferenceKernel(
  params: ChunkerParams,
  key: ChunkerKey,
  windowBytes: number,
): ScanKernel {
  return new FastcdcReference(params, key, windowBytes);
}

class FastcdcReference implements ScanKernel {
  readonly kind = 'javascript';
  readonly window: Uint8Array;
  readonly #strict: number;
  readonly #loose: number;
  readonly #gearLow = new Int32Array(256);
  readonly #gearHigh = new Int32Array(256);
  /** The hash at the position reached, in two halves. */
  #low = 0;
  #high = 0;

  constructor(params: ChunkerParams, key: ChunkerKey, windowBytes: number) {
    this.window = new Uint8Array(windowBytes);
    this.#strict = params.strict;
    this.#loose = params.loose;
    const view = viewOf(key.bytes);
    for (let i = 0; i < 256; i++) {
      this.#gearLow[i] = view.getInt32(i * 8, true);
      this.#gearHigh[i] = view.getInt32(i * 8 + 4, true);
    }
  }

  scan(from: number, strictEnd: number, end: number): number {
    this.#low = 0;
    this.#high = 0;
    this.#run(from - chunkerWindowBytes, from, 0);
    const split = Math.max(from, Math.min(strictEnd, end));
    const strictCut = this.#run(from, split, this.#strict);
    return strictCut !== 0 ? strictCut : this.#run(split, end, this.#loose);
  }

  /** Tests positions from .. to-1 against `threshold`: the cut, or 0 with the hash of position `to` left. */
  #run(from: number, to: number, threshold: number): number {
    const { window } = this;
    const gearLow = this.#gearLow;
    const gearHigh = this.#gearHigh;
    // Both sides with the top bit turned over: the signed comparison is then the unsigned one.
    const below = (threshold ^ signBit) | 0;
    let low = this.#low;
    let high = this.#high;
    for (let c = from; c < to; c++) {
      if ((high ^ signBit) < below) return c;
      const byte = window[c]!;
      const added = gearLow[byte]!;
      const doubled = low << 1;
      const sum = (doubled + added) | 0;
      // Carry out of the lower half. No branch: it would be guessed wrong every other time.
      const carry = ((doubled & added) | ((doubled | added) & ~sum)) >>> 31;
      high = (((high << 1) | (low >>> 31)) + ((gearHigh[byte]! + carry) | 0)) | 0;
      low = sum;
    }
    this.#low = low;
    this.#high = high;
    return 0;
  }
}
