import type { Clock } from '../../src/base/clock.ts';
import { VarveError } from '../../src/base/errors.ts';

interface Sleeper {
  ms: number;
  wake: () => void;
}

/** A clock for locks: short waits pass at once and call `onWait`; longer ones wait for `wakeAll`. */
export class LockClock implements Clock {
  time = 1_000_000;
  onWait: (() => Promise<void> | void) | undefined;
  readonly #sleepers = new Set<Sleeper>();

  now(): number {
    return this.time;
  }

  monotonic(): number {
    return this.time;
  }

  keepAlive(): () => void {
    return () => undefined;
  }

  turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms > 1_000) await this.#park(ms, signal);
    else await this.onWait?.();
    if (signal?.aborted) throw new VarveError('VARVE_ABORTED', 'aborted');
    this.time += ms;
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }

  wakeAll(): void {
    for (const sleeper of [...this.#sleepers]) sleeper.wake();
  }

  #park(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const sleeper: Sleeper = {
        ms,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener('abort', sleeper.wake);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', sleeper.wake, { once: true });
    });
  }
}
