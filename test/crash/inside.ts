/** Moments inside what is done to a store after a crash, at which the power goes again. */
import type { Prng } from '../../src/base/prng.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { type Breadth, choicesAt, drawn, settle } from './choices.ts';
import { openOn } from './machine.ts';
import { changing } from './recorder.ts';
import type { CheckPlan } from './recovered.ts';

interface Moment {
  readonly disk: MemoryFileSystem;
  readonly where: string;
}

/**
 * `most` of the moments before changing operations of `work` on `disk`, half of them before one of the log,
 * and the one that it returns.
 */
export async function momentsInside(
  disk: MemoryFileSystem,
  work: (disk: MemoryFileSystem) => Promise<MemoryFileSystem>,
  most: number,
  prng: Prng,
): Promise<readonly Moment[]> {
  const ofLog: Moment[] = [];
  const others: Moment[] = [];
  disk.faults = ({ kind, path, index }) => {
    if (!changing.has(kind)) return undefined;
    const where = `before operation ${index} (${kind} ${path})`;
    (path.startsWith('wal') ? ofLog : others).push({ disk: disk.fork(), where });
    return undefined;
  };
  const ended: Moment = { disk: await work(disk), where: 'at its end' };
  disk.faults = undefined;
  const half = Math.ceil((most - 1) / 2);
  return [ended, ...drawn(prng, ofLog, half), ...drawn(prng, others, most - 1 - half)];
}

/** Opens the store and lets its merges run; the disk once it was open. */
export async function openAndMerge(
  disk: MemoryFileSystem,
  { shape, seed }: CheckPlan,
): Promise<MemoryFileSystem> {
  const engine = await openOn(disk, shape, seed + 5);
  const opened = disk.fork();
  if (shape.merges) await engine.flush();
  return opened;
}

const breadth: Breadth = { mixtures: 2, singles: 6, cuts: 2 };

/** The disk after a power cut, in one of the shapes it may be left in; `choice` names it. */
export function anyCrash(
  at: MemoryFileSystem,
  prng: Prng,
  profile: FsProfile,
): { disk: MemoryFileSystem; choice: string } {
  const pending = at.pending();
  const [choice] = drawn(prng, choicesAt(pending, prng, breadth), 1);
  return { disk: at.crash(settle(choice!, pending, profile === 'wild').chooser), choice: choice!.name };
}
