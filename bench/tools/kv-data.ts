/** Keys and values of the key-value benches: functions of a number, so that no table is needed to check. */

/** Bytes of every key. */
export const keyBytes = 20;

/** A bijection of 32-bit numbers that leaves no order in them (the finalizer of MurmurHash3). */
export function scatter(n: number): number {
  let x = n | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const digits = '0123456789abcdef';
const scratch = Buffer.alloc(keyBytes, 'user');

/** The key of number `n`: 20 characters, unlike for unlike `n` below 2^32, not in the order of `n`. */
export function keyOf(n: number): string {
  hex(scatter(n), 4);
  hex(scatter(n ^ 0x5bd1e995), 12);
  return scratch.toString('latin1');
}

function hex(word: number, at: number): void {
  for (let i = 0; i < 8; i++) scratch[at + i] = digits.charCodeAt((word >>> (28 - 4 * i)) & 15);
}

/**
 * Fills `out`, whose length is a multiple of 4, with the value of number `n` in its `generation`: the number,
 * then noise that neither compresses nor repeats in another value.
 */
export function fillValue(out: Uint32Array, n: number, generation = 0): void {
  const seed = n + Math.imul(generation, 0x9e3779b1);
  let x = scatter(seed) || 1;
  // All sequences of the generator are parts of one circle; the mask makes a part that two share unlike.
  const mask = scatter(seed ^ 0x2545f491);
  out[0] = n;
  for (let i = 1; i < out.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x ^ mask;
  }
}

/** Values of one length. */
export class Values {
  readonly length: number;
  readonly #expected: Uint32Array;
  readonly #bytes: Uint8Array;

  /** `length`: bytes, a multiple of 4. */
  constructor(length: number) {
    this.length = length;
    this.#expected = new Uint32Array(length / 4);
    this.#bytes = new Uint8Array(this.#expected.buffer);
  }

  /** The value of a number, the caller's to keep. */
  of(n: number, generation = 0): Uint8Array {
    const words = new Uint32Array(this.length / 4);
    fillValue(words, n, generation);
    return new Uint8Array(words.buffer);
  }

  /** The same in memory of this object: borrowed until the next call. */
  borrowed(n: number, generation = 0): Uint8Array {
    fillValue(this.#expected, n, generation);
    return this.#bytes;
  }

  /** Throws unless `got` is the value of number `n`. */
  check(got: Uint8Array | undefined, n: number, generation = 0): void {
    if (got === undefined) throw new Error(`key ${n} is not there`);
    if (Buffer.compare(got, this.borrowed(n, generation)) !== 0) {
      throw new Error(`key ${n} has another value: ${got.length} bytes, ${this.length} expected`);
    }
  }
}

/** The number a value was made of. */
export function numberIn(value: Uint8Array): number {
  return (value[0]! | (value[1]! << 8) | (value[2]! << 16) | (value[3]! << 24)) >>> 0;
}
