/** repair of a directory, with the providers an entry point binds. Imports nothing native. */
import { openNodeFileSystem } from '../fs/node-file-system.ts';
import { systemClock } from '../fs/system-clock.ts';
import { nodeLock } from '../fs/writer-lock.ts';
import type { RepairReport } from '../integrity/repair-types.ts';
import { setSha256 } from '../kernels/hash/sha256.ts';
import { checkRepairOptions, type RepairOptions, repairWithEnv } from './health/repairing.ts';
import type { Providers } from './open-directory.ts';

/** Repairs the store in directory `dir`; errors as repair. */
export async function repairDirectory(
  dir: string,
  options: RepairOptions,
  { sha256, flock, pool }: Omit<Providers, 'pool'> & Partial<Pick<Providers, 'pool'>>,
): Promise<RepairReport> {
  checkRepairOptions(options);
  setSha256(sha256);
  const fs = await openNodeFileSystem(dir, { create: false });
  const lock = nodeLock({ dir: fs.root, clock: systemClock, ...(flock === undefined ? {} : { flock }) });
  const env = { fs, lock, clock: systemClock, random, ...(pool === undefined ? {} : { pool }) };
  return await repairWithEnv(env, options);
}

function random(n: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(n));
}
