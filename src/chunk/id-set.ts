/**
 * A set of chunk ids by 32 of their bits, in one typed array: 8 to 16 B per id. It may say yes to an id that
 * was never added, never no to one that was.
 */
import { u32le } from '../base/bytes.ts';

/** 64 bytes, which V8 keeps among its objects: there is a set for each put under way, and most stay small. */
const firstSlots = 16;

export class IdSet {
  /** 0 = free. */
  #slots: Uint32Array = new Uint32Array(firstSlots);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds the id at id[at..at+32); its bits are copied. */
  add(id: Uint8Array, at: number): void {
    if ((this.#count + 1) * 2 > this.#slots.length) this.#grow();
    if (place(this.#slots, bitsOf(id, at))) this.#count++;
  }

  has(id: Uint8Array, at: number): boolean {
    const bits = bitsOf(id, at);
    const mask = this.#slots.length - 1;
    for (let slot = bits & mask; ; slot = (slot + 1) & mask) {
      const found = this.#slots[slot]!;
      if (found === bits) return true;
      if (found === 0) return false;
    }
  }

  #grow(): void {
    const wider = new Uint32Array(this.#slots.length * 2);
    for (const bits of this.#slots) if (bits !== 0) place(wider, bits);
    this.#slots = wider;
  }
}

/** Ids are digests: any of their bytes will do; those the indexes of tables do not go by are taken. */
function bitsOf(id: Uint8Array, at: number): number {
  const bits = u32le(id, at + 12);
  return bits === 0 ? 1 : bits;
}

/** True when it was not there. */
function place(slots: Uint32Array, bits: number): boolean {
  const mask = slots.length - 1;
  let slot = bits & mask;
  for (; slots[slot] !== 0; slot = (slot + 1) & mask) if (slots[slot] === bits) return false;
  slots[slot] = bits;
  return true;
}
