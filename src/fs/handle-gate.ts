/**
 * Counts the operations under way on one handle, so that closing waits for them. A descriptor closed under a
 * queued write would be given to another file, and the write would land there without an error.
 *
 * Invariants
 * - `close` runs its task once, after the last operation has left (handle-gate.test: "close waits …").
 * - Nothing enters after `close` was called (handle-gate.test: "an operation after close …").
 */
import { assert } from '../base/assert.ts';

export class HandleGate {
  #inFlight = 0;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Runs `task` as an operation on the handle. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    this.check();
    this.#inFlight++;
    try {
      return await task();
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#drained?.();
    }
  }

  /** Asserts that the handle is open; for operations that finish before they return. */
  check(): void {
    assert(this.#closing === undefined, 'file is open');
  }

  /** Waits for the operations under way, then runs `task`. Later calls get the same promise. */
  close(task: () => Promise<void>): Promise<void> {
    this.#closing ??= this.#drain().then(task);
    return this.#closing;
  }

  #drain(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }
}
