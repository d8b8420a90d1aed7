/** Holds work up between two steps, until it is told to go on or to end. */
import type { Clock } from '../../base/clock.ts';
import { type Deferred, deferred } from '../../base/sync.ts';

/** Longest time between two looks whether work that is paused is to end, ms. */
const lookMs = 100;

export class PauseGate {
  readonly #clock: Clock;
  #paused: Deferred<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isPaused(): boolean {
    return this.#paused !== undefined;
  }

  pause(): void {
    this.#paused ??= deferred<void>();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  /** Resolves when nothing is paused, or when `isOver` says that the work is to end. */
  async passed(isOver: () => boolean): Promise<void> {
    while (this.#paused !== undefined && !isOver()) {
      await Promise.race([this.#paused.promise, this.#clock.sleep(lookMs)]);
    }
  }
}
