/**
 * A set of 64-bit hashes in one typed array, 16 to 32 bytes for each: which contents a measurement has seen.
 * Two are taken for one when their hashes are equal: of ten million different ones a pair is with a chance of
 * three in a million.
 *
 * Invariant (test/tune/hash-set-64.test.ts): it equals a Set ("a hash is new once, also after the set has
 * grown").
 */
export class HashSet64 {
  /** 0 = free. */
  #slots = new BigUint64Array(2 ** 11);
  #size = 0;

  /** Hashes in the set. */
  get size(): number {
    return this.#size;
  }

  /** True when the hash, of which the low 64 bits count, was not in the set; 0 counts as 1. */
  add(hash: bigint): boolean {
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    return this.#put(BigInt.asUintN(64, hash) || 1n);
  }

  has(hash: bigint): boolean {
    const sought = BigInt.asUintN(64, hash) || 1n;
    return this.#slots[this.#placeOf(sought)] === sought;
  }

  #put(hash: bigint): boolean {
    const at = this.#placeOf(hash);
    if (this.#slots[at] === hash) return false;
    this.#slots[at] = hash;
    this.#size++;
    return true;
  }

  /** Where the hash is, or the free slot where it belongs. */
  #placeOf(hash: bigint): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = Number(hash & 0xffff_ffffn) & mask;
    while (slots[at] !== hash && slots[at] !== 0n) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new BigUint64Array(old.length * 2);
    this.#size = 0;
    for (const hash of old) if (hash !== 0n) this.#put(hash);
  }
}
