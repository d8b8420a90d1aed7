/**
 * Work in the background, in bounded steps: one at a time, the event loop gets its turn between two, a step
 * that fails is tried again later, and nothing runs after `stop`.
 *
 * Invariants (test/engine/background.test.ts)
 * - Two steps never run at once, and none begins after `stop` or once writes are refused ("steps follow each
 *   other until nothing is due").
 * - A failure is tried again after a wait that grows; damage ends the work until the store is reopened ("a
 *   step that fails is tried again later, damage is not").
 */
import { awaited } from '../../base/clock.ts';
import { isDamage, isVarveError } from '../../base/errors.ts';
import { deferred } from '../../base/sync.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { Logger } from '../options.ts';
import { RetryWait } from './retry-wait.ts';

/** What all work in the background needs. */
export interface BackgroundOptions {
  readonly env: Env;
  readonly log: GroupCommit;
  readonly health: HealthBook;
  readonly logger: Logger;
}

/** What is to be done: asked for by `startIfDue`, and again after each step. */
export interface Work {
  /** As in "carrying out a range delete": of the log message of a failure. */
  readonly what: string;
  readonly isDue: () => boolean;
  readonly step: () => Promise<void>;
  /** `startIfDue` was called: before it is asked what is due, also while a step runs. */
  readonly asked?: () => void;
  /** `stop` was called, and nothing runs any more. */
  readonly stopped?: () => void;
}

/** Runs one `Work`. Who has something to do hands it out as `work`, for others to start, await and stop. */
export class Background {
  /** Steps that failed. */
  failures = 0;
  readonly #options: BackgroundOptions;
  readonly #work: Work;
  readonly #retry: RetryWait;
  readonly #over = new AbortController();
  /** Ends the waits under way. */
  readonly #waits = new Set<() => void>();
  #stuck: Error | undefined;
  #running: Promise<void> | undefined;

  constructor(options: BackgroundOptions, work: Work) {
    this.#options = options;
    this.#work = work;
    this.#retry = new RetryWait(options.env.clock);
  }

  /** Goes on with what is due, in the background. Never throws. */
  startIfDue(): void {
    this.#work.asked?.();
    if (this.#running !== undefined || this.isOver || !this.#retry.isOver || !this.#work.isDue()) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Until what failed is tried again, ms. */
  get retryMs(): number {
    return this.#retry.leftMs;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Nothing may begin any more: stopped, damaged, or writes are refused. */
  get isOver(): boolean {
    const { log, health } = this.#options;
    return this.signal.aborted || this.#stuck !== undefined || log.failure !== undefined || !!health.refusal;
  }

  /** Aborted by `stop`. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Why nothing is done any more, if so: rows are damaged, or the step is faulty. */
  get stuck(): Error | undefined {
    return this.#stuck;
  }

  /** Resolves when nothing runs any more; does not wait for what becomes due later. */
  async idle(): Promise<void> {
    await awaited(this.#options.env.clock, async () => {
      while (this.#running !== undefined) await this.#running;
    });
  }

  /** Ends with the step under way; a commit of it is not waited for. Idempotent. */
  async stop(): Promise<void> {
    this.#over.abort();
    for (const end of this.#waits) end();
    await this.idle();
    this.#work.stopped?.();
  }

  /** Waits for `wait`, or for `stop`. Errors of `wait`. */
  async orStopped(wait: Promise<void>): Promise<void> {
    // A race with one promise that lives as long as this does would keep something of each wait.
    const { promise, resolve, reject } = deferred<void>();
    wait.then(resolve, reject);
    if (this.signal.aborted) resolve();
    this.#waits.add(resolve);
    try {
      await promise;
    } finally {
      this.#waits.delete(resolve);
    }
  }

  async #run(): Promise<void> {
    while (!this.isOver && this.#work.isDue()) {
      try {
        await this.#work.step();
        this.#retry.succeeded();
      } catch (error) {
        this.#failed(error);
        return;
      }
      await this.orStopped(this.#options.env.clock.turn());
    }
  }

  #failed(error: unknown): void {
    const { logger, health } = this.#options;
    this.failures++;
    logger.warn?.(`${this.#work.what} failed`, { error });
    if (isDamage(error)) {
      health.note(error);
      this.#stuck = error;
      return;
    }
    this.#retry.failed();
    if (!isVarveError(error)) this.#stuck = error instanceof Error ? error : new Error(String(error));
  }
}
