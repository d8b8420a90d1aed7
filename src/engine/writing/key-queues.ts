/**
 * Calls that read and write one key, one after another, where they have to wait between the two. Keys without
 * such a call have no entry.
 *
 * Invariants (test/engine/updates.test.ts)
 * - Calls of one key follow each other in the order they came; those of other keys do not wait.
 * - An entry lives as long as calls of its key.
 */
import { nameOfPrefix } from '../../txn/claims.ts';

export class KeyQueues {
  readonly #tails = new Map<string, Promise<void>>();

  /** Nobody is in the queue of the key with this row prefix. */
  isFree(prefix: Uint8Array): boolean {
    return this.#tails.size === 0 || !this.#tails.has(nameOfPrefix(prefix));
  }

  /** Runs a call once those before it have ended, however they ended. */
  async run<T>(prefix: Uint8Array, call: () => Promise<T>): Promise<T> {
    const name = nameOfPrefix(prefix);
    const turn = (this.#tails.get(name) ?? Promise.resolve()).then(call);
    const tail = turn.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(name, tail);
    try {
      return await turn;
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }

  /** Keys that have a queue. */
  get size(): number {
    return this.#tails.size;
  }
}
