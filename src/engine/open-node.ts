/** openEngine on the operating system's files, with everything this runtime offers. */
import { randomBytes } from 'node:crypto';
import { loadFlock } from '../fs/flock.ts';
import { openNodeFileSystem } from '../fs/node-file-system.ts';
import { systemClock } from '../fs/system-clock.ts';
import { nodeLock } from '../fs/writer-lock.ts';
import { setSha256 } from '../kernels/hash/sha256.ts';
import { nodeSha256 } from '../kernels/hash/sha256-node.ts';
import type { Engine } from './engine.ts';
import { openWithEnv } from './open.ts';
import { checkOptions, type EngineOptions } from './options.ts';

/**
 * Opens the store in directory `dir`, or creates it. One writer at a time, over all processes; any number of
 * readOnly openers beside it. See EngineOptions; errors as openWithEnv.
 */
export async function openEngine(dir: string, options: EngineOptions = {}): Promise<Engine> {
  const checked = checkOptions(options);
  setSha256(nodeSha256);
  const create = checked.createIfMissing && !checked.readOnly;
  const fs = await openNodeFileSystem(dir, checked.readOnly ? { readOnly: true } : { create });
  const flock = await loadFlock();
  const lock = nodeLock({ dir: fs.root, clock: systemClock, ...('unavailable' in flock ? {} : { flock }) });
  return await openWithEnv({ fs, lock, clock: systemClock, random }, options);
}

const random = (n: number): Uint8Array => new Uint8Array(randomBytes(n));
