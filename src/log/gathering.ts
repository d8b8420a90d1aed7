/** How long a round of group commit lets callers join before it begins. */
import type { Clock } from '../base/clock.ts';
import type { Group } from './group-end.ts';
import type { Wakes } from './wakes.ts';

/** Longest that rounds follow each other without a turn of the event loop, ms. */
const turnEveryMs = 2;

export class Gathering {
  readonly #clock: Clock;
  readonly #wakes: Wakes;
  readonly #isFull: boolean;
  /** When the event loop last got its turn, monotonic ms. */
  #turnedAt = Number.NEGATIVE_INFINITY;
  /** What the last round took, ms. */
  roundMs = 0;

  /** `isFull`: a round waits for the disk. */
  constructor(clock: Clock, wakes: Wakes, isFull: boolean) {
    this.#clock = clock;
    this.#wakes = wakes;
    this.#isFull = isFull;
  }

  /**
   * Lets more join. Where a round waits for the disk, whatever the event loop has for this turn, and callers
   * still to be told until they have filled `open` for as long as a round takes; else what runs before it
   * goes on, which the loop must be let do every few milliseconds all the same.
   */
  async more(open: () => Group | undefined): Promise<void> {
    const clock = this.#clock;
    if (!this.#isFull && clock.monotonic() - this.#turnedAt < turnEveryMs) return;
    do {
      await clock.turn();
      this.#turnedAt = clock.monotonic();
    } while (this.#wakes.isRunning && this.#turnedAt - (open()?.madeMs ?? -Infinity) < this.roundMs);
  }
}
