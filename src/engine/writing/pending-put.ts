/**
 * The promise of one put that was sequenced in the turn of its call: settled by the group it joined, without
 * any promise in between.
 *
 * Invariants (test/engine/put-now.test.ts):
 * - close() waits for it ("close waits for puts nobody awaits");
 * - it settles once, whoever tells it first.
 */
import type { Waiter } from '../../log/group-end.ts';
import type { Store } from '../store.ts';
import type { PutResult } from '../types.ts';

export class PendingPut implements Waiter {
  readonly promise: Promise<PutResult>;
  /** What the promise resolves with; set in the turn that sequences the put. */
  result: PutResult | undefined;
  readonly #store: Store;
  #resolve!: (result: PutResult) => void;
  #reject!: (error: unknown) => void;
  #ended = false;

  /** A call of an open store begins. */
  constructor(store: Store) {
    this.#store = store;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    store.enter();
  }

  done(): void {
    this.#end();
    this.#resolve(this.result!);
  }

  failed(error: unknown): void {
    this.#end();
    this.#reject(this.#store.seen(error));
  }

  /** The put goes on by other means: the promise never settles and nobody has it. */
  drop(): void {
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#store.leave();
  }
}
