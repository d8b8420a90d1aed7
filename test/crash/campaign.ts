/** Crashes of one workload at every changing operation, in many shapes each, every state checked once. */
import { Prng } from '../../src/base/prng.ts';
import type { CrashChooser } from '../../src/fs/crash-chooser.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { openOn } from './machine.ts';
import { type CrashPoint, changing, type Recording, record } from './recorder.ts';
import { type CheckPlan, checkRecovered } from './recovered.ts';
import { type Workload, workloadOf } from './workload.ts';

export const profiles: readonly FsProfile[] = ['posix', 'ext4', 'wild'];

/** How much of the space of states is visited. */
export interface Effort {
  /** Random mixtures per point. */
  readonly mixtures: number;
  /** States per point in which one pending change is missing or survives alone, drawn among all. */
  readonly singles: number;
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
  states: number;
  /** States made by a crash inside recovery. */
  inner: number;
  rows: number;
}

export const newTally = (): Tally => ({ workloads: 0, points: 0, states: 0, inner: 0, rows: 0 });

type Choice = { readonly name: string; readonly choose: 'none' | 'all' | CrashChooser | Prng };

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
  const recording = await record(workload, profile);
  tally.workloads++;
  tally.rows += recording.history.rows.length;
  const seen = new Set<string>();
  const prng = new Prng(seed ^ 0x5eed);
  for (const point of drawn(prng, recording.points, pointsMax)) {
    tally.points++;
    for (const choice of choicesAt(point.disk, prng, effort)) {
      const disk = point.disk.crash(choice.choose);
      // A killed process loses nothing it handed to the kernel.
      const floor = choice.choose === 'all' ? point.acked : point.durable;
      const state = `${disk.digest()} ${floor}`;
      if (seen.has(state)) continue;
      seen.add(state);
      const number = tally.states++;
      const plan: CheckPlan = {
        floor,
        shape: workload.shape,
        seed: seed * 1000 + (number % 1000),
        goOn: number % effort.goOnEvery === 0,
      };
      const where = `seed ${seed}, ${profile}, ${describe(point)}, ${choice.name}`;
      try {
        const deep = number % effort.innerEvery === 0 ? effort.depth : 0;
        await checkState(disk, recording, plan, effort, deep, tally);
      } catch (error) {
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
      }
    }
  }
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
  const engine = await openOn(again, plan.shape, plan.seed + 5);
  again.faults = undefined;
  for (const at of drawn(prng, inside, effort.innerPoints)) {
    const choose = prng.pick(['none', 'all', prng] as const);
    const inner = at.crash(choose);
    tally.inner++;
    const innerPlan = { ...plan, floor: last, seed: plan.seed + 9, goOn: prng.chance(0.1), mayKeep: true };
    const found = await checkNested(inner, recording, innerPlan, effort, depth - 1, tally);
    if (found !== last) throw new Error(`recovery found ${last}, after a crash inside it ${found}`);
  }
  await engine.close();
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

function choicesAt(disk: MemoryFileSystem, prng: Prng, effort: Effort): Choice[] {
  const choices: Choice[] = [
    { name: 'nothing pending survives', choose: 'none' },
    { name: 'everything pending survives', choose: 'all' },
  ];
  const { length } = disk.pending();
  const singles: Choice[] = [];
  for (let i = 0; i < length && length > 1; i++) {
    singles.push({ name: `pending ${i} is missing`, choose: { keep: ({ index }) => index !== i } });
    singles.push({ name: `pending ${i} survives alone`, choose: { keep: ({ index }) => index === i } });
  }
  choices.push(...drawn(prng, singles, effort.singles));
  for (let i = 0; i < effort.mixtures && length > 0; i++) {
    const seed = prng.u32();
    choices.push({ name: `mixture ${seed}`, choose: new Prng(seed) });
  }
  return choices;
}

/** All of `items`, or `most` of them drawn at random. */
function drawn<T>(prng: Prng, items: readonly T[], most: number): readonly T[] {
  if (items.length <= most) return items;
  const rest = items.slice();
  return Array.from({ length: most }, () => rest.splice(prng.below(rest.length), 1)[0]!);
}
