/**
 * Tells the callers of ended groups, a few at a time.
 *
 * A writer that hears of its put begins the next one in the same turn of the event loop. Where that is much
 * work (hashing a value), telling all of a large group at once would keep the thread until the last one is
 * done, and the disk idle meanwhile. So they are told in slices, with a turn after each, in which rounds of
 * the log begin and end.
 *
 * Invariants (test/log/wakes.test.ts):
 * - everybody is told once, in the order of the groups ("everybody is told once and in order");
 * - work that is quick is not sliced ("all are told at once where that is quick");
 * - work that is slow gives the thread back ("slow callers are told in slices").
 */
import type { Clock } from '../base/clock.ts';
import type { Waiter } from './group-end.ts';

/** What the callers of one slice should do together before others get their turn, ms. */
export const wakeSliceMs = 0.5;

export class Wakes {
  readonly #clock: Clock;
  #waiting: Waiter[] = [];
  /** The first of them that was not told yet. */
  #next = 0;
  #isRunning = false;
  #slice = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Some were not told yet, or have not had their turn. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Tells that the group went well: the first of them before this returns, unless others wait. */
  add(waiters: readonly Waiter[]): void {
    for (let i = 0; i < waiters.length; i++) this.#waiting.push(waiters[i]!);
    if (!this.#isRunning && this.#waiting.length > 0) this.#run();
  }

  /** Never rejects: neither a waiter nor the clock throws. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#next < this.#waiting.length) {
      const began = this.#clock.monotonic();
      const from = this.#next;
      const to = Math.min(this.#waiting.length, from + this.#slice);
      this.#next = to;
      const waiting = this.#waiting;
      for (let i = from; i < to; i++) waiting[i]!.done();
      if (to === waiting.length) {
        this.#waiting = [];
        this.#next = 0;
      }
      await this.#clock.turn();
      this.#adapt(to - from, this.#clock.monotonic() - began);
    }
    this.#isRunning = false;
  }

  #adapt(count: number, tookMs: number): void {
    if (tookMs > wakeSliceMs) this.#slice = Math.max(1, Math.floor((count * wakeSliceMs) / tookMs));
    else if (count >= this.#slice) this.#slice *= 2;
  }
}
