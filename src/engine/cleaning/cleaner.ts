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
import { Mutex } from '../../base/sync.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import type { ChunkStore } from '../../chunk/chunk-store.ts';
import { type CleanLimits, type CleanPlan, planCleaning } from '../../chunk/clean-planner.ts';
import { type Liveness, measureLiveness } from '../../chunk/liveness.ts';
import type { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { SegmentSet } from '../../segment/segment-set.ts';
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
import { type CleanPaceOptions, scanPace } from './clean-pace.ts';
import { CleanPlans, segmentsToPlan } from './clean-plans.ts';
import { type CleanOutcome, type CleanTask, newOutcome } from './clean-run.ts';
import { Courtesy } from './courtesy.ts';
import { Emptying } from './emptying.ts';
import { LeavingSegments } from './leaving-segments.ts';

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
  readonly #emptying: Emptying;

  constructor(options: CleanerOptions) {
    this.#options = options;
    const { env, log, chunks, waitsForDisk } = options;
    this.leaving = new LeavingSegments(options, this.counters);
    this.gate = new PauseGate(env.clock);
    const storedBytes = (): number => chunks.counters.storedBytes;
    this.courtesy = new Courtesy({ clock: env.clock, log, storedBytes, waitsForDisk });
    this.#pace = { clock: env.clock, log, gate: this.gate, courtesy: this.courtesy };
    const { leaving, courtesy, counters } = this;
    this.#emptying = new Emptying({
      ...options,
      ...{ leaving, courtesy, counters, pace: this.#pace, damaged: this.#damaged },
    });
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
          // Beside the next cycle.
          await this.leaving.release();
          task.onStep?.(outcome);
          if (outcome.copiedBytes >= task.copyBytesMax) break;
        }
        await this.leaving.released();
      } catch (error) {
        if (!isCancelled(error)) {
          this.counters.failures++;
          throw error;
        }
      } finally {
        this.#emptying.end();
        await Promise.allSettled([this.leaving.released()]);
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
      await this.#emptying.run(drained, this.#ending(task), this.#measured?.liveness, { outcome, emptied });
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
}

/** Longest time between two looks at what a drain waits for, ms. */
const drainLookMs = 100;

function isCancelled(error: unknown): boolean {
  return error instanceof VarveError && error.code === 'VARVE_ABORTED';
}
