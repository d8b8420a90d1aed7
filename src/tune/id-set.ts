/**
 * A set of 64-bit hashes in typed arrays: which chunks a measurement has seen. Two chunks are taken for one
 * when their hashes are equal: of ten million different ones a pair is with a chance of three in a million.
 *
 * Invariant (test/tune/id-set.test.ts): it equals a Set ("an id is new once, also after the set has grown").
 */
const firstSlots = 1024;

export class IdSet {
  /** Low and high half per slot; a free slot is 0, 0, which no entry uses. */
  #slots = new Uint32Array(2 * firstSlots);
  #count = 0;

  /** Ids in the set. */
  get count(): number {
    return this.#count;
  }

  /** Memory of the table. */
  get bytes(): number {
    return this.#slots.byteLength;
  }

  /** True when the id was not in the set. */
  add(low: number, high: number): boolean {
    if (this.#count * 4 > this.#slots.length) this.#grow();
    // 0, 0 marks a free slot.
    const added = put(this.#slots, low === 0 && high === 0 ? 1 : low, high);
    if (added) this.#count++;
    return added;
  }

  has(low: number, high: number): boolean {
    const slots = this.#slots;
    const first = low === 0 && high === 0 ? 1 : low;
    for (let at = slotOf(slots, first); ; at = (at + 2) % slots.length) {
      if (slots[at] === 0 && slots[at + 1] === 0) return false;
      if (slots[at] === first && slots[at + 1] === high) return true;
    }
  }

  #grow(): void {
    const old = this.#slots;
    const slots = new Uint32Array(2 * old.length);
    for (let at = 0; at < old.length; at += 2) {
      if (old[at] !== 0 || old[at + 1] !== 0) put(slots, old[at]!, old[at + 1]!);
    }
    this.#slots = slots;
  }
}

function slotOf(slots: Uint32Array, low: number): number {
  return 2 * (low % (slots.length / 2));
}

function put(slots: Uint32Array, low: number, high: number): boolean {
  for (let at = slotOf(slots, low); ; at = (at + 2) % slots.length) {
    if (slots[at] === 0 && slots[at + 1] === 0) {
      slots[at] = low;
      slots[at + 1] = high;
      return true;
    }
    if (slots[at] === low && slots[at + 1] === high) return false;
  }
}
