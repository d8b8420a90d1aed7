/** A bound on bytes a second, and on how long the thread is held. */
import type { Clock } from '../base/clock.ts';
import { VarveError } from '../base/errors.ts';

/** VARVE_ABORTED once the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new VarveError('VARVE_ABORTED', 'the call was aborted', { cause: signal.reason });
}

export class Throttle {
  readonly #clock: Clock;
  readonly #rate: number;
  readonly #signal: AbortSignal | undefined;
  #freeAt = 0;

  /** `rate`: bytes a second. */
  constructor(clock: Clock, rate: number, signal: AbortSignal | undefined) {
    this.#clock = clock;
    this.#rate = rate;
    this.#signal = signal;
  }

  /** Waits until `bytes` more may go. VARVE_ABORTED. */
  async take(bytes: number): Promise<void> {
    throwIfAborted(this.#signal);
    const waitMs = this.charge(bytes);
    if (waitMs > 0) await this.#clock.sleep(waitMs, this.#signal, true);
  }

  /** `bytes` go now: what comes behind waits for them. Gives the ms they would have had to wait. */
  charge(bytes: number): number {
    const now = this.#clock.monotonic();
    const from = Math.max(now, this.#freeAt);
    this.#freeAt = from + (bytes / this.#rate) * 1000;
    return from - now;
  }
}

/** Longest stretch of work on the thread of a running engine, ms. */
const sliceMs = 8;

/** Gives the thread back every few milliseconds. */
export class Slices {
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  #until: number;
  #calls = 0;

  constructor(clock: Clock, signal: AbortSignal | undefined) {
    this.#clock = clock;
    this.#signal = signal;
    this.#until = clock.monotonic() + sliceMs;
  }

  /** A promise when it is time to rest: wait for it. Looks at the clock every 64th call. */
  step(): Promise<void> | undefined {
    if ((++this.#calls & 63) !== 0 || this.#clock.monotonic() < this.#until) return undefined;
    return this.#rest();
  }

  async #rest(): Promise<void> {
    throwIfAborted(this.#signal);
    await this.#clock.turn();
    this.#until = this.#clock.monotonic() + sliceMs;
  }
}
