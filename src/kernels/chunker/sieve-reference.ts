/**
 * sieve-1 (algorithm id 2), in plain TypeScript: the definition, the oracle of the WebAssembly kernel, and
 * what runs where there is no WebAssembly or no SIMD in it.
 *
 * A cheap filter passes one position in 256; a keyed hash of the 64 bytes before it decides there. With K, FK
 * and CK of key.ts, all arithmetic unsigned, at byte index i = c-1:
 *     w(i)  = b[i-1] + 256 b[i]
 *     m(i)  = ((w * (w + K)) mod 2^16) >> 8
 *     s2(i) = (m(i) - m(i-2)) mod 256
 *     s3(i) = s2(i) XOR (2 s2(i-4) mod 256)
 *     F(i)  = (s3(i) - s3(i-8)) mod 256          passes when F(i) = FK
 * and where it passes, over b[c-64 .. c) as 16 little-endian u32 words W, modulo 2^32:
 *     a = sum of W[j] CK[j]
 *     a ^= a>>15; a *= 0x85ebca6b; a ^= a>>13; a *= 0xc2b2ae35; a ^= a>>16
 *     strict(c) = a < strict threshold;  loose(c) = a < loose threshold
 * m is quadratic so that counters and gradients do not starve the filter. Constant runs and periods 1, 2, 4
 * and 8 give F = 0 and FK is odd: they never cut before the longest chunk.
 */
import { viewOf } from '../../base/bytes.ts';
import { type ChunkerKey, sieveByte } from './key.ts';
import { type ChunkerParams, chunkerWindowBytes } from './params.ts';
import type { ScanKernel } from './scan-kernel.ts';

/** Bytes before a byte index that its filter value depends on. */
const filterReach = 15;

/** A plain TypeScript kernel with a window of `windowBytes` of its own. */
export function sieveReferenceKernel(
  params: ChunkerParams,
  key: ChunkerKey,
  windowBytes: number,
): ScanKernel {
  return new SieveReference(params, key, windowBytes);
}

class SieveReference implements ScanKernel {
  readonly kind = 'javascript';
  readonly window: Uint8Array;
  readonly #view: DataView;
  readonly #strict: number;
  readonly #loose: number;
  readonly #filterKey: number;
  readonly #confirmKey = new Int32Array(16);
  /** m by w: 64 KiB. */
  readonly #mOf = new Uint8Array(65_536);
  /** The last values of m, s2 and s3 by byte index modulo 16. */
  readonly #m = new Uint8Array(16);
  readonly #s2 = new Uint8Array(16);
  readonly #s3 = new Uint8Array(16);

  constructor(params: ChunkerParams, key: ChunkerKey, windowBytes: number) {
    this.window = new Uint8Array(windowBytes);
    this.#view = viewOf(this.window);
    this.#strict = params.strict;
    this.#loose = params.loose;
    const view = viewOf(key.bytes);
    const k = view.getUint16(0, true);
    this.#filterKey = view.getUint8(2);
    for (let j = 0; j < 16; j++) this.#confirmKey[j] = view.getInt32(3 + j * 4, true);
    for (let w = 0; w < 65_536; w++) this.#mOf[w] = sieveByte(w, k);
  }

  scan(from: number, strictEnd: number, end: number): number {
    const { window } = this;
    const mOf = this.#mOf;
    const m = this.#m;
    const s2 = this.#s2;
    const s3 = this.#s3;
    const filterKey = this.#filterKey;
    // Values left in the rings by another scan are overwritten before the first position is tested.
    for (let i = from - 1 - filterReach; i + 1 < end; i++) {
      const mi = mOf[window[i - 1]! | (window[i]! << 8)]!;
      const s2i = (mi - m[(i - 2) & 15]!) & 255;
      const s3i = s2i ^ ((2 * s2[(i - 4) & 15]!) & 255);
      const filter = (s3i - s3[(i - 8) & 15]!) & 255;
      m[i & 15] = mi;
      s2[i & 15] = s2i;
      s3[i & 15] = s3i;
      const c = i + 1;
      if (filter !== filterKey || c < from) continue;
      if (this.#confirm(c) < (c < strictEnd ? this.#strict : this.#loose)) return c;
    }
    return 0;
  }

  /** The hash of the window before position `c`, unsigned. */
  #confirm(c: number): number {
    let a = 0;
    for (let j = 0; j < 16; j++) {
      const word = this.#view.getInt32(c - chunkerWindowBytes + j * 4, true);
      a = (a + Math.imul(word, this.#confirmKey[j]!)) | 0;
    }
    a ^= a >>> 15;
    a = Math.imul(a, 0x85ebca6b);
    a ^= a >>> 13;
    a = Math.imul(a, 0xc2b2ae35);
    a ^= a >>> 16;
    return a >>> 0;
  }
}
