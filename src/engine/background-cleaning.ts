/**
 * When cleaning runs by itself: after a checkpoint, when there may be more garbage than is allowed. An upper
 * bound is kept of what may have become garbage since the last scan of the chunk tree; only when it is passed
 * the tree is scanned, and only when the scan says so segments are emptied, at a bounded rate.
 *
 * Invariants (test/engine/background-cleaning.test.ts)
 * - Garbage ends below its bound once a checkpoint has been made ("a store that is overwritten for long stays
 *   within its bound").
 * - After `stop` nothing runs ("close ends cleaning that is under way").
 */
import { isVarveError } from '../base/errors.ts';
import type { ChunkStore } from '../chunk/chunk-store.ts';
import type { CleanLimits } from '../chunk/clean-planner.ts';
import type { SegmentLanes } from '../chunk/segment-lanes.ts';
import type { GroupCommit } from '../log/group-commit.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';
import type { Cleaner } from './cleaner.ts';
import type { Env } from './env.ts';
import type { HealthBook } from './health-book.ts';
import type { CleaningOptions, Logger } from './options.ts';

/** Share of all frames that may have become garbage before the tree is scanned for it. */
const scanShare = 0.1;
/** Share of all frames that was stored since the last scan, after which one is made in any case. */
const grownShare = 0.5;
/** Wait after a failure, ms; doubled with each further one up to the second figure. */
const retryMsMin = 1000;
const retryMsMax = 600_000;
/** Longest wait for puts that claim frames of a condemned segment, ms. */
const drainMs = 60_000;

export interface BackgroundCleaningOptions {
  readonly env: Env;
  readonly chunkTree: ChunkTree;
  readonly chunks: ChunkStore;
  readonly lanes: SegmentLanes;
  readonly cleaner: Cleaner;
  readonly log: GroupCommit;
  readonly health: HealthBook;
  readonly logger: Logger;
  readonly limits: CleanLimits;
  readonly settings: Required<CleaningOptions>;
}

export class BackgroundCleaning {
  readonly #options: BackgroundCleaningOptions;
  #running: Promise<void> | undefined;
  #stopped = false;
  /** Bytes stored when the tree was last scanned; undefined: never. */
  #scannedAt: number | undefined;
  #failuresInRow = 0;
  #retryAt = 0;

  constructor(options: BackgroundCleaningOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Cleans what is due, in the background. Never throws. */
  startIfDue(): void {
    if (this.#running !== undefined || this.#isOver() || !this.#isDue()) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Ends a run at its next step and waits for that; starts none any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#options.cleaner.stop();
    await this.idle();
  }

  #isOver(): boolean {
    const { log, health, settings } = this.#options;
    return this.#stopped || !settings.enabled || log.failure !== undefined || health.refusal !== undefined;
  }

  /** Bytes of all frames, sealed or not. */
  #dataBytes(): number {
    const { lanes } = this.#options;
    return lanes.sealed().reduce((sum, { dataLen }) => sum + dataLen, 0) + lanes.openBytes().dataBytes;
  }

  #isDue(): boolean {
    const { env, cleaner, chunks, chunkTree, limits } = this.#options;
    if (this.#failuresInRow > 0 && env.clock.monotonic() < this.#retryAt) return false;
    if (cleaner.leaving.count > 0) return true;
    const bytes = this.#dataBytes();
    // A store of a segment or two is not worth the trouble: it may be half garbage and still small.
    if (bytes < 2 * limits.segmentBytes) return false;
    const { liveness } = cleaner.measured ?? {};
    if (liveness === undefined || this.#scannedAt === undefined) return true;
    const mean = liveness.liveFrames === 0 ? bytes : liveness.liveBytes / liveness.liveFrames;
    const maybe = chunkTree.released * mean + chunks.guard.abandonedBytes;
    const grown = chunks.counters.storedBytes - this.#scannedAt;
    return maybe > bytes * scanShare || grown > bytes * grownShare;
  }

  async #run(): Promise<void> {
    const { cleaner, chunks, logger, limits, settings } = this.#options;
    try {
      await cleaner.removeReady();
      this.#scannedAt = chunks.counters.storedBytes;
      const outcome = await cleaner.run({
        limits,
        rollAbove: 1,
        drainMs,
        bytesPerSecond: settings.bytesPerSecond,
        copyBytesMax: Number.POSITIVE_INFINITY,
        cancelled: () => this.#isOver(),
      });
      if (outcome.emptied > 0) logger.debug?.('segments cleaned', { ...outcome });
      this.#failuresInRow = 0;
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const { env, health, logger } = this.#options;
    this.#failuresInRow++;
    this.#retryAt =
      env.clock.monotonic() + Math.min(retryMsMax, retryMsMin * 2 ** Math.min(16, this.#failuresInRow - 1));
    logger.warn?.('cleaning failed', { error });
    if (isVarveError(error, 'VARVE_CORRUPT')) health.note(error);
  }
}
