/** openEngine with everything this runtime offers. */

import { availableParallelism } from 'node:os';
import { loadFlock } from '../fs/flock.ts';
import { nodeSha256 } from '../kernels/hash/sha256-node.ts';
import { PiscinaPool } from '../pool/piscina-pool.ts';
import type { Engine } from './engine.ts';
import { openDirectory } from './open-directory.ts';
import type { EngineOptions } from './options.ts';

/**
 * Opens the store in directory `dir`, or creates it. One writer at a time, over all processes; any number of
 * readOnly openers beside it. See EngineOptions. VARVE_LOCKED names the writer that has it; VARVE_NOT_FOUND,
 * VARVE_CONFLICT, VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_INVALID_ARGUMENT, VARVE_IO, VARVE_NO_SPACE.
 */
export async function openEngine(dir: string, options: EngineOptions = {}): Promise<Engine> {
  const flock = await loadFlock();
  return await openDirectory(dir, options, {
    sha256: nodeSha256,
    flock: 'unavailable' in flock ? undefined : flock,
    pool: { cores: availableParallelism(), open: (size) => new PiscinaPool(size) },
  });
}
