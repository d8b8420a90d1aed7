/**
 * Decides, for the small calls that a tree of files takes, whether they are made on this thread or in the
 * background. What the system has in memory it answers in a few microseconds, and the way to a background
 * thread and back costs ten times that; what it must ask a disk for takes as long as a disk takes, and is
 * better asked for several at a time.
 *
 * Invariants (test/cli/call-pace.test.ts)
 * - calls that turn out slow go to the background, and a few now and then show whether they still are ("slow
 *   calls go to the background, and come back when they are quick again");
 * - the event loop turns every few ms, however many calls are made on this thread ("others have their turn").
 */
import { setImmediate } from 'node:timers/promises';

/** Milliseconds; in tests another one. */
export type Now = () => number;

/** A call that takes longer has waited for something. */
const quickMsMax = 0.5;
/** Calls of which one in so many is slow are no quick ones: one now and then is held up by other work. */
const slowShareMax = 1 / 4;
/** Weight of a call in that share. */
const weight = 1 / 16;
/** Calls made in the background before this thread tries again. */
const backgroundCalls = 256;
/** Calls are made on this thread for so long before others have their turn. */
const turnMs = 8;

export class CallPace {
  readonly #now: Now;
  #slowShare = 0;
  /** Calls that are still to be made in the background. */
  #background = 0;
  #turnedAt: number;

  constructor(now: Now = () => performance.now()) {
    this.#now = now;
    this.#turnedAt = now();
  }

  /** Calls are made on this thread at the moment. */
  get isQuick(): boolean {
    return this.#background === 0;
  }

  /**
   * Makes one call, or a few that belong together, in one of two ways that do the same. The result itself
   * where it was made on this thread with no wait before it; what such a call throws is thrown.
   */
  run<T>(here: () => T, there: () => Promise<T>): T | Promise<T> {
    if (this.#now() - this.#turnedAt > turnMs) return this.#makeAfterTurn(here, there);
    return this.#make(here, there);
  }

  async #makeAfterTurn<T>(here: () => T, there: () => Promise<T>): Promise<T> {
    await setImmediate();
    this.#turnedAt = this.#now();
    return await this.#make(here, there);
  }

  #make<T>(here: () => T, there: () => Promise<T>): T | Promise<T> {
    if (this.#background > 0) {
      this.#background--;
      return there();
    }
    const from = this.#now();
    try {
      return here();
    } finally {
      this.#note(this.#now() - from > quickMsMax);
    }
  }

  #note(isSlow: boolean): void {
    this.#slowShare += ((isSlow ? 1 : 0) - this.#slowShare) * weight;
    if (this.#slowShare <= slowShareMax) return;
    this.#background = backgroundCalls;
    // Where the next ones are slow too, it is back in the background after few of them.
    this.#slowShare = slowShareMax / 2;
  }
}
