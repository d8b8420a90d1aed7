/** A store that is repaired between two lives, under the lock, on a disk that may refuse. */
import { isVarveError } from '../../src/base/errors.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { repairWithEnv } from '../../src/engine/health/repairing.ts';
import { superName } from '../../src/format/file-names.ts';
import { slotCount } from '../../src/format/superblock.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { RepairReport } from '../../src/integrity/repair-types.ts';
import { zeroSlot } from '../crash/fallback.ts';
import { refuseLoss } from '../crash/mended.ts';
import type { Settled } from './attempts.ts';
import { envOfLife, type World } from './life.ts';
import type { SimEnd, SimRepair } from './plan.ts';

/** Drives work until it settles; undefined when the process died first. */
type Drive = (work: Promise<RepairReport>) => Promise<Settled<RepairReport> | undefined>;

/** The repairs of a run. */
export class Mending {
  #due: { readonly of: SimRepair; readonly mayBeLocked: boolean } | undefined;
  /** Repairs that came to an end, well or not. */
  count = 0;
  /** A slot of SUPER may be damaged, and `quarantine/` may hold files. */
  hasBegun = false;

  /** A life has ended as `end` says. A rival may outlive a close, and have the store open. */
  after({ kind, repair }: SimEnd): void {
    if (repair !== undefined) this.#due = { of: repair, mayBeLocked: kind === 'close' };
  }

  /** Repairs the store, as life `number`, where that is planned. False when the process died first. */
  async run(world: World, disk: MemoryFileSystem, number: number, drive: Drive): Promise<boolean> {
    const { injector } = world;
    const due = this.#due;
    this.#due = undefined;
    if (due === undefined || !(await damageSlot(disk, due.of))) return true;
    this.hasBegun = true;
    const before = injector.fired;
    injector.mending = true;
    const settled = await drive(repairWithEnv(envOfLife(world, disk, number)));
    injector.mending = false;
    if (settled === undefined) return false;
    judge(settled, { faulted: injector.fired > before, mayBeLocked: due.mayBeLocked });
    this.count++;
    return true;
  }
}

/**
 * Damages what costs nothing and lets a repair do all its work: the slot of SUPER that comes next, or the
 * newest one where the one before it is whole. Where the store has not been made yet, there is nothing to
 * repair: false.
 */
async function damageSlot(disk: MemoryFileSystem, { damage }: SimRepair): Promise<boolean> {
  if (!disk.files().includes(superName)) return false;
  if (damage === 'none') return true;
  const { slot, previous, problems } = await CatalogStore.load(disk.fork());
  const isNewest = damage === 'newest' && previous !== undefined && problems.length === 0;
  zeroSlot(disk, isNewest ? slot.slotIndex : (slot.slotIndex + 1) % slotCount);
  return true;
}

/**
 * Throws where a repair lost something, or failed with an error that nothing excuses: the disk has refused
 * something meanwhile, or another process had the store open.
 */
function judge(
  settled: Settled<RepairReport>,
  { faulted, mayBeLocked }: { faulted: boolean; mayBeLocked: boolean },
): void {
  if ('value' in settled) {
    refuseLoss(settled.value);
    return;
  }
  const { error } = settled;
  if (mayBeLocked && isVarveError(error, 'VARVE_LOCKED')) return;
  if (!faulted || !isVarveError(error, 'VARVE_IO', 'VARVE_NO_SPACE')) throw error;
}
