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
import { isDamage, isVarveError } from '../../base/errors.ts';
import { type Deferred, deferred } from '../../base/sync.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { Logger } from '../options.ts';

/** Wait after a step that failed, ms; doubled with each further failure up to the second figure. */
const retryMsMin = 1000;
const retryMsMax = 60_000;

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
}

export class Background {
  failures = 0;
  readonly #options: BackgroundOptions;
  readonly #work: Work;
  readonly #stop: Deferred<void> = deferred<void>();
  #stopped = false;
  #stuck: Error | undefined;
  #running: Promise<void> | undefined;
  #failuresInRow = 0;
  #retryAt = 0;

  constructor(options: BackgroundOptions, work: Work) {
    this.#options = options;
    this.#work = work;
  }

  /** Goes on with what is due, in the background. Never throws. */
  startIfDue(): void {
    if (this.#running !== undefined || this.isOver || !this.#mayRetry() || !this.#work.isDue()) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Nothing may begin any more: stopped, damaged, or writes are refused. */
  get isOver(): boolean {
    const { log, health } = this.#options;
    return this.#stopped || this.#stuck !== undefined || log.failure !== undefined || !!health.refusal;
  }

  /** Why nothing is done any more, if so. */
  get stuck(): Error | undefined {
    return this.#stuck;
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Ends with the step under way. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stop.resolve();
    await this.idle();
  }

  /** Waits for `wait`, or for `stop`. */
  orStopped(wait: Promise<void>): Promise<void> {
    return Promise.race([wait, this.#stop.promise]);
  }

  #mayRetry(): boolean {
    return this.#failuresInRow === 0 || this.#options.env.clock.monotonic() >= this.#retryAt;
  }

  async #run(): Promise<void> {
    while (!this.isOver && this.#work.isDue()) {
      try {
        await this.#work.step();
        this.#failuresInRow = 0;
      } catch (error) {
        this.#failed(error);
        return;
      }
      await this.orStopped(this.#options.env.clock.turn());
    }
  }

  #failed(error: unknown): void {
    const { logger, health, env } = this.#options;
    this.failures++;
    logger.warn?.(`${this.#work.what} failed`, { error });
    if (isDamage(error)) {
      health.note(error);
      this.#stuck = error;
      return;
    }
    this.#failuresInRow++;
    const wait = Math.min(retryMsMax, retryMsMin * 2 ** Math.min(16, this.#failuresInRow - 1));
    this.#retryAt = env.clock.monotonic() + wait;
    if (!isVarveError(error)) this.#stuck = error instanceof Error ? error : new Error(String(error));
  }
}
