/**
 * Where the tables of a sorted run begin and end, for the search of the one that may have a key: what all
 * their keys begin with, and behind it six bytes of each first and last key as a number, all in two arrays.
 * The keys themselves lie anywhere in memory, and are compared only where these bytes are equal.
 *
 * Invariants (test/tree/table-runs.test.ts)
 * - The table found is the one a comparison of whole keys finds ("one table of each run is asked, and every
 *   one that has the key", "keys that begin alike and keys of any length find their table").
 */
import { compareRange, keyHead, sharedBytes } from '../base/bytes.ts';

/** Keys without what tells versions apart, borrowed: of one run, ascending, disjoint. */
export class RunFences {
  readonly #firsts: readonly Uint8Array[];
  readonly #lasts: readonly Uint8Array[];
  /** What all of them begin with. */
  readonly #shared: Uint8Array;
  readonly #firstHeads: Float64Array;
  readonly #lastHeads: Float64Array;

  /** Of at least one table. */
  constructor(firsts: readonly Uint8Array[], lasts: readonly Uint8Array[]) {
    this.#firsts = firsts;
    this.#lasts = lasts;
    const [first, last] = [firsts[0]!, lasts.at(-1)!];
    this.#shared = first.subarray(0, sharedBytes(first, last));
    const { length } = this.#shared;
    const headOf = (key: Uint8Array): number => keyHead(key, length, key.length);
    this.#firstHeads = Float64Array.from(firsts, headOf);
    this.#lastHeads = Float64Array.from(lasts, headOf);
  }

  /** Number of the table whose range holds buf[from..to) (borrowed); -1: there is none. Allocates nothing. */
  find(buf: Uint8Array, from: number, to: number): number {
    const shared = this.#shared;
    const { length } = shared;
    // A key that begins otherwise lies before all of them or behind them.
    if (to - from < length) return -1;
    for (let i = 0; i < length; i++) if (buf[from + i] !== shared[i]) return -1;
    const sought = keyHead(buf, from + length, to);
    const heads = this.#lastHeads;
    let low = 0;
    let high = heads.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const last = heads[middle]!;
      if (last < sought || (last === sought && this.#isBehind(middle, buf, from, to))) low = middle + 1;
      else high = middle;
    }
    if (low === heads.length) return -1;
    const first = this.#firstHeads[low]!;
    if (first !== sought) return first < sought ? low : -1;
    const firstKey = this.#firsts[low]!;
    return compareRange(firstKey, 0, firstKey.length, buf, from, to) <= 0 ? low : -1;
  }

  /** The key lies behind the last one of a table. */
  #isBehind(table: number, buf: Uint8Array, from: number, to: number): boolean {
    const last = this.#lasts[table]!;
    return compareRange(last, 0, last.length, buf, from, to) < 0;
  }
}
