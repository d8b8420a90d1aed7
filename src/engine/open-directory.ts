/** openEngine on a directory, with the providers an entry point binds. Imports nothing native. */

import type { FlockProvider } from '../fs/flock.ts';
import { openNodeFileSystem } from '../fs/node-file-system.ts';
import { systemClock } from '../fs/system-clock.ts';
import { nodeLock } from '../fs/writer-lock.ts';
import { type Sha256Provider, setSha256 } from '../kernels/hash/sha256.ts';
import type { PoolProvider } from '../pool/port.ts';
import type { Engine } from './engine.ts';
import { openWithEnv } from './open.ts';
import { checkOptions, type EngineOptions } from './options.ts';

/** What differs between the entry points. */
export interface Providers {
  readonly sha256: Sha256Provider;
  /** Taken beside the portable guard, where it is there. */
  readonly flock: FlockProvider | undefined;
  /** Threads, where `workers` asks for them. */
  readonly pool: PoolProvider;
}

/** Opens the store in directory `dir`, or creates it; errors as openWithEnv. */
export async function openDirectory(
  dir: string,
  options: EngineOptions,
  providers: Providers,
): Promise<Engine> {
  const { createIfMissing, readOnly } = checkOptions(options);
  setSha256(providers.sha256);
  const fs = await openNodeFileSystem(dir, readOnly ? { readOnly } : { create: createIfMissing });
  const { flock, pool } = providers;
  const lock = nodeLock({ dir: fs.root, clock: systemClock, ...(flock === undefined ? {} : { flock }) });
  return await openWithEnv({ fs, lock, clock: systemClock, random, pool }, options);
}

function random(n: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(n));
}
