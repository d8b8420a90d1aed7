/**
 * Builds indexes and removes the entries of dropped ones, in the background.
 *
 * Invariants (test/engine/indexes.test.ts)
 * - Whoever waits for an index hears how its build ends, also when the store is closed before ("who waits for
 *   an index hears of a close").
 */
import { VarveError } from '../../base/errors.ts';
import { type IndexRow, indexStates } from '../../format/index-rows.ts';
import type { EntryWriter } from '../../secondary/entry-writer.ts';
import type { IndexBook } from '../../secondary/index-book.ts';
import {
  buildStep,
  dropStep,
  type IndexStep,
  type IndexStepLimits,
  type IndexStepParts,
} from '../../secondary/index-steps.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import { Background, type BackgroundOptions } from '../background/background.ts';
import { type PaceParts, relieved, settled } from '../background/paced-step.ts';

export interface IndexWorkOptions extends BackgroundOptions, PaceParts {
  readonly book: IndexBook;
  readonly entries: EntryWriter;
  readonly txn: TxnWriter;
  readonly limits: IndexStepLimits;
}

export class IndexWork {
  readonly work: Background;
  readonly #options: IndexWorkOptions;
  readonly #steps: IndexStepParts;
  /** Where removing goes on. */
  #at: { readonly index: number; readonly from: Uint8Array } | undefined;
  #lastError: unknown;

  constructor(options: IndexWorkOptions) {
    this.#options = options;
    const { env, book } = options;
    this.#steps = { ...options, now: () => env.clock.now() };
    this.work = new Background(options, {
      what: 'building an index',
      isDue: () => book.building !== undefined || book.dropping !== undefined,
      step: () => this.#step(),
    });
  }

  /**
   * Waits until the index is built and queries see it. VARVE_CONFLICT or VARVE_INVALID_ARGUMENT when what is
   * there cannot be indexed, VARVE_NOT_FOUND when it was dropped, VARVE_CLOSED when the store was closed, or
   * whatever building failed with; it is tried again later then.
   */
  async built(index: IndexRow): Promise<IndexRow> {
    const { book, log } = this.#options;
    for (;;) {
      const now = book.current(index);
      if (now === undefined) throw new VarveError('VARVE_NOT_FOUND', `index ${quoted(index)} was dropped`);
      if (now.state === indexStates.building) {
        this.work.startIfDue();
        if (!this.work.isRunning) throw this.#lastError ?? closed();
        await this.work.idle();
        if (this.work.isOver && book.current(index)?.state === indexStates.building) {
          throw log.failure ?? this.work.stuck ?? closed();
        }
        continue;
      }
      await log.drained();
      if (now.state === indexStates.ready) return now;
      throw new VarveError('VARVE_CONFLICT', `index ${quoted(now)} cannot be built: ${now.reason}`, {
        retryable: false,
      });
    }
  }

  async #step(): Promise<void> {
    const { book } = this.#options;
    try {
      await relieved(this.work, this.#options);
      if (this.work.isOver) return;
      const { building, dropping } = book;
      if (building !== undefined) await this.#done(await buildStep(this.#steps, building));
      else if (dropping !== undefined) await this.#drop(dropping);
      this.#lastError = undefined;
    } catch (error) {
      this.#lastError = error;
      throw error;
    }
  }

  async #drop(index: number): Promise<void> {
    const from = this.#at?.index === index ? this.#at.from : undefined;
    const step = await dropStep(this.#steps, index, from);
    this.#at = step.next === undefined ? undefined : { index, from: step.next };
    await this.#done(step);
  }

  async #done(step: IndexStep | undefined): Promise<void> {
    if (step !== undefined) await settled(this.work, this.#options, step.bytes, step.committed.done);
  }
}

function quoted({ name }: IndexRow): string {
  return JSON.stringify(name);
}

function closed(): VarveError {
  return new VarveError(
    'VARVE_CLOSED',
    'the engine was closed before the index was built; it goes on at the next open',
  );
}
