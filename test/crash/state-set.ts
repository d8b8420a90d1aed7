/**
 * A set of 64-bit state digests in flat memory, bounded: full, it forgets everything and begins anew. States
 * are then checked again, never skipped by mistake.
 *
 * Invariants
 * - `add` answers true once for each number until the set forgets (state-set.test: "a number is new once …").
 */
import { HashSet64 } from '../../src/tune/hash-set-64.ts';

/** Digests held at most, 256 MiB of them. */
const statesMax = 2 ** 24;

export class StateSet {
  #states = new HashSet64();
  /** Times everything was forgotten. */
  forgotten = 0;

  get size(): number {
    return this.#states.size;
  }

  /** True when `state` was not there; 0 counts as 1. */
  add(state: bigint): boolean {
    if (this.#states.size === statesMax) {
      this.forgotten++;
      this.#states = new HashSet64();
    }
    return this.#states.add(state);
  }
}
