/**
 * Cleaning: segments with garbage are emptied and removed.
 *
 *   OPEN -> SEALED -> CONDEMNED: its chunks are no hits any more
 *        -> DRAINED: no put claims a frame of it; its live frames are looked up, copied to new segments, the
 *           copies synced, and their places logged (MOVE)
 *        -> OBSOLETE: a checkpoint covers that, and every read begun before has ended
 *        -> gone: the catalog does not name it; the file is unlinked one install later
 *
 * Condemned is a state in memory only. A crash before the MOVE leaves unreferenced copies, which the next
 * open removes; after it, a segment without live frames, which is picked again.
 *
 * Invariants (test/engine/cleaner.test.ts, test/engine/cleaner-crash.test.ts,
 * test/engine/cleaner-schedules.test.ts)
 * - No chunk that anybody references, or is about to, is ever without a frame ("every schedule of puts,
 *   deletes and cleaning keeps what is referenced").
 * - A crash anywhere loses nothing and leaves no file over ("a crash at any operation of a compaction loses
 *   nothing").
 * - A read under way finds its bytes ("a stream goes on while its segment is emptied").
 * - A damaged frame keeps its segment, and is listed ("a damaged frame keeps its segment").
 * - After `stop` nothing runs.
 */
import type { FileNo, Seq } from '../../base/brands.ts';
import { VarveError } from '../../base/errors.ts';
import { KiB, MiB } from '../../base/limits.ts';
import { Mutex } from '../../base/sync.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import type { ChunkStore } from '../../chunk/chunk-store.ts';
import { FrameCopier } from '../../chunk/clean-copy.ts';
import { type CleanLimits, type CleanPlan, planCleaning } from '../../chunk/clean-planner.ts';
import { findLiveFrames, type Liveness, measureLiveness } from '../../chunk/liveness.ts';
import type { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { SegmentSet } from '../../segment/segment-set.ts';
import type { ChunkMemtable } from '../../tree/chunk-memtable.ts';
import type { Forest } from '../../tree/forest.ts';
import type { MergePace } from '../../tree/merge-slice.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import type { Checkpointer } from '../background/checkpointer.ts';
import { PauseGate } from '../background/pause-gate.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { Logger } from '../options.ts';
import type { ReadMarks } from '../reading/read-marks.ts';
import type { WritePacer } from '../writing/write-pacer.ts';
import { type CleanPaceOptions, copyPace, scanPace } from './clean-pace.ts';
import { CleanPlans, roomToCopy, segmentsToPlan } from './clean-plans.ts';
import { type CleanOutcome, type CleanTask, newOutcome } from './clean-run.ts';
import { Courtesy } from './courtesy.ts';
import { LeavingSegments } from './leaving-segments.ts';
import { logMoves } from './log-moves.ts';
import { expectedFrames, type Found, portionsOf } from './portions.ts';

export interface CleanerOptions {
  readonly env: Env;
  readonly dbUuid: Uint8Array;
  readonly forest: Forest;
  readonly chunks: ChunkStore;
  readonly segments: SegmentSet;
  readonly lanes: SegmentLanes;
  readonly catalogs: CatalogStore;
  readonly checkpointer: Checkpointer;
  readonly log: GroupCommit;
  readonly txn: TxnWriter;
  readonly marks: ReadMarks;
  readonly pacer: WritePacer;
  readonly health: HealthBook;
  readonly logger: Logger;
  /** Bytes at which segments are sealed. */
  readonly segmentBytes: number;
  /** A commit is acknowledged when it is on disk. */
  readonly waitsForDisk: boolean;
}

/** Read and checked at once while others commit. */
const politeRunBytes = 256 * KiB;

/** What the last scan said, and when. */
export interface Measured {
  readonly liveness: Liveness;
  readonly atSeq: Seq;
  /** Segments cleaning had removed by then. */
  readonly removed: number;
}

export class Cleaner {
  /** Since the engine was opened. */
  readonly counters = { cycles: 0, copiedBytes: 0, removed: 0, removedBytes: 0, failures: 0 };
  /** Segments that are empty and still there. */
  readonly leaving: LeavingSegments;
  /** Calls of compact come one after another. */
  readonly calls: Mutex = new Mutex();
  /** Holds runs up where the thread is given back next. */
  readonly gate: PauseGate;
  readonly courtesy: Courtesy;
  readonly #pace: CleanPaceOptions;
  readonly #options: CleanerOptions;
  readonly #turns = new Mutex();
  /** Damaged: not touched again before the store is reopened, unless nothing in them is live. */
  readonly #damaged = new Set<FileNo>();
  #measured: Measured | undefined;
  #stopped = false;
  /** Buffers for copies, while a run is under way. */
  readonly #spare: Uint8Array[] = [];

  constructor(options: CleanerOptions) {
    this.#options = options;
    const { env, log, chunks, waitsForDisk } = options;
    this.leaving = new LeavingSegments(options, this.counters);
    this.gate = new PauseGate(env.clock);
    const storedBytes = (): number => chunks.counters.storedBytes;
    this.courtesy = new Courtesy({ clock: env.clock, log, storedBytes, waitsForDisk });
    this.#pace = { clock: env.clock, log, gate: this.gate, courtesy: this.courtesy };
  }

  get measured(): Measured | undefined {
    return this.#measured;
  }

  /** Bytes at which segments are sealed. */
  get segmentBytes(): number {
    return this.#options.segmentBytes;
  }

  isDamaged(no: FileNo): boolean {
    return this.#damaged.has(no) || this.#options.chunks.isDistrusted(no);
  }

  /** No run begins any more; one under way ends at its next step. */
  stop(): void {
    this.#stopped = true;
    this.gate.resume();
  }

  /** Resolves when no run is under way. */
  async idle(): Promise<void> {
    await this.#turns.run(async () => undefined);
  }

  /**
   * Cleans in cycles until the planner finds nothing, the budget is used up or `cancelled` says so. One run
   * at a time; segments made since it began are left for the next. Rejects with what a copy or a commit fails
   * with: VARVE_NO_SPACE, VARVE_IO, VARVE_CORRUPT (tables), VARVE_POISONED; everything begun is then as
   * before or finished.
   */
  run(task: CleanTask): Promise<CleanOutcome> {
    return this.#turns.run(async () => {
      const outcome = newOutcome();
      const plans = this.#plans(task);
      try {
        while (!this.#isOver(task)) {
          await this.gate.passed(() => this.#isOver(task));
          const plan = await plans.next(outcome);
          if (plan === undefined) break;
          await this.#cycle(plan, task, outcome);
          await this.leaving.release();
          task.onStep?.(outcome);
          if (outcome.copiedBytes >= task.copyBytesMax) break;
        }
      } catch (error) {
        if (!isCancelled(error)) {
          this.counters.failures++;
          throw error;
        }
      } finally {
        this.#spare.length = 0;
      }
      return outcome;
    });
  }

  /** Scans the chunk tree, unless nothing has changed since the last time; no cleaning. Errors as `run`. */
  async measure(cancelled: () => boolean, share = 1): Promise<Liveness> {
    return await this.#measure({ cancelled, share, isAwaited: true });
  }

  /** What cleaning would do next, by the last measure; changes nothing. */
  planNow(limits: CleanLimits, liveness: Liveness): CleanPlan {
    const { lanes, catalogs } = this.#options;
    const isDamaged = (no: FileNo): boolean => this.isDamaged(no);
    const segments = segmentsToPlan(liveness, catalogs.nextFileNo, { lanes, isDamaged });
    return planCleaning(segments, limits, new Set(this.leaving.numbers));
  }

  /** Removes emptied segments that nothing needs any more. */
  removeReady(): Promise<void> {
    return this.#turns.run(() => this.leaving.removeReady());
  }

  #isOver(task: Pick<CleanTask, 'cancelled'>): boolean {
    const { log, health } = this.#options;
    return this.#stopped || log.failure !== undefined || health.refusal !== undefined || task.cancelled();
  }

  /** The task, which also ends where writing does. */
  #ending<T extends Pick<CleanTask, 'cancelled'>>(task: T): T {
    return { ...task, cancelled: () => this.#isOver(task) };
  }

  #paceOf(task: Pick<CleanTask, 'cancelled' | 'share' | 'isAwaited'>): MergePace {
    return scanPace(this.#pace, this.#ending(task));
  }

  async #measure(task: Pick<CleanTask, 'cancelled' | 'share' | 'isAwaited'>): Promise<Liveness> {
    const { forest, segments, log, chunks } = this.#options;
    const atSeq = log.lastSeq;
    const { removed } = this.counters;
    forest.chunks.released = 0;
    chunks.guard.abandonedBytes = 0;
    const known = this.#measured;
    if (known?.atSeq === atSeq && known.removed === removed) return known.liveness;
    const liveness = await measureLiveness(forest.chunks, (no) => segments.has(no), this.#paceOf(task));
    this.#measured = { liveness, atSeq, removed };
    return liveness;
  }

  #plans(task: CleanTask): CleanPlans {
    const { env, lanes, catalogs, checkpointer } = this.#options;
    return new CleanPlans(
      {
        ...{ fs: env.fs, lanes, catalogs, checkpointer, leaving: this.leaving },
        isDamaged: (no) => this.isDamaged(no),
        measure: (of) => this.#measure(of),
      },
      task,
    );
  }

  async #cycle(plan: CleanPlan, task: CleanTask, outcome: CleanOutcome): Promise<void> {
    const { chunks } = this.#options;
    const chosen = [...plan.dead, ...plan.victims];
    for (const no of chosen) chunks.condemn(no);
    const emptied = new Set<FileNo>();
    try {
      const drained = await this.#drain(chosen, task, outcome);
      await this.#empty(drained, task, outcome, emptied);
    } finally {
      for (const no of chosen) if (!emptied.has(no)) chunks.pardon(no);
    }
    outcome.cycles++;
    this.counters.cycles++;
  }

  /** Waits until no put claims a frame of the segments; those still claimed after a while are spared. */
  async #drain(chosen: readonly FileNo[], task: CleanTask, outcome: CleanOutcome): Promise<FileNo[]> {
    const { env, chunks } = this.#options;
    const { guard } = chunks;
    const until = env.clock.monotonic() + task.drainMs;
    while (chosen.some((no) => guard.isPinned(no))) {
      const left = until - env.clock.monotonic();
      if (left <= 0 || this.#isOver(task)) break;
      await Promise.race([
        guard.released(),
        env.clock.sleep(Math.min(left, drainLookMs), undefined, task.isAwaited),
      ]);
    }
    const busy = chosen.filter((no) => guard.isPinned(no));
    outcome.busy.push(...busy);
    return chosen.filter((no) => !guard.isPinned(no));
  }

  /**
   * Copies what is live in drained segments and logs where it lies, portion by portion: what is over when a
   * run ends early stays done. Adds the segments left empty to `emptied`.
   */
  async #empty(
    drained: readonly FileNo[],
    task: CleanTask,
    outcome: CleanOutcome,
    emptied: Set<FileNo>,
  ): Promise<void> {
    const { forest, chunks, lanes } = this.#options;
    const pace = this.#paceOf(task);
    // What changes from here on is in this memtable or a later one.
    const since = forest.chunks.active;
    const held = chunks.guard.heldNow();
    const expected = expectedFrames(lanes.sealed(), this.#measured?.liveness);
    const found = await findLiveFrames(forest.chunks, drained, held, pace, expected);
    await this.#refuseWithoutSpace(Array.from(found.values()).reduce((sum, { bytes }) => sum + bytes, 0));
    for (const portion of portionsOf(found, task.copyBytesMax)) {
      if (this.#isOver(task) || (emptied.size > 0 && outcome.copiedBytes >= task.copyBytesMax)) return;
      await this.#emptyPortion(portion, since, task, outcome, emptied);
      task.onStep?.(outcome);
    }
  }

  async #emptyPortion(
    portion: readonly Found[],
    since: ChunkMemtable,
    task: CleanTask,
    outcome: CleanOutcome,
    emptied: Set<FileNo>,
  ): Promise<void> {
    const { chunks, log, health, lanes } = this.#options;
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
        for (const error of damage) health.note(error);
        outcome.damage.push(...damage);
      }
      await copier.finish();
    } catch (error) {
      await this.#discard(copier);
      throw error;
    }
    await this.#adopt(copier, since);
    outcome.copiedBytes += copier.copiedBytes;
    outcome.copiedFrames += copier.moves.count;
    this.counters.copiedBytes += copier.copiedBytes;
    for (const no of damaged) {
      this.#damaged.add(no);
      chunks.distrust(no);
    }
    const sizes = new Map(lanes.sealed().map(({ no, size }) => [no, size]));
    for (const [no] of portion) {
      if (damaged.has(no)) continue;
      const bytes = sizes.get(no) ?? 0;
      emptied.add(no);
      this.leaving.add(no, bytes, log.lastSeq);
      outcome.emptied++;
      outcome.emptiedBytes += bytes;
    }
  }

  async #refuseWithoutSpace(bytes: number): Promise<void> {
    if (bytes === 0) return;
    const room = await roomToCopy(this.#options.env.fs);
    if (bytes <= room) return;
    throw new VarveError(
      'VARVE_NO_SPACE',
      `${bytes} bytes to copy, room for ${Math.floor(room)} on the disk`,
    );
  }

  #copier(task: CleanTask, frames: number): FrameCopier {
    const { env, dbUuid, catalogs, segments, segmentBytes } = this.#options;
    const isPolite = this.courtesy.isWanted;
    return new FrameCopier({
      fs: env.fs,
      dbUuid,
      random: env.random,
      takeFileNo: () => catalogs.takeFileNo(),
      segments,
      segmentBytes,
      frames,
      spare: this.#spare,
      runBytes: isPolite ? politeRunBytes : MiB,
      sync: (bytes, work) => this.courtesy.sync(bytes, work),
      spend: copyPace(this.#pace, this.#ending(task)),
    });
  }

  /** The copies become live segments, and the log says where the chunks lie. */
  async #adopt(copier: FrameCopier, since: ChunkMemtable): Promise<void> {
    const { segments, lanes, log } = this.#options;
    for (const info of copier.outputs) {
      segments.add(info.no, info);
      lanes.adopt(info);
    }
    try {
      await this.courtesy.own(() =>
        logMoves({ ...this.#options, courtesy: this.courtesy }, copier.moves, since),
      );
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

/** Longest time between two looks at what a drain waits for, ms. */
const drainLookMs = 100;

function isCancelled(error: unknown): boolean {
  return error instanceof VarveError && error.code === 'VARVE_ABORTED';
}
