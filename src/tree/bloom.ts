/**
 * Split-block bloom filter: a key sets one bit in each of the 8 u32 lanes of one 32-byte bucket, so that a
 * probe touches one cache line. 32-bit arithmetic only.
 *
 * Two hashes go in: one chooses the bucket, one the bits. Row prefixes have one 32-bit hash, remixed for the
 * second (`addHash`); chunk ids are uniform bytes and give two independent ones (`addPair`), which a tree of
 * 10^8 ids needs: with one 32-bit hash alone 2 % of the probes would meet the hash of another id.
 *
 * Invariants
 * - what was added is always found: "a filter finds every key that was added"
 * - false positives stay below 1 % at 12 bits per key: "a filter of 12 bits per key errs rarely"
 */
import { assert } from '../base/assert.ts';
import { viewOf, wordsOf } from '../base/bytes.ts';
import { pagedWords } from '../base/own-pages.ts';
import { mix32 } from '../codec/key-hash.ts';

export const bucketBytes = 32;
const bucketsMax = 2 ** 26;

const salt0 = 0x47b6137b;
const salt1 = 0x44974d91;
const salt2 = 0x8824ad5b;
const salt3 = 0xa2b7289d;
const salt4 = 0x705495c7;
const salt5 = 0x2df1424b;
const salt6 = 0x9efc4947;
const salt7 = 0x5c6bfb31;

/** Buckets for `keys` keys at `bitsPerKey`; at least one. */
export function bucketsFor(keys: number, bitsPerKey: number): number {
  return Math.min(bucketsMax, Math.max(1, Math.ceil((keys * bitsPerKey) / (bucketBytes * 8))));
}

/** The second hash of a key that has one. */
export function remix(hash: number): number {
  return mix32(hash ^ 0x9e3779b9);
}

/** A filter in memory: 32 B per bucket. */
export class BloomFilter {
  readonly buckets: number;
  readonly #words: Uint32Array;

  constructor(buckets: number) {
    assert(buckets >= 1 && buckets <= bucketsMax, 'buckets of a filter are in range');
    this.buckets = buckets;
    this.#words = pagedWords(buckets * 8);
  }

  /** Bytes of memory, and in a file. */
  get bytes(): number {
    return this.#words.length * 4;
  }

  /** Adds a key by its one hash. */
  addHash(hash: number): void {
    this.addPair(hash, remix(hash));
  }

  /** False when the key with this hash was never added. */
  mayContain(hash: number): boolean {
    return this.mayContainPair(hash, remix(hash));
  }

  /** Adds a key by two independent hashes: of its bucket and of its bits. */
  addPair(bucketHash: number, bitsHash: number): void {
    const words = this.#words;
    const at = this.#bucket(bucketHash);
    words[at]! |= 1 << (Math.imul(bitsHash, salt0) >>> 27);
    words[at + 1]! |= 1 << (Math.imul(bitsHash, salt1) >>> 27);
    words[at + 2]! |= 1 << (Math.imul(bitsHash, salt2) >>> 27);
    words[at + 3]! |= 1 << (Math.imul(bitsHash, salt3) >>> 27);
    words[at + 4]! |= 1 << (Math.imul(bitsHash, salt4) >>> 27);
    words[at + 5]! |= 1 << (Math.imul(bitsHash, salt5) >>> 27);
    words[at + 6]! |= 1 << (Math.imul(bitsHash, salt6) >>> 27);
    words[at + 7]! |= 1 << (Math.imul(bitsHash, salt7) >>> 27);
  }

  mayContainPair(bucketHash: number, bitsHash: number): boolean {
    return bucketHas(this.#words, this.#bucket(bucketHash), bitsHash);
  }

  /** Writes bytes [from, from + out.length) of the filter, both multiples of 4. Little-endian words. */
  save(out: Uint8Array, from: number): void {
    const view = viewOf(out);
    const words = this.#words;
    for (let i = 0; i < out.length; i += 4) view.setUint32(i, words[(from + i) >>> 2]!, true);
  }

  #bucket(hash: number): number {
    return bucketOf(hash, this.buckets) * 8;
  }
}

/** Some buckets of a filter, as `BloomFilter.save` wrote them. */
export class FilterWords {
  readonly #words: Uint32Array;

  private constructor(words: Uint32Array) {
    this.#words = words;
  }

  /** From whole buckets (copied). */
  static from(bytes: Uint8Array): FilterWords {
    return new FilterWords(wordsOf(bytes));
  }

  /** The same in other memory (taken), as long as these. */
  movedTo(words: Uint32Array): FilterWords {
    words.set(this.#words);
    return new FilterWords(words);
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#words.length * 4;
  }

  /** False when no key with this hash of its bits is in the bucket, counted from the first one here. */
  has(bucket: number, bitsHash: number): boolean {
    return bucketHas(this.#words, bucket * 8, bitsHash);
  }
}

/** The bucket of a key among so many. */
export function bucketOf(bucketHash: number, buckets: number): number {
  return Math.floor(((bucketHash >>> 0) * buckets) / 2 ** 32);
}

function bucketHas(words: Uint32Array, at: number, bitsHash: number): boolean {
  return (
    ((words[at]! >>> (Math.imul(bitsHash, salt0) >>> 27)) &
      (words[at + 1]! >>> (Math.imul(bitsHash, salt1) >>> 27)) &
      (words[at + 2]! >>> (Math.imul(bitsHash, salt2) >>> 27)) &
      (words[at + 3]! >>> (Math.imul(bitsHash, salt3) >>> 27)) &
      (words[at + 4]! >>> (Math.imul(bitsHash, salt4) >>> 27)) &
      (words[at + 5]! >>> (Math.imul(bitsHash, salt5) >>> 27)) &
      (words[at + 6]! >>> (Math.imul(bitsHash, salt6) >>> 27)) &
      (words[at + 7]! >>> (Math.imul(bitsHash, salt7) >>> 27)) &
      1) ===
    1
  );
}
