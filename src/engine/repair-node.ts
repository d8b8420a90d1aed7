/** repair with everything this runtime offers. */
import { availableParallelism } from 'node:os';
import { loadFlock } from '../fs/flock.ts';
import type { RepairReport } from '../integrity/repair-types.ts';
import { nodeSha256 } from '../kernels/hash/sha256-node.ts';
import { PiscinaPool } from '../pool/piscina-pool.ts';
import type { RepairOptions } from './health/repairing.ts';
import { repairDirectory } from './repair-directory.ts';

/**
 * Mends the store in directory `dir`, which nobody may have open: what is derived is made anew from what is
 * left, damaged files go to `quarantine/`, nothing is deleted. The report lists what is lost; a value of
 * which a chunk is lost stays, and reading it is VARVE_CORRUPT. Nothing is written where nothing is damaged.
 * VARVE_LOCKED, VARVE_NOT_FOUND, VARVE_INVALID_ARGUMENT, VARVE_ABORTED, VARVE_FORMAT_VERSION, VARVE_NO_SPACE,
 * VARVE_IO; after an error the store is as it was, or repaired, and repair may be called again.
 */
export async function repair(dir: string, options: RepairOptions = {}): Promise<RepairReport> {
  const flock = await loadFlock();
  return await repairDirectory(dir, options, {
    sha256: nodeSha256,
    flock: 'unavailable' in flock ? undefined : flock,
    pool: { cores: availableParallelism(), open: (size) => new PiscinaPool(size) },
  });
}
