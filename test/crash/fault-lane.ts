/** I/O errors: one operation of a workload fails, once or from then on, in every way it can. */
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsFault, FsOp } from '../../src/fs/sim-machine.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { checkAfterFault } from './after-fault.ts';
import { drawn } from './choices.ts';
import { type FaultyRun, runFaulty } from './faulty.ts';
import { changing } from './recorder.ts';
import { checkRestores } from './vaults.ts';
import type { Workload } from './workload.ts';

/** Faults that an operation of this kind can have. */
export function faultsOf({ kind }: Pick<FsOp, 'kind'>): readonly FsFault[] {
  if (kind === 'write') {
    return [{ errno: 'EIO' }, { errno: 'ENOSPC', written: 40 }, { errno: 'EDQUOT' }];
  }
  if (kind === 'sync' || kind === 'dataSync') {
    return (['dropped', 'reverted', 'zeroed'] as const).map((lost) => ({ errno: 'EIO', lost }));
  }
  if (kind === 'create' || kind === 'mkdir') return [{ errno: 'ENOSPC' }, { errno: 'EMFILE' }];
  return [{ errno: 'EIO' }, { errno: 'EACCES' }];
}

/** One way for one operation to fail. */
export interface Failure {
  readonly op: FsOp;
  readonly fault: FsFault;
  /** Every later operation of the kind fails too. */
  readonly forEver: boolean;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Asked before each operation of a run; `index` counts the changing ones of all its processes. */
type Watch = (op: FsOp, index: number, disk: MemoryFileSystem) => FsFault | undefined;

/** The disk of a run, handed from a process that is killed to the one after it. */
class Boots {
  disk: MemoryFileSystem;
  readonly #watch: Watch;
  /** Changing operations of the processes before. */
  #before = 0;

  constructor(profile: FsProfile, watch: Watch) {
    this.#watch = watch;
    this.disk = new MemoryFileSystem({ profile });
    this.#attach();
  }

  /** The process dies; the disk of the next one. */
  kill(): MemoryFileSystem {
    const dead = this.disk;
    this.#before += dead.opCount;
    this.disk = dead.fork();
    dead.faults = () => 'crash';
    this.#attach();
    return this.disk;
  }

  /** Nothing is watched any more. */
  rest(): MemoryFileSystem {
    const { disk } = this;
    disk.faults = undefined;
    disk.schedule = undefined;
    disk.answer = undefined;
    return disk;
  }

  #attach(): void {
    const { disk } = this;
    const before = this.#before;
    disk.faults = (op) => this.#watch(op, before + op.index, disk);
    disk.schedule = turn;
    disk.answer = turn;
  }
}

/** Every failure of every changing operation of `workload`. */
export async function failuresOf(workload: Workload, profile: FsProfile): Promise<Failure[]> {
  const ops: FsOp[] = [];
  const boots = new Boots(profile, (op, index) => {
    if (changing.has(op.kind)) ops.push({ ...op, index });
    return undefined;
  });
  const run = await runFaulty(boots.disk, workload, undefined, () => boots.kill());
  if (run.failures.length > 0) throw new Error(`without a fault: ${run.failures.join('; ')}`);
  await checkRestores(run.vault);
  await checkAfterFault(boots.rest(), run, workload.shape, workload.seed);
  return ops.flatMap((op) =>
    faultsOf(op).flatMap((fault) => [false, true].map((forEver) => ({ op, fault, forEver }))),
  );
}

/** Names a state: the bytes on the disk, and what must hold of them. */
function nameOf(disk: MemoryFileSystem, { attempts }: FaultyRun): string {
  const promised = attempts.map(({ seq, durable }) => `${seq ?? ''}${durable ? '!' : ''}`);
  return `${disk.digest()} ${promised.join(' ')}`;
}

/**
 * Every state the disk can be in for the next open: same boot, or after a power cut; each once, those of
 * `seen` left out. How many were checked.
 */
