/** What must hold for a store that is repaired before it is opened, also where the repair is crashed. */
import { Prng } from '../../src/base/prng.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { anyCrash, momentsInside } from './inside.ts';
import { envOf } from './machine.ts';
import { mend, refuseLoss } from './mended.ts';
import type { History } from './recorder.ts';
import { type CheckPlan, checkRecovered } from './recovered.ts';

/**
 * Repairs `disk` (changed by it), on which nothing that was acknowledged is damaged: nothing is lost, a
 * second repair has nothing to do, and the store is as it would have been without. At `innerPoints` of its
 * operations the power goes: the store opens with the same last commit, and once it is repaired again too;
 * where commits are not synced one by one an open may find fewer.
 * How many stores were repaired. Throws an Error that says what is wrong.
 */
export async function checkMended(
  disk: MemoryFileSystem,
  history: History,
  plan: CheckPlan,
  profile: FsProfile,
  innerPoints: number,
): Promise<number> {
  const before = innerPoints > 0 ? disk.fork() : undefined;
  // Nothing looks damaged any more, and what was replaced is kept.
  const whole = { ...plan, killed: true, mayKeep: true };
  let last: number;
  try {
    last = await mendAndCheck(disk, history, whole);
  } catch (error) {
    throw new Error(`repaired: ${(error as Error).message}`, { cause: error });
  }
  if (before === undefined) return 1;
  let count = 1;
  const prng = new Prng(plan.seed + 3);
  const again = { ...whole, floor: last, exactly: last, goOn: false };
  // Of commits that nothing proves an open keeps those before the first hole, a repair those that are whole.
  const isProven = plan.shape.durability === 'full';
  const opened = { ...(isProven ? again : { ...plan, goOn: false }), killed: false, mayKeep: true };
  for (const { disk: at, where } of await momentsInside(before, repairOnly(plan), innerPoints, prng)) {
    const { disk: inner, choice } = anyCrash(at, prng, profile);
    try {
      await checkRecovered(inner.fork(), history, opened);
      refuseLoss(await mend(envOf(inner, plan.seed + 7), plan.shape));
      await checkRecovered(inner, history, again);
      count++;
    } catch (error) {
      throw new Error(`its repair crashed ${where}, '${choice}': ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  return count;
}

function repairOnly({ shape, seed }: CheckPlan): (disk: MemoryFileSystem) => Promise<MemoryFileSystem> {
  return async (disk) => {
    await mend(envOf(disk, seed + 7), shape);
    return disk.fork();
  };
}

async function mendAndCheck(disk: MemoryFileSystem, history: History, plan: CheckPlan): Promise<number> {
  refuseLoss(await mend(envOf(disk, plan.seed + 7), plan.shape));
  const { actions } = await mend(envOf(disk.fork(), plan.seed + 8), plan.shape);
  if (actions.length > 0) throw new Error(`a second repair does ${actions.join('; ')}`);
  return await checkRecovered(disk, history, plan);
}
