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
import type { ChunkStore } from '../../chunk/chunk-store.ts';
import type { CleanLimits } from '../../chunk/clean-planner.ts';
import type { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { ChunkTree } from '../../tree/chunk-tree.ts';
import { Background, type BackgroundOptions } from '../background/background.ts';
import type { CleaningOptions } from '../options.ts';
import type { Cleaner } from './cleaner.ts';

/** Share of all frames that may have become garbage before the tree is scanned for it. */
const scanShare = 0.1;
/** Share of all frames that was stored since the last scan, after which one is made in any case. */
const grownShare = 0.5;
/** Longest wait for puts that claim frames of a condemned segment, ms. */
const drainMs = 60_000;

export interface BackgroundCleaningOptions extends BackgroundOptions {
  readonly chunkTree: ChunkTree;
  readonly chunks: ChunkStore;
  readonly lanes: SegmentLanes;
  readonly cleaner: Cleaner;
  readonly limits: CleanLimits;
  readonly settings: Required<CleaningOptions>;
}

export class BackgroundCleaning {
  readonly work: Background;
  readonly #options: BackgroundCleaningOptions;
  /** Bytes stored when the tree was last scanned; undefined: never. */
  #scannedAt: number | undefined;
  /** What was waiting for readers when the last run ended. */
  #left = 0;
  /** The chunk tree was scanned: it is a moment to look what else holds space. */
  onMeasured: () => void = () => undefined;

  constructor(options: BackgroundCleaningOptions) {
    this.#options = options;
    this.work = new Background(options, {
      what: 'cleaning',
      isDue: () => this.#isDue(),
      step: () => this.#step(),
      // Each checkpoint is an occasion to look whether readers have ended.
      asked: () => {
        this.#left = 0;
      },
    });
  }

  /** Bytes of all frames, sealed or not. */
  #dataBytes(): number {
    const { lanes } = this.#options;
    return lanes.sealed().reduce((sum, { dataLen }) => sum + dataLen, 0) + lanes.openBytes().dataBytes;
  }

  #isDue(): boolean {
    const { cleaner, chunks, chunkTree, limits, settings } = this.#options;
    if (!settings.enabled) return false;
    if (cleaner.leaving.count > this.#left) return true;
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

  async #step(): Promise<void> {
    const { cleaner, chunks, logger, limits, settings } = this.#options;
    await cleaner.removeReady();
    this.#scannedAt = chunks.counters.storedBytes;
    const outcome = await cleaner.run({
      limits,
      rollAbove: 1,
      isAwaited: false,
      drainMs,
      bytesPerSecond: settings.bytesPerSecond,
      share: 1,
      copyBytesMax: Number.POSITIVE_INFINITY,
      cancelled: () => this.work.isOver,
    });
    this.onMeasured();
    if (outcome.emptied > 0) logger.debug?.('segments cleaned', { ...outcome });
    this.#left = cleaner.leaving.count;
  }
}
