/**
 * Memory that pieces of tables take together: of their filters, or of their indexes. One budget for all
 * tables; pieces that nobody has used since they were last looked at go first.
 *
 * Pieces stand in a ring with a hand. A piece that is used is marked, which costs its user one store; the
 * hand takes the mark away, and drops a piece it finds without one.
 *
 * Invariants (test/tree/part-room.test.ts)
 * - `used` never exceeds `budget` ("used never exceeds the budget, and is the sum of what is held").
 * - What is used again and again stays where others come and go ("a piece in use outlives those used once").
 */
import type { FileNo } from '../base/brands.ts';
import { filterPartitionBytes } from '../format/table.ts';
import { PartSlots } from './part-slots.ts';

/** Pieces that an offer looks at, and the share of offers to a full room that look at any. */
const looksMax = 4;
const looksOneIn = 16;

/** Who has a piece, and is told when it is dropped. */
export interface PartOwner {
  readonly no: FileNo;
  dropped(number: number): void;
}

/** A piece of a table in memory. */
export class Part {
  /** Bytes of memory, counted against the budget. */
  readonly bytes: number;
  /** Which piece of its owner it is. */
  readonly number: number;
  /** Set by whoever uses it. */
  isUsed = true;
  /** Its place in the ring of its room; -1: it is held by nobody's budget. */
  at = -1;
  readonly owner: PartOwner;

  constructor(owner: PartOwner, number: number, bytes: number) {
    this.owner = owner;
    this.number = number;
    this.bytes = bytes;
  }
}

/** A budget in bytes and the pieces that take it. */
export class PartRoom {
  readonly budget: number;
  /** Memory for whole pieces of filters; undefined where there is no budget. */
  readonly slots: PartSlots | undefined;
  readonly #ring: Part[] = [];
  #hand = 0;
  #refused = 0;
  #used = 0;
  /** Called when more of the budget is taken. */
  onTaken: () => void = () => undefined;

  /** `budget` in bytes. */
  constructor(budget: number = Number.MAX_SAFE_INTEGER) {
    this.budget = budget;
    if (budget < Number.MAX_SAFE_INTEGER)
      this.slots = new PartSlots(filterPartitionBytes, Math.floor(budget / filterPartitionBytes));
  }

  get used(): number {
    return this.#used;
  }

  /** Bytes that nobody has taken, and no slot keeps. */
  get free(): number {
    return this.budget - this.#used - (this.slots?.idleBytes ?? 0);
  }

  /**
   * True once there is room for `bytes` more, which is not worth the room of what is in use: once in a while
   * a few pieces are looked at, and make it if nobody has used them since the hand last passed. So hot pieces
   * take the place of cold ones, and a room that is too small costs few reads.
   */
  offer(bytes: number): boolean {
    if (this.#used + bytes <= this.budget) return true;
    this.#refused++;
    return this.#refused % looksOneIn === 0 && this.#make(bytes, looksMax);
  }

  /** As `offer`, dropping pieces in use too: false only where it is more than the budget. */
  demand(bytes: number): boolean {
    return this.#make(bytes, Number.POSITIVE_INFINITY);
  }

  /** Holds a piece until it is dropped or given back. False, and not held, where there is no room for it. */
  hold(part: Part): boolean {
    if (this.#used + part.bytes > this.budget) return false;
    part.at = this.#ring.length;
    this.#ring.push(part);
    this.#used += part.bytes;
    this.onTaken();
    return true;
  }

  /** Its owner has no use for the piece any more. */
  give(part: Part): void {
    if (part.at === -1) return;
    const last = this.#ring.pop()!;
    if (last !== part) {
      this.#ring[part.at] = last;
      last.at = part.at;
    }
    part.at = -1;
    this.#used -= part.bytes;
  }

  /** Drops every piece. */
  clear(): void {
    while (this.#ring.length > 0) this.#drop(this.#ring.at(-1)!);
  }

  #make(bytes: number, looks: number): boolean {
    if (bytes > this.budget) return false;
    for (let left = looks; this.#used + bytes > this.budget; left--) {
      if (left <= 0) return false;
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const part = this.#ring[this.#hand]!;
      if (part.isUsed) {
        part.isUsed = false;
        this.#hand++;
      } else this.#drop(part);
    }
    return true;
  }

  #drop(part: Part): void {
    this.give(part);
    part.owner.dropped(part.number);
  }
}
