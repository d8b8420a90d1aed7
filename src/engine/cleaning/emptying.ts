/**
 * Empties drained segments: copies what is live in them and logs where it lies, portion by portion. While the
 * last of a portion reaches the disk and the log, the next one is copied.
 *
 * Invariants (test/engine/cleaner.test.ts, test/engine/cleaner-crash.test.ts)
 * - A place is logged only behind the sync of the copy ("a crash at any operation of a compaction loses
 *   nothing").
 * - Copies whose places are not logged go ("an error at any operation of a compaction loses nothing").
 */
import type { FileNo } from '../../base/brands.ts';
import { VarveError } from '../../base/errors.ts';
import { KiB, MiB } from '../../base/limits.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import type { ChunkStore } from '../../chunk/chunk-store.ts';
import { FrameCopier } from '../../chunk/clean-copy.ts';
import { findLiveFrames, type Liveness } from '../../chunk/liveness.ts';
import type { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { SegmentSet } from '../../segment/segment-set.ts';
import type { ChunkMemtable } from '../../tree/chunk-memtable.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { Logger } from '../options.ts';
import { type CleanPaceOptions, copyPace, scanPace } from './clean-pace.ts';
import { roomToCopy } from './clean-plans.ts';
import type { CleanOutcome, CleanTask } from './clean-run.ts';
import type { Courtesy } from './courtesy.ts';
import type { LeavingSegments } from './leaving-segments.ts';
import { logMoves, type MoveOptions } from './log-moves.ts';
import { expectedFrames, type Found, portionsOf } from './portions.ts';

export interface EmptyingOptions extends Omit<MoveOptions, 'courtesy'> {
  readonly env: Env;
  readonly dbUuid: Uint8Array;
  readonly chunks: ChunkStore;
  readonly segments: SegmentSet;
  readonly lanes: SegmentLanes;
  readonly catalogs: CatalogStore;
  readonly health: HealthBook;
  readonly logger: Logger;
  /** Bytes at which outputs are sealed. */
  readonly segmentBytes: number;
  readonly leaving: LeavingSegments;
  readonly courtesy: Courtesy;
  readonly pace: CleanPaceOptions;
  /** Counts what is copied here. */
  readonly counters: { copiedBytes: number };
  /** Segments in which damage is met are added. */
  readonly damaged: Set<FileNo>;
}

/** Read and checked at once, also while others commit; and how many more are read meanwhile. */
const runs = { runBytes: MiB, runsAhead: 3 };
const politeRuns = { runBytes: 128 * KiB, runsAhead: 1 };

/** A portion whose live frames are in outputs that nothing names yet. */
interface Copied {
  readonly portion: readonly Found[];
  readonly copier: FrameCopier;
  /** Segments with frames that are not whole. */
  readonly damaged: ReadonlySet<FileNo>;
}

/** What a cycle has done; grows while it runs. */
export interface CycleBook {
  readonly outcome: CleanOutcome;
  /** Segments left without live frames. */
  readonly emptied: Set<FileNo>;
}

export class Emptying {
  readonly #options: EmptyingOptions;
  /** Buffers for copies, while a run is under way. */
  readonly #spare: Uint8Array[] = [];

  constructor(options: EmptyingOptions) {
    this.#options = options;
  }

  /**
   * Empties `drained` segments, which nothing else may name by then, as far as `task` allows: what was logged
   * when it ends early stays done. `liveness` is what the last scan has found. Errors as Cleaner.run.
   */
  async run(
    drained: readonly FileNo[],
    task: CleanTask,
    liveness: Liveness | undefined,
    book: CycleBook,
  ): Promise<void> {
    const { forest, chunks, lanes, pace } = this.#options;
    // What changes from here on is in this memtable or a later one.
    const since = forest.chunks.active;
    const held = chunks.guard.heldNow();
    const expected = expectedFrames(lanes.sealed(), liveness);
    const found = await findLiveFrames(forest.chunks, drained, held, scanPace(pace, task), expected);
    await this.#refuseWithoutSpace(Array.from(found.values()).reduce((sum, { bytes }) => sum + bytes, 0));
    let before: Promise<void> = Promise.resolve();
    let begun = 0;
    try {
      for (const portion of portionsOf(found, task.copyBytesMax)) {
        if (task.cancelled() || (begun > 0 && book.outcome.copiedBytes >= task.copyBytesMax)) break;
        const copied = await this.#copy(portion, task, book.outcome);
        await before.catch(async (error: unknown) => {
          await this.#discard(copied.copier);
          throw error;
        });
        before = this.#settle(copied, since, task, book);
        // Whoever waits for it is told.
        before.catch(() => undefined);
        begun++;
      }
    } finally {
      await Promise.allSettled([before]);
    }
    await before;
  }

  /** A run is over: lets buffers go. */
  end(): void {
    this.#spare.length = 0;
  }

  async #copy(portion: readonly Found[], task: CleanTask, outcome: CleanOutcome): Promise<Copied> {
    const damaged = new Set<FileNo>();
    const copier = this.#copier(
      task,
      portion.reduce((sum, [, { count }]) => sum + count, 0),
    );
    try {
      for (const [no, frames] of portion) {
        const damage = await copier.copy(no, frames);
        if (damage.length === 0) continue;
        damaged.add(no);
        for (const error of damage) this.#options.health.note(error);
        outcome.damage.push(...damage);
      }
    } catch (error) {
      await this.#discard(copier);
      throw error;
    }
    outcome.copiedBytes += copier.copiedBytes;
    return { portion, copier, damaged };
  }

  /** Makes the copies durable and says where the chunks lie: what held them is empty. */
  async #settle(
    { portion, copier, damaged }: Copied,
    since: ChunkMemtable,
    task: CleanTask,
    { outcome, emptied }: CycleBook,
  ): Promise<void> {
    const { chunks, log, lanes, leaving, counters } = this.#options;
    try {
      await copier.finish();
    } catch (error) {
      await this.#discard(copier);
      throw error;
    }
    await this.#adopt(copier, since);
    outcome.copiedFrames += copier.moves.count;
    counters.copiedBytes += copier.copiedBytes;
    for (const no of damaged) {
      this.#options.damaged.add(no);
      chunks.distrust(no);
    }
    const sizes = new Map(lanes.sealed().map(({ no, size }) => [no, size]));
    for (const [no] of portion) {
      if (damaged.has(no)) continue;
      const bytes = sizes.get(no) ?? 0;
      emptied.add(no);
      leaving.add(no, bytes, log.lastSeq);
      outcome.emptied++;
      outcome.emptiedBytes += bytes;
    }
    task.onStep?.(outcome);
  }

  async #refuseWithoutSpace(bytes: number): Promise<void> {
    if (bytes === 0) return;
    const { env, checkpointer, leaving } = this.#options;
    if (bytes <= (await roomToCopy(env.fs))) return;
    // What was emptied before may still be on its way out.
    await leaving.released();
    await checkpointer.removals.done();
    const room = await roomToCopy(env.fs);
    if (bytes <= room) return;
    throw new VarveError(
      'VARVE_NO_SPACE',
      `${bytes} bytes to copy, room for ${Math.floor(room)} on the disk`,
    );
  }

  #copier(task: CleanTask, frames: number): FrameCopier {
    const { env, dbUuid, catalogs, segments, segmentBytes, courtesy, pace } = this.#options;
    return new FrameCopier({
      fs: env.fs,
      dbUuid,
      random: env.random,
      takeFileNo: () => catalogs.takeFileNo(),
      segments,
      segmentBytes,
      frames,
      spare: this.#spare,
      ...(courtesy.isWanted ? politeRuns : runs),
      unsyncedMax: () => courtesy.unsyncedMax,
      sync: (bytes, work) => courtesy.sync(bytes, work),
      spend: copyPace(pace, task),
    });
  }

  /** The copies become live segments, and the log says where the chunks lie. */
  async #adopt(copier: FrameCopier, since: ChunkMemtable): Promise<void> {
    const { segments, lanes, log, courtesy } = this.#options;
    for (const info of copier.outputs) {
      segments.add(info.no, info);
      lanes.adopt(info);
    }
    try {
      await courtesy.own(() => logMoves(this.#options, copier.moves, since));
    } catch (error) {
      // What was logged stands; copies nothing refers to are garbage for a later run.
      if (log.failure !== undefined) throw log.failure;
      throw error;
    }
  }

  async #discard(copier: FrameCopier): Promise<void> {
    try {
      await copier.discard();
    } catch (error) {
      // The next open removes what nothing names.
      this.#options.logger.warn?.('could not remove unfinished copies', { error });
    }
  }
}
