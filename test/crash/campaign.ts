/** Crashes of one workload at every changing operation, in many shapes each, every state checked once. */
import { encodeUtf8, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import { superName } from '../../src/format/file-names.ts';
import type { RangeRow } from '../../src/format/system-rows.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { profiles } from './alphabet.ts';
import { checkBackups } from './backed-up.ts';
import { type Breadth, choicesAt, drawn, settle } from './choices.ts';
import { withoutNewest } from './fallback.ts';
import { anyCrash, momentsInside, openAndMerge } from './inside.ts';
import { checkMended } from './mended-check.ts';
import { ReadAlike } from './read-alike.ts';
import { checkReader } from './readers.ts';
import {
  type Base,
  type CrashPoint,
  type History,
  type Recording,
  type RecordOptions,
  record,
} from './recorder.ts';
import { type CheckPlan, checkRecovered } from './recovered.ts';
import { StateSet } from './state-set.ts';
import type { VaultObjects } from './vaults.ts';
import { type Workload, workloadOf } from './workload.ts';

export { profiles };

/** How much of the space of states is visited. */
export interface Effort {
  /** Random mixtures per point. */
  readonly mixtures: number;
  /** States per point in which one pending change is missing or survives alone, drawn among all. */
  readonly singles: number;
  /** States per point that end within a directory's operations or the last write; all by default. */
  readonly cuts?: number;
  /** One state in this many is written to, closed and opened again. */
  readonly goOnEvery: number;
  /**
   * One state in this many also loses the newest slot of SUPER, or the newest catalog; none by default. Four
   * times as many where commits are not synced one by one.
   */
  readonly fallbackEvery?: number;
  /**
   * One state in this many is crashed inside its recovery, at up to `innerPoints` points of it; four times as
   * many where commits are not synced one by one, since then recovery has most to do.
   */
  readonly innerEvery: number;
  readonly innerPoints: number;
  /** Recoveries that crash one inside the other. */
  readonly depth: number;
  /** Readers that open while the run goes on; none by default. */
  readonly readers?: number;
}

export interface Tally {
  workloads: number;
  points: number;
  /** Different states, each once; `alike` are among them. */
  states: number;
  /** States, also of crashes inside recovery, that differ from a checked one in bytes nobody reads. */
  alike: number;
  /** States that had been checked before, in this workload or an earlier one. */
  duplicates: number;
  /** States made by a crash inside recovery or right after it. */
  inner: number;
  /** States that have lost the newest slot or catalog. */
  fallbacks: number;
  /** States that were repaired before they were opened. */
  mended: number;
  /** States after an operation failed: in the same boot, and after power cuts. */
  failing: number;
  rows: number;
  /** Backups of finished runs, each restored. */
  backups: number;
}

export const newTally = (): Tally => ({
  workloads: 0,
  points: 0,
  states: 0,
  alike: 0,
  duplicates: 0,
  inner: 0,
  fallbacks: 0,
  mended: 0,
  failing: 0,
  rows: 0,
  backups: 0,
});

/** What one run of crashes is about. */
export interface CrashRun {
  readonly name: string;
  readonly profile: FsProfile;
  readonly workload: Workload;
  readonly effort: Effort;
  readonly tally: Tally;
  /** States checked so far, by all runs that share it. */
  readonly seen: StateSet;
  /** What checks have read, by all runs that share it. */
  readonly alike: ReadAlike;
  readonly base?: Base | undefined;
  /** Crashes before this step are left to other runs; see RecordOptions. */
  readonly from?: number;
  /** At most so many points, drawn. */
  readonly pointsMax?: number;
  /** Only this one of the choices at this point: "17 without 2". */
  readonly only?: string | undefined;
  /** Asked before each state; false ends the run. */
  readonly goesOn?: () => boolean;
}

/**
 * Crashes the workload of `seed` on a disk of `profile`, at all points or `pointsMax` drawn ones; throws with
 * everything needed to repeat it.
 */
export async function crashWorkload(
  seed: number,
  profile: FsProfile,
  effort: Effort,
  tally: Tally,
  workload: Workload = workloadOf(seed),
  pointsMax: number = Number.POSITIVE_INFINITY,
): Promise<void> {
  const name = `seed ${seed}, ${profile}`;
  const seen = new StateSet();
  const alike = new ReadAlike();
  await crashAll({ name, profile, workload, effort, tally, seen, alike, pointsMax });
}

/** Crashes one workload; throws with its name, the point and the choice when a state does not recover. */
export async function crashAll(run: CrashRun): Promise<void> {
  const { workload, profile, effort, tally, pointsMax = Number.POSITIVE_INFINITY } = run;
  const options: RecordOptions = { base: run.base, ...(run.from === undefined ? {} : { from: run.from }) };
  const recording = await record(workload, profile, options);
  tally.workloads++;
  tally.rows += recording.history.rows.length;
  if (run.only === undefined) {
    await checkReaders(run, recording);
    await checkVault(run, recording);
  }
  const held = heldBy(recording.history, workload);
  const breadth: Breadth = { ...effort, cuts: effort.cuts ?? Number.POSITIVE_INFINITY };
  const made = new Set<string>();
  const numbered = Array.from(recording.points.entries());
  for (const [number, point] of drawn(new Prng(workload.seed ^ 0x5eed), numbered, pointsMax)) {
    tally.points++;
    const pending = point.disk.pending();
    for (const choice of choicesAt(pending, new Prng(workload.seed * 1000 + number), breadth)) {
      const { name } = choice;
      if (run.goesOn?.() === false) return;
      if (run.only !== undefined && run.only !== `${number} ${name}`) continue;
      // A killed process loses nothing it handed to the kernel.
      const killed = name === 'all' || pending.length === 0;
      const floor = killed ? point.acked : point.durable;
      const { chooser, survivors } = settle(choice, pending, profile === 'wild');
      const short = survivors === undefined ? undefined : `${point.syncs} ${floor}${survivors}`;
      if (short !== undefined && made.has(short)) {
        tally.duplicates++;
        continue;
      }
      if (short !== undefined) made.add(short);
      const disk = point.disk.crash(chooser);
      const state = xxh64(encodeUtf8(`${disk.digest()} ${floor} ${held(floor)}`));
      if (!run.seen.add(state)) {
        tally.duplicates++;
        continue;
      }
      tally.states++;
      // Files have just gone that only the catalog before needed.
      const isBare = name === 'none' && recording.points[number - 1]?.op?.kind === 'unlink';
      try {
        await checkOnce(
          disk,
          { recording, run, held },
          {
            ...{ floor, killed, isBare, state },
            vault: point.vault,
            mended: point.mended,
          },
        );
      } catch (error) {
        const where = `${run.name}, ${describe(point)}, choice '${number} ${name}'`;
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
      }
    }
  }
}

/** Readers open between drawn moments of a run, at first among the files of the earlier one. */
async function checkReaders({ name, workload, effort }: CrashRun, recording: Recording): Promise<void> {
  const { history } = recording;
  // Nobody has a store open that is repaired.
  const begun = recording.points.findIndex(({ mended }) => mended !== 'never');
  const points = begun < 0 ? recording.points : recording.points.slice(0, begun);
  // Before that there may be no store to open.
  const first = points.findIndex(({ acked, op }) => acked > 0 && op !== undefined);
  const prng = new Prng(workload.seed ^ 0x4ead);
  for (let n = effort.readers ?? 0; n > 0 && first >= 0; n--) {
    const from = first + prng.below(points.length - first);
    const to = Math.min(points.length - 1, from + 1 + prng.below(readerSpan));
    const calls = prng.below(readerCalls);
    try {
      await checkReader(points[from]!, points[to]!, calls, history, workload.shape);
    } catch (error) {
      const [before, after] = [describe(points[from]!), describe(points[to]!)];
      throw new Error(
        `${name}, reader ${before}, from call ${calls} on ${after}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}

/** What the run has backed up restores. */
async function checkVault({ name, workload, tally }: CrashRun, recording: Recording): Promise<void> {
  const objects = recording.points.at(-1)!.vault;
  if (objects === undefined) return;
  try {
    tally.backups += await checkBackups(objects, recording.history, workload.shape);
  } catch (error) {
    throw new Error(`${name}, backups of the run: ${(error as Error).message}`, { cause: error });
  }
}

/** What states are held against. */
interface Recorded {
  readonly recording: Recording;
  readonly run: CrashRun;
  /** Names what must hold of a store beside its bytes; see heldBy. */
  readonly held: (floor: number) => string;
}

/** A state that has not been met before. */
interface FoundState {
  readonly floor: number;
  readonly killed: boolean;
  readonly isBare: boolean;
  readonly state: bigint;
  readonly vault: VaultObjects | undefined;
  readonly mended: CrashPoint['mended'];
}

/** How deep a state is looked into follows from the state, so that it is the same when it is repeated. */
async function checkOnce(
  disk: MemoryFileSystem,
  recorded: Recorded,
  { floor, killed, isBare, state, vault, mended }: FoundState,
): Promise<void> {
  const { recording, run } = recorded;
  const { workload, effort, tally } = run;
  const lot = Number(state & 0x7fff_ffffn);
  const plan: CheckPlan = {
    floor,
    shape: workload.shape,
    seed: workload.seed * 1000 + 777,
    goOn: lot % effort.goOnEvery === 0,
    // Where a repair has not come to its end a slot is lost.
    killed: killed && mended !== 'going on',
    vault,
    mayKeep: mended !== 'never',
  };
  // Where commits are not synced one by one recovery has most to do.
  const often = workload.shape.durability === 'full' ? 1 : 4;
  const fallbackEvery = Math.ceil((effort.fallbackEvery ?? Number.POSITIVE_INFINITY) / often);
  const falls =
    effort.fallbackEvery !== undefined && (isBare || Math.floor(lot / 4096) % fallbackEvery === 0);
  const spare = falls || mended === 'going on' ? disk.fork() : undefined;
  const innerEvery = Math.ceil(effort.innerEvery / often);
  const deep = Math.floor(lot / 64) % innerEvery === 0 ? effort.depth : 0;
  await checkState(disk, recorded, plan, deep);
  if (spare === undefined) return;
  const inner = deep > 0 ? Math.ceil(effort.innerPoints / 3) : 0;
  const mendedToo = async (copy: MemoryFileSystem): Promise<void> => {
    // Nothing was promised yet: the next open makes the store.
    if (!copy.files().includes(superName)) return;
    tally.mended += await checkMended(copy, recording.history, plan, run.profile, inner);
  };
  const damages = falls ? await withoutNewest(spare, lot >> 4) : [];
  if (damages.length === 0 || mended === 'going on') await mendedToo(spare.fork());
  for (const [i, [what, damaged]] of damages.entries()) {
    tally.fallbacks++;
    try {
      if (i === (lot >> 6) % damages.length) await mendedToo(damaged.fork());
      await checkRecovered(damaged, recording.history, {
        ...plan,
        killed: false,
        goOn: false,
        mayKeep: true,
      });
    } catch (error) {
      throw new Error(`without the newest ${what}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/**
 * Names what must hold of a state beside its bytes: the shape of the store, and the commits up to `floor`.
 */
function heldBy(history: History, { shape }: Workload): (floor: number) => string {
  const names = new Map<number, string>();
  return (floor) => {
    let name = names.get(floor);
    if (name === undefined) {
      const rows = history.rows.filter(({ seq }) => seq <= floor);
      const ranges = history.ranges.filter(({ seq }) => seq <= floor).map(rangeText);
      const text = JSON.stringify([shape, rows, ranges]);
      name = String(xxh64(encodeUtf8(text)));
      names.set(floor, name);
    }
    return name;
  };
}

const rangeText = ({ seq, from, to }: RangeRow): string =>
  `${seq} ${toHex(from)} ${to === undefined ? '' : toHex(to)}`;

function describe({ op }: CrashPoint): string {
  return op === undefined
    ? 'after the last operation'
    : `before operation ${op.index} (${op.kind} ${op.path})`;
}

/** Checks one state and, `depth` levels deep, the states that crashes of its recovery leave. */
async function checkState(
  disk: MemoryFileSystem,
  recorded: Recorded,
  plan: CheckPlan,
  depth: number,
): Promise<void> {
  const { effort, tally, profile, seen } = recorded.run;
  const again = depth > 0 ? disk.fork() : undefined;
  const last = await checkUnread(disk, recorded, plan, depth > 0);
  if (again === undefined) return;
  const prng = new Prng(plan.seed);
  const moments = await momentsInside(again, (at) => openAndMerge(at, plan), effort.innerPoints, prng);
  for (const { disk: at, where } of moments) {
    const { disk: inner, choice } = anyCrash(at, prng, profile);
    if (!seen.add(xxh64(encodeUtf8(`${inner.digest()} inner ${last} ${depth}`)))) continue;
    tally.inner++;
    const goOn = prng.chance(0.1);
    const innerPlan = { ...plan, floor: last, exactly: last, seed: plan.seed + 9, goOn, mayKeep: true };
    const what = `crashed inside its recovery ${where}, '${choice}'`;
    try {
      await checkState(inner, recorded, { ...innerPlan, killed: false }, depth - 1);
    } catch (error) {
      throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/**
 * Checks a state, unless a check that would do the same to the end has passed; with `always` it is made all
 * the same. The last commit found.
 */
async function checkUnread(
  disk: MemoryFileSystem,
  { recording, run, held }: Recorded,
  plan: CheckPlan,
  always: boolean,
): Promise<number> {
  const { floor, exactly, killed, mayKeep, seed } = plan;
  const words = `${floor} ${exactly} ${killed} ${mayKeep} ${seed} ${held(floor)}`;
  const known = always ? undefined : run.alike.resultOf(disk.contents(), words);
  if (known !== undefined) {
    run.tally.alike++;
    return known;
  }
  const { noteRead, passed } = run.alike.watch(disk, words);
  const last = await checkRecovered(disk, recording.history, { ...plan, onRead: noteRead });
  passed(last);
  return last;
}

/** Moments between the files a reader begins with and those it goes on with; calls before it meets them. */
const readerSpan = 40;
const readerCalls = 12;
