/** Spreads work over time: so many bytes a second, and the thread given back every few milliseconds. */
import type { Clock } from '../../base/clock.ts';
import { VarveError } from '../../base/errors.ts';

/** Time spent without letting others run, ms. */
const sliceMs = 4;
/** And while somebody waits. */
const yieldingSliceMs = 1;
/** What may be spent at once after a pause, as a share of a second. */
const burstSeconds = 1;
/** Longest sleep before looking again whether to go on, ms. */
const sleepMsMax = 250;

/** How fast work may go. */
export interface PaceBounds {
  /** Undefined: no bound. */
  readonly bytesPerSecond: number | undefined;
  /** Share of the time it may work, above 0 up to 1. */
  readonly share: number;
  /** A caller waits for it: the process stays alive while it rests. */
  readonly isAwaited: boolean;
  readonly cancelled: () => boolean;
  /** Resolves when work that was paused may go on. */
  readonly goOn: () => Promise<void>;
  /** Somebody waits for a commit. */
  readonly yields: () => boolean;
  /** Gives the thread back where all of the time may be worked. */
  readonly turn: () => Promise<void>;
}

/** Gives the thread back after `worked` ms, for as long as the share says. */
export function restFor(
  clock: Clock,
  { share, isAwaited }: Pick<PaceBounds, 'share' | 'isAwaited'>,
  worked: number,
): Promise<void> {
  return share < 1 ? clock.sleep((worked * (1 - share)) / share, undefined, isAwaited) : clock.turn();
}

export class BytePace {
  readonly #clock: Clock;
  readonly #bytesPerSecond: number | undefined;
  readonly #bounds: PaceBounds;
  #since: number;
  /** Bytes that may be spent now; negative: owed. */
  #allowed: number;
  #filledAt: number;

  constructor(clock: Clock, bounds: PaceBounds) {
    const { bytesPerSecond } = bounds;
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#bounds = bounds;
    this.#since = clock.monotonic();
    this.#filledAt = this.#since;
    this.#allowed = (bytesPerSecond ?? 0) * burstSeconds;
  }

  /** Counts bytes and waits as long as they are worth. VARVE_ABORTED when the work is to end. */
  async spend(bytes: number): Promise<void> {
    this.#check();
    const slice = this.#bounds.yields() ? yieldingSliceMs : sliceMs;
    if (this.#clock.monotonic() - this.#since >= slice) await this.#rest();
    if (this.#bytesPerSecond === undefined) return;
    this.#allowed -= bytes;
    this.#fill(this.#bytesPerSecond);
    while (this.#allowed < 0) {
      const ms = (-this.#allowed / this.#bytesPerSecond) * 1000;
      await this.#clock.sleep(Math.min(sleepMsMax, Math.max(1, ms)), undefined, this.#bounds.isAwaited);
      this.#check();
      this.#fill(this.#bytesPerSecond);
    }
  }

  #fill(bytesPerSecond: number): void {
    const now = this.#clock.monotonic();
    const gained = ((now - this.#filledAt) / 1000) * bytesPerSecond;
    this.#allowed = Math.min(bytesPerSecond * burstSeconds, this.#allowed + gained);
    this.#filledAt = now;
  }

  async #rest(): Promise<void> {
    if (this.#bounds.share === 1) await this.#bounds.turn();
    else await restFor(this.#clock, this.#bounds, this.#clock.monotonic() - this.#since);
    await this.#bounds.goOn();
    this.#check();
    this.#since = this.#clock.monotonic();
  }

  #check(): void {
    if (this.#bounds.cancelled()) throw new VarveError('VARVE_ABORTED', 'the work was cancelled');
  }
}
