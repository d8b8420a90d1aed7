/**
 * Blocks that a write needs to know the newest version of its key, read on the calling thread: a block that
 * the system has in memory costs some microseconds there and ten times as much through another thread. What
 * comes from the disk itself holds the thread up: such reads are let take a small share of the time, and
 * where they would take more, blocks are left to be waited for. A single slow read means nothing, since a
 * thread that has to wait for a processor is slow at everything.
 *
 * Invariants (test/txn/cold-reads.test.ts)
 * - Slow reads take about a tenth of the time at most ("slow reads take a tenth of the time").
 */
import type { Clock } from '../base/clock.ts';
import type { BlockHold } from '../tree/block-hold.ts';

/** Longest a read from memory takes, ms; fast disks take little more. */
const slowMs = 0.2;
/** What one slow read counts, ms, at most: the rest was a wait for a processor. */
const countedMsMax = 20;
/** Slow reading that is let happen at once, ms, and the share of the time in which it is forgotten again. */
const burstMs = 20;
const share = 0.1;

export class ColdReads {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** Slow reading that is not forgotten yet, ms; and the moment of which that is. */
  #slow = 0;
  #at = 0;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /**
   * Reads what a lookup has missed; false, with nothing read, where it is to be waited for. Errors as there.
   */
  load(missed: BlockHold): boolean {
    const began = this.#clock.monotonic();
    if (this.#slow > 0) {
      this.#slow = Math.max(0, this.#slow - share * (began - this.#at));
      this.#at = began;
      if (this.#slow > burstMs) return false;
    }
    missed.loadSync();
    const now = this.#clock.monotonic();
    const took = now - began;
    if (took > slowMs) {
      this.#slow += Math.min(took, countedMsMax);
      this.#at = now;
    }
    return true;
  }
}