export async function checkAllAfter(
  disk: MemoryFileSystem,
  run: FaultyRun,
  workload: Workload,
  seed: number,
  seen: Set<string> = new Set(),
): Promise<number> {
  let checked = 1;
  // The same boot comes last, since it changes the disk, and always: not all it has is in its bytes.
  seen.add(nameOf(disk, run));
  for (const choose of ['none', 'all', new Prng(seed)] as const) {
    const state = disk.crash(choose);
    const name = nameOf(state, run);
    if (seen.has(name)) continue;
    seen.add(name);
    checked++;
    await checkAfterFault(state, run, workload.shape, seed);
  }
  await checkAfterFault(disk, run, workload.shape, seed);
  return checked;
}

/** A moment after the failure at which the power goes. */
interface Cut {
  readonly disk: MemoryFileSystem;
  /** What was acknowledged by then. */
  readonly run: FaultyRun;
  readonly index: number;
}

/** Moments kept after a failure, and how many of them are looked at. */
const cutsKept = 60;
const cutsMax = 5;

/**
 * The power goes at some moments after the failure: nothing that was not synced survives, or a mixture. How
 * many states were checked, each once.
 */
async function checkCuts(
  cuts: readonly Cut[],
  workload: Workload,
  seed: number,
  seen: Set<string>,
): Promise<number> {
  let checked = 0;
  const prng = new Prng(seed);
  for (const { disk, run, index } of drawn(prng, cuts, cutsMax)) {
    const mixture = prng.chance(0.3);
    const state = disk.crash(mixture ? prng : 'none');
    const name = nameOf(state, run);
    if (seen.has(name)) continue;
    seen.add(name);
    checked++;
    try {
      await checkAfterFault(state, run, workload.shape, seed);
    } catch (error) {
      const what = `power cut before operation ${index}${mixture ? ', a mixture survives' : ''}`;
      throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
    }
  }
  return checked;
}

/** A run that met its failure, and how many states of its disk were checked, each once. */
export interface CheckedFailure {
  readonly run: FaultyRun;
  readonly states: number;
}

/** Runs `workload` with one failure and checks what is left; throws with what failed and how. */
export async function runFailure(
  workload: Workload,
  profile: FsProfile,
  failure: Failure,
): Promise<CheckedFailure> {
  const { op, fault, forEver } = failure;
  const cuts: Cut[] = [];
  let look: (() => FaultyRun) | undefined;
  let fired = false;
  // A sync of what is on disk already may fail unheard: it was needed by nobody.
  let wasNeeded = false;
  const boots = new Boots(profile, ({ kind }, index, disk) => {
    if (index > op.index && changing.has(kind) && cuts.length < cutsKept)
      cuts.push({ disk: disk.fork(), run: look!(), index });
    if (index !== op.index) return forEver && index > op.index && kind === op.kind ? fault : undefined;
    if (kind !== op.kind) return undefined;
    fired = true;
    wasNeeded = disk.pending().some(({ path }) => path === op.path);
    return fault;
  });
  try {
    const begun = (given: () => FaultyRun): void => {
      look = given;
    };
    const run = await runFaulty(boots.disk, workload, begun, () => boots.kill());
    const disk = boots.rest();
    await checkRestores(run.vault);
    const seed = workload.seed * 1000 + op.index;
    const seen = new Set<string>();
    const ofCuts = await checkCuts(cuts, workload, seed, seen);
    const states = ofCuts + (await checkAllAfter(disk, run, workload, seed, seen));
    const isLogSync = op.kind === 'dataSync' && op.path.startsWith('wal/');
    if (!fired) throw new Error('it never came');
    if (isLogSync && wasNeeded && !run.stopped && run.failures.length === 0)
      throw new Error('the sync of the log failed and nobody was told');
    return { run, states };
  } catch (error) {
    const how = `${JSON.stringify(fault)}${forEver ? ' from then on' : ''}`;
    const what = `operation ${op.index} (${op.kind} ${op.path}) fails ${how}`;
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  }
}
