/**
 * Threads for the calls on one vault, whether they follow each other or run side by side: those of a call are
 * kept for the next one, for a while, because starting them costs what hashing some 50 MiB does.
 *
 * Invariants (test/engine/lasting-threads.test.ts)
 * - Threads end once no call has had them for `idleMs`, and never under a call ("threads are kept for the
 *   next call, and ended where none comes").
 * - Those that keep failing are no other call's ("threads that fail are not kept").
 */
import type { VaultThreads } from '../backup/vault-state.ts';
import type { Clock } from '../base/clock.ts';

/** How long threads without work are kept, ms. */
const idleMs = 10_000;

export class LastingThreads {
  readonly #start: () => VaultThreads | undefined;
  readonly #clock: Clock;
  #threads: VaultThreads | undefined;
  /** Calls that have them. */
  #users = 0;
  #idle: AbortController | undefined;

  /** `start` makes threads; undefined: there are none to be had. */
  constructor(start: () => VaultThreads | undefined, clock: Clock) {
    this.#start = start;
    this.#clock = clock;
  }

  /** For one call, which closes them: that only gives them back. */
  take(): VaultThreads | undefined {
    this.#idle?.abort();
    this.#idle = undefined;
    this.#threads ??= this.#start();
    const threads = this.#threads;
    if (threads === undefined) return undefined;
    this.#users++;
    let isGiven = false;
    const close = async (): Promise<void> => {
      if (isGiven) return;
      isGiven = true;
      if (--this.#users === 0) await this.#given(threads);
    };
    return { jobs: threads.jobs, ring: threads.ring, close };
  }

  async #given(threads: VaultThreads): Promise<void> {
    if (!threads.jobs.usable) {
      this.#threads = undefined;
      await threads.close();
      return;
    }
    const idle = new AbortController();
    this.#idle = idle;
    const end = (): void => {
      if (this.#idle !== idle) return;
      this.#idle = undefined;
      this.#threads = undefined;
      // What threads without work end with interests nobody.
      threads.close().catch(() => undefined);
    };
    // The sleep is rejected when the next call comes.
    this.#clock.sleep(idleMs, idle.signal).then(end, () => undefined);
  }
}
