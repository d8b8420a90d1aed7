/**
 * Scrubs in the background: a round each `everyMs`, in slices, at a share of the time. A round goes on where
 * the one before a restart ended, since what was checked is remembered.
 *
 * Invariants (test/integrity/scrub.test.ts)
 * - Nothing runs after `stop`, and a slice under way ends ("close ends a scrub in the background, which goes
 *   round by round").
 */

import { deferred } from '../../base/sync.ts';
import type { Store } from '../store.ts';
import { scrub } from './scrub.ts';
import type { ScrubSettings } from './scrub-options.ts';

/** Longest slice, and longest sleep until the clock is looked at again, ms. */
const sliceMs = 30_000;
const sleepMsMax = 60_000;
/** Wait after a slice that failed, ms. */
const retryMs = 10 * 60_000;

export class Scrubber {
  readonly #store: Store;
  readonly #settings: ScrubSettings;
  readonly #over = new AbortController();
  readonly #stopped = deferred<void>();
  #running: Promise<void> | undefined;

  constructor(store: Store, settings: ScrubSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  /** Begins; call once. Never throws. */
  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#over.signal.aborted) this.#store.parts.options.logger.error?.('scrubbing ended', { error });
    });
  }

  /** Ends the slice under way. Idempotent. */
  async stop(): Promise<void> {
    this.#over.abort();
    this.#stopped.resolve();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { env, options } = this.#store.parts;
    const { clock } = env;
    const { signal } = this.#over;
    const { everyMs, level, share, sample } = this.#settings;
    // The moment up to which everything is to have been checked once more.
    let due = clock.now();
    while (!signal.aborted) {
      const now = clock.now();
      if (now < due) {
        await Promise.race([clock.sleep(Math.min(sleepMsMax, due - now), signal), this.#stopped.promise]);
        continue;
      }
      try {
        const slice = { level, share, sample, signal, maxMs: sliceMs, olderThanMs: everyMs };
        const { done } = await scrub(this.#store, slice, true);
        if (done) due = clock.now() + Math.min(everyMs, Math.max(sleepMsMax, everyMs * sample));
        else await clock.turn();
      } catch (error) {
        if (signal.aborted) return;
        options.logger.warn?.('a scrub failed', { error });
        due = clock.now() + retryMs;
      }
    }
  }
}
