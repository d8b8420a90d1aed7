/** Repair of a store that nobody has open: what it damages first, how it is asked, what it must say. */
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import type { Env } from '../../src/engine/env.ts';
import { type HealFrom, repairWithEnv } from '../../src/engine/health/repairing.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { RepairReport } from '../../src/integrity/repair-types.ts';
import { zeroSlot } from './fallback.ts';
import type { StoreShape } from './machine.ts';

/**
 * Zeroes the newest slot of SUPER, which costs nothing where there is one before it and gives a repair all
 * there is to do: everything derived is made anew. A store with one slot is left as it is.
 */
export async function loseNewestSlot(disk: MemoryFileSystem): Promise<void> {
  const { slot, previous, problems } = await CatalogStore.load(disk.fork());
  if (problems.length > 0 || previous === undefined) return;
  zeroSlot(disk, slot.slotIndex);
}

/** Repairs the store of `shape` in `env`; the report, whatever it says. */
export async function mend(env: Env, shape: StoreShape, healFrom?: HealFrom): Promise<RepairReport> {
  const { algorithm, inlineMax } = shape;
  const chunking = { algorithm, min: 64, avg: 1024, max: 2048 };
  return await repairWithEnv(env, { chunking, inlineMax }, healFrom);
}

/** Throws where a repair says that something is lost. */
export function refuseLoss({ ok, lost, actions, damage }: RepairReport): void {
  if (ok) return;
  const found = damage.map(({ file, kind, message }) => `${file} ${kind} ${message}`);
  throw new Error(`a repair lost ${JSON.stringify(lost)}, found ${found.join()}, did ${actions.join()}`);
}
