/**
 * Bytes of memory that the filters of all tables may take together. A table that is opened when there is no
 * room for its filter goes without one: each of its lookups then reads a block. Room is taken by tables in
 * the order in which they are opened, and given back when a table is closed.
 *
 * Invariant: `used` never exceeds `budget` ("filters stay within their budget, and answers stay the same",
 * test/tree/filter-budget.test.ts).
 */
export class FilterBudget {
  readonly budget: number;
  #used = 0;

  /** `budget` in bytes. */
  constructor(budget: number) {
    this.budget = budget;
  }

  get used(): number {
    return this.#used;
  }

  /** True when there was room; the bytes are then the caller's until `give`. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.budget) return false;
    this.#used += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}
