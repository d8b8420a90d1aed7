/** Crashes of one workload at every changing operation, in many shapes each, every state checked once. */
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { profiles } from './alphabet.ts';
import { type Breadth, choicesAt, drawn, settle } from './choices.ts';
import { openOn } from './machine.ts';
import {
  type Base,
  type CrashPoint,
  changing,
  type History,
  type Recording,
  type RecordOptions,
  record,
} from './recorder.ts';
import { type CheckPlan, checkRecovered } from './recovered.ts';
import { StateSet } from './state-set.ts';
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
  /** One state in this many is crashed inside its recovery, at up to `innerPoints` points of it. */
  readonly innerEvery: number;
  readonly innerPoints: number;
  /** Recoveries that crash one inside the other. */
  readonly depth: number;
}

export interface Tally {
  workloads: number;
  points: number;
  /** States checked, each once. */
  states: number;
  /** States that had been checked before, in this workload or an earlier one. */
  duplicates: number;
  /** States made by a crash inside recovery. */
  inner: number;
  rows: number;
}

export const newTally = (): Tally => ({
  workloads: 0,
  points: 0,
  states: 0,
  duplicates: 0,
  inner: 0,
  rows: 0,
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
  await crashAll({ name, profile, workload, effort, tally, seen: new StateSet(), pointsMax });
}

/** Crashes one workload; throws with its name, the point and the choice when a state does not recover. */
export async function crashAll(run: CrashRun): Promise<void> {
  const { workload, profile, effort, tally, pointsMax = Number.POSITIVE_INFINITY } = run;
  const options: RecordOptions = { base: run.base, ...(run.from === undefined ? {} : { from: run.from }) };
  const recording = await record(workload, profile, options);
  tally.workloads++;
  tally.rows += recording.history.rows.length;
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
      const floor = name === 'all' ? point.acked : point.durable;
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
      try {
        await checkOnce(disk, recording, run, floor, state);
      } catch (error) {
        const where = `${run.name}, ${describe(point)}, choice '${number} ${name}'`;
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
      }
    }
  }
}

/** How deep a state is looked into follows from the state, so that it is the same when it is repeated. */
async function checkOnce(
  disk: MemoryFileSystem,
  recording: Recording,
  { workload, effort, tally }: CrashRun,
  floor: number,
  state: bigint,
): Promise<void> {
  const lot = Number(state & 0x7fff_ffffn);
  const plan: CheckPlan = {
    floor,
    shape: workload.shape,
    seed: workload.seed * 1000 + 777,
    goOn: lot % effort.goOnEvery === 0,
  };
  const deep = Math.floor(lot / 64) % effort.innerEvery === 0 ? effort.depth : 0;
  await checkState(disk, recording, plan, effort, deep, tally);
}

/** Names what must hold of a state beside its bytes: the shape of the store, and the commits up to `floor`. */
function heldBy(history: History, { shape }: Workload): (floor: number) => string {
  const names = new Map<number, string>();
  return (floor) => {
    let name = names.get(floor);
    if (name === undefined) {
      const rows = history.rows.filter(({ seq }) => seq <= floor);
      const text = JSON.stringify([shape, rows]);
      name = String(xxh64(encodeUtf8(text)));
      names.set(floor, name);
    }
    return name;
  };
}

function describe({ op }: CrashPoint): string {
  return op === undefined
    ? 'after the last operation'
    : `before operation ${op.index} (${op.kind} ${op.path})`;
}

/** Checks one state and, `depth` levels deep, the states that crashes of its recovery leave. */
async function checkState(
  disk: MemoryFileSystem,
  recording: Recording,
  plan: CheckPlan,
  effort: Effort,
  depth: number,
  tally: Tally,
): Promise<void> {
  const again = depth > 0 ? disk.fork() : undefined;
  const last = await checkRecovered(disk, recording.history, plan);
  if (again === undefined) return;
  const prng = new Prng(plan.seed);
  const inside: MemoryFileSystem[] = [];
  again.faults = ({ kind }) => {
    if (changing.has(kind)) inside.push(again.fork());
    return undefined;
  };
  await openOn(again, plan.shape, plan.seed + 5);
  again.faults = undefined;
  for (const at of drawn(prng, inside, effort.innerPoints)) {
    const choose = prng.pick(['none', 'all', prng] as const);
    const inner = at.crash(choose);
    tally.inner++;
    const innerPlan = { ...plan, floor: last, seed: plan.seed + 9, goOn: prng.chance(0.1), mayKeep: true };
    const found = await checkNested(inner, recording, innerPlan, effort, depth - 1, tally);
    if (found !== last) throw new Error(`recovery found ${last}, after a crash inside it ${found}`);
  }
}

async function checkNested(
  disk: MemoryFileSystem,
  recording: Recording,
  plan: CheckPlan,
  effort: Effort,
  depth: number,
  tally: Tally,
): Promise<number> {
  if (depth > 0) await checkState(disk.fork(), recording, plan, effort, depth, tally);
  return await checkRecovered(disk, recording.history, plan);
}
