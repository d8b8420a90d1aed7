/**
 * A set of 64-bit state digests in flat memory: 8 bytes a slot, at most `slotsMax` slots. Full, it forgets
 * everything and begins anew: states are then checked again, never skipped by mistake.
 *
 * Invariants
 * - `add` answers true once for each number until the set forgets (state-set.test: "a number is new once …").
 */
const slotsMax = 2 ** 25;

export class StateSet {
  #slots = new BigUint64Array(2 ** 12);
  #size = 0;
  /** Times everything was forgotten. */
  forgotten = 0;

  get size(): number {
    return this.#size;
  }

  /** True when `state` was not there; 0 counts as 1. */
  add(state: bigint): boolean {
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    return this.#put(BigInt.asUintN(64, state) || 1n);
  }

  #put(state: bigint): boolean {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = Number(state & 0xffff_ffffn) & mask; ; at = (at + 1) & mask) {
      const there = slots[at]!;
      if (there === state) return false;
      if (there !== 0n) continue;
      slots[at] = state;
      this.#size++;
      return true;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#size = 0;
    if (old.length === slotsMax) {
      this.forgotten++;
      old.fill(0n);
      return;
    }
    this.#slots = new BigUint64Array(old.length * 2);
    for (const state of old) if (state !== 0n) this.#put(state);
  }
}
