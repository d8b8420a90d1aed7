/**
 * One sync of a file at a time, and none after one that failed. Linux tells each descriptor once of a
 * write-back that failed: a sync that runs beside the one that was told, or after it, answers with success
 * although the bytes are gone.
 *
 * Invariants (test/fs/sync-gate.test.ts)
 * - Syncs do not overlap and run in the order they were asked for ("syncs of a file run one after another").
 * - After a failed sync every other one fails with its error, also those that waited for it ("after a failed
 *   sync no other one is run").
 */
import { Mutex } from '../base/sync.ts';

export class SyncGate {
  readonly #turns = new Mutex();
  #failure: { readonly error: unknown } | undefined;

  /** Runs `sync` when those before it have ended. Rejects with the first error of any of them. */
  run(sync: () => Promise<void>): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#failure !== undefined) throw this.#failure.error;
      try {
        await sync();
      } catch (error) {
        this.#failure = { error };
        throw error;
      }
    });
  }
}
