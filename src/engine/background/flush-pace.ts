/**
 * How long checkpoints take for what they flush: the measure by which writers are slowed while one runs.
 *
 * Invariants (test/engine/flush-pace.test.ts)
 * - The figure of a checkpoint that takes longer than those before it grows while it runs ("a slow flush is
 *   noticed while it runs").
 */
import type { Clock } from '../../base/clock.ts';
import { MiB } from '../../base/limits.ts';

export class FlushPace {
  readonly #clock: Clock;
  #beganAt = 0;
  /** MiB; what is smaller tells nothing of a larger flush. */
  #size = 1;
  /** Of the checkpoints before, later ones counting more. */
  #usual = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A flush of `bytes` of memory begins. */
  begin(bytes: number): void {
    this.#beganAt = this.#clock.monotonic();
    this.#size = Math.max(1, bytes / MiB);
  }

  /** Its memory is free again. */
  end(): void {
    this.#usual = (this.#usual + this.#soFar) / 2;
  }

  /** Ms for each MiB; of the flush under way. */
  get msPerMiB(): number {
    return Math.max(this.#usual, this.#soFar);
  }

  get #soFar(): number {
    return (this.#clock.monotonic() - this.#beganAt) / this.#size;
  }
}
