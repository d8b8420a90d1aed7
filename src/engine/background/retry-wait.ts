/** When what has failed is tried again: after a wait that grows with each failure in a row. */
import type { Clock } from '../../base/clock.ts';

/** First wait, ms, and the longest one. */
const waitMsMin = 1000;
const waitMsMax = 60_000;

export class RetryWait {
  readonly #clock: Pick<Clock, 'monotonic'>;
  #failures = 0;
  #until = 0;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  get isOver(): boolean {
    return this.leftMs === 0;
  }

  get leftMs(): number {
    return this.#failures === 0 ? 0 : Math.max(0, this.#until - this.#clock.monotonic());
  }

  /** Begins a wait, twice as long as the one before up to the longest. */
  failed(): void {
    this.#until =
      this.#clock.monotonic() + Math.min(waitMsMax, waitMsMin * 2 ** Math.min(16, this.#failures));
    this.#failures++;
  }

  succeeded(): void {
    this.#failures = 0;
  }
}
