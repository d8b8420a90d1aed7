/**
 * Memory for pieces of one size, in a few large arrays that are kept as long as the room is: pieces come and
 * go for as long as a store is open, and each in an array of its own would leave holes of its size all over
 * the heap of the process.
 *
 * Who gives a slot back must have forgotten its words: the next owner writes to them.
 *
 * Invariants (test/tree/part-slots.test.ts)
 * - A slot has one owner at a time ("slots never overlap, and one given back is taken again before any new
 *   one").
 * - The arrays hold no more slots than there were owners at a time, rounded up to whole arrays (same test).
 */
import { assert } from '../base/assert.ts';
import { ownPagesBytes } from '../base/own-pages.ts';

/** Memory of one piece. */
export interface PartSlot {
  readonly words: Uint32Array;
}

/** Slots of `slotBytes` bytes. */
export class PartSlots {
  readonly slotBytes: number;
  readonly #slabSlots: number;
  readonly #free: PartSlot[] = [];
  #slab: SharedArrayBuffer | undefined;
  /** Slots of the newest array that nobody has had. */
  #left = 0;
  #slabs = 0;

  /** `slotsMax`: as many as there are ever at a time, a bound for the first array. */
  constructor(slotBytes: number, slotsMax: number) {
    assert(slotBytes % 4 === 0 && slotBytes > 0, 'a slot has whole words');
    this.slotBytes = slotBytes;
    this.#slabSlots = Math.max(1, Math.min(slotsMax, Math.floor(ownPagesBytes / slotBytes)));
  }

  /** Bytes of all arrays. Pages of them that no slot has used take no memory. */
  get bytes(): number {
    return this.#slabs * this.#slabSlots * this.slotBytes;
  }

  /** Bytes of slots that were given back. */
  get idleBytes(): number {
    return this.#free.length * this.slotBytes;
  }

  /** Memory with anything in it. */
  take(): PartSlot {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#slab === undefined || this.#left === 0) {
      // A full array is one that is larger than heaps keep (own-pages.ts). V8 counts no shared memory: of 32
      // MiB that nobody has used yet it marked its whole heap, in the first lookup of a process.
      this.#slab = new SharedArrayBuffer(this.#slabSlots * this.slotBytes);
      this.#left = this.#slabSlots;
      this.#slabs++;
    }
    this.#left--;
    const at = (this.#slabSlots - 1 - this.#left) * this.slotBytes;
    return { words: new Uint32Array(this.#slab, at, this.slotBytes / 4) };
  }

  /** The owner of the slot has no use for it any more. */
  give(slot: PartSlot): void {
    this.#free.push(slot);
  }
}
