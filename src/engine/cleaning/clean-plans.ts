/**
 * What a run of cleaning empties next. A scan of the chunk tree says how much of each segment is live; the
 * plans of several cycles are made from one. Between scans that is a hint: chunks die and come to life
 * meanwhile, and each cycle counts anew what it copies. Only a plan of nothing right behind a scan ends a
 * run.
 *
 * Invariants (test/engine/clean-plans.test.ts)
 * - A run ends with nothing left that a scan made then would call worth emptying ("a run ends only behind a
 *   scan that finds nothing").
 * - Cycles share scans ("several cycles are planned from one scan").
 */
import type { FileNo } from '../../base/brands.ts';
import { KiB } from '../../base/limits.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import { type CleanPlan, type PlanSegment, planCleaning, withinRoom } from '../../chunk/clean-planner.ts';
import type { Liveness } from '../../chunk/liveness.ts';
import type { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { FsPort } from '../../fs/port.ts';
import type { Checkpointer } from '../background/checkpointer.ts';
import type { CleanOutcome, CleanTask } from './clean-run.ts';
import type { LeavingSegments } from './leaving-segments.ts';

/** Cycles planned from one scan, at most. */
const cyclesPerScan = 16;
/** Free space a copy must leave over and above its outputs, as a share of them. */
const spareShare = 0.1;
/** And whatever their size: for the checkpoint and the catalogs behind them. */
const spareBytes = 64 * KiB;

export interface CleanPlansOptions {
  readonly fs: FsPort;
  readonly lanes: SegmentLanes;
  readonly catalogs: CatalogStore;
  readonly checkpointer: Checkpointer;
  readonly leaving: LeavingSegments;
  readonly isDamaged: (no: FileNo) => boolean;
  /** Scans the chunk tree. */
  readonly measure: (task: CleanTask) => Promise<Liveness>;
}

/** Bytes that may be copied on this disk; unbounded where it does not tell. */
export async function roomToCopy(fs: FsPort): Promise<number> {
  const free = await fs.free();
  return free === undefined ? Number.POSITIVE_INFINITY : Math.max(0, free - spareBytes) / (1 + spareShare);
}

/** Sealed segments with a number below `below` and what is live in them; of damaged ones only dead ones. */
export function segmentsToPlan(
  { live }: Liveness,
  below: FileNo,
  { lanes, isDamaged }: Pick<CleanPlansOptions, 'lanes' | 'isDamaged'>,
): PlanSegment[] {
  return lanes
    .sealed()
    .filter(({ no }) => no < below)
    .map(({ no, dataLen, frames }) => ({ no, dataLen, frames, live: live.get(no) ?? 0 }))
    .filter(({ no, live: bytes }) => bytes === 0 || !isDamaged(no));
}

/** The plans of one run. */
export class CleanPlans {
  readonly #options: CleanPlansOptions;
  readonly #task: CleanTask;
  /** Segments made since the run began are left for the next. */
  readonly #below: FileNo;
  #liveness: Liveness | undefined;
  #plansLeft = 0;

  constructor(options: CleanPlansOptions, task: CleanTask) {
    this.#options = options;
    this.#task = task;
    this.#below = options.catalogs.nextFileNo;
  }

  /** The next cycle; undefined when there is nothing left to do. Errors as measureLiveness. */
  async next(outcome: CleanOutcome): Promise<CleanPlan | undefined> {
    if (this.#liveness !== undefined && this.#plansLeft > 0) {
      this.#plansLeft--;
      const plan = await this.#plan(this.#liveness, outcome);
      if (plan !== undefined) return plan;
    }
    // What was emptied is gone as far as it may: the scan then counts what still says where it lay.
    await this.#options.leaving.released();
    const liveness = await this.#scan();
    this.#liveness = liveness;
    this.#plansLeft = cyclesPerScan - 1;
    return await this.#plan(liveness, outcome);
  }

  async #scan(): Promise<Liveness> {
    const { lanes, measure } = this.#options;
    const open = lanes.open().map((writer) => ({ no: writer.no, dataLen: writer.dataLen }));
    const liveness = await measure(this.#task);
    for (const { no, dataLen } of open) {
      const garbage = dataLen - (liveness.live.get(no) ?? 0);
      if (no < this.#below && dataLen > 0 && garbage > dataLen * this.#task.rollAbove) await lanes.roll(no);
    }
    return liveness;
  }

  async #plan(liveness: Liveness, outcome: CleanOutcome): Promise<CleanPlan | undefined> {
    const { fs, checkpointer, leaving } = this.#options;
    const segments = segmentsToPlan(liveness, this.#below, this.#options);
    const avoid = new Set([...leaving.numbers, ...outcome.busy]);
    const plan = planCleaning(segments, this.#task.limits, avoid);
    if (plan.dead.length + plan.victims.length === 0) return undefined;
    let room = await roomToCopy(fs);
    if (plan.copyBytes > room && outcome.emptied > 0) {
      // Files that were emptied before go two installs after they were dropped: now they are missed.
      await leaving.released();
      for (let installs = 0; installs < 2; installs++) await checkpointer.removeSegments([]);
      await checkpointer.removals.done();
      room = await roomToCopy(fs);
    }
    return withinRoom(plan, segments, room);
  }
}
