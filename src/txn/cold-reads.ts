/**
 * Blocks that a write needs to know the newest version of its key, read on the calling thread: a block that
 * the system has in memory costs some microseconds there and ten times as much through another thread. A read
 * that took long came from the disk: for a while after it none is made here, so that the thread is held up
 * for a small share of the time at most.
 *
 * Invariants (test/txn/cold-reads.test.ts)
 * - Slow reads take a tenth of the time at most ("a slow read is the last one for a while").
 */
import type { Clock } from '../base/clock.ts';
import type { BlockHold } from '../tree/block-hold.ts';

/** Longest a read from memory takes, ms. */
const slowMs = 1;
/** After a slow one none follows for so many times as long as it took. */
const pauseFactor = 10;

export class ColdReads {
  readonly #clock: Pick<Clock, 'monotonic'>;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /**
   * Reads what a lookup has missed; false, with nothing read, where it is to be waited for. Errors as there.
   */
  load(missed: BlockHold): boolean {
    const began = this.#clock.monotonic();
    if (began < this.#pausedUntil) return false;
    missed.loadSync();
    const now = this.#clock.monotonic();
    if (now - began > slowMs) this.#pausedUntil = now + pauseFactor * (now - began);
    return true;
  }
}
