/** A binary heap of source numbers, for merging sorted sources without an object per entry. */
import { assert } from '../base/assert.ts';

/** Holds each of the numbers 0 .. capacity-1 at most once; the order is given from outside. */
export class MergeHeap {
  readonly #items: Uint32Array;
  readonly #precedes: (a: number, b: number) => boolean;
  #size = 0;

  /** `precedes(a, b)`: the current entry of source a comes before that of source b. */
  constructor(capacity: number, precedes: (a: number, b: number) => boolean) {
    this.#items = new Uint32Array(capacity);
    this.#precedes = precedes;
  }

  get size(): number {
    return this.#size;
  }

  /** The source whose entry comes first; the heap is not empty. */
  get top(): number {
    return this.#items[0]!;
  }

  clear(): void {
    this.#size = 0;
  }

  push(source: number): void {
    assert(this.#size < this.#items.length, 'a heap holds each source once');
    const items = this.#items;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#precedes(source, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = source;
  }

  /** The top source moved to a later entry. */
  settleTop(): void {
    this.#sift(this.#items[0]!);
  }

  /** The top source has no further entry. */
  pop(): void {
    this.#size--;
    if (this.#size > 0) this.#sift(this.#items[this.#size]!);
  }

  #sift(source: number): void {
    const items = this.#items;
    const size = this.#size;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#precedes(items[child + 1]!, items[child]!)) child++;
      if (!this.#precedes(items[child]!, source)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = source;
  }
}
