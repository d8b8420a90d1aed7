/** openEngine on a directory, with the providers an entry point binds. Imports nothing native. */

import type { FlockProvider } from '../fs/flock.ts';
import { openNodeFileSystem } from '../fs/node-file-system.ts';
import { systemClock } from '../fs/system-clock.ts';
import { nodeLock } from '../fs/writer-lock.ts';
import { type Sha256Provider, setSha256 } from '../kernels/hash/sha256.ts';
import type { PoolProvider } from '../pool/port.ts';
import type { Engine } from './engine.ts';
import type { Env } from './env.ts';
import { Follower, type FollowOptions } from './leases/follower.ts';
import { openWithEnv } from './opening/open.ts';
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
  const env = await envOf(dir, readOnly ? { readOnly } : { create: createIfMissing }, providers);
  return await openWithEnv(env, options);
}

/** Follows the store in directory `dir`; errors as Follower.open. */
export async function followDirectory(
  dir: string,
  options: FollowOptions,
  providers: Providers,
): Promise<Follower> {
  const envs = {
    read: await envOf(dir, { readOnly: true }, providers),
    lease: await envOf(dir, { create: false }, providers),
  };
  return await Follower.open(envs, options);
}

async function envOf(
  dir: string,
  how: Parameters<typeof openNodeFileSystem>[1],
  { sha256, flock, pool }: Providers,
): Promise<Env> {
  setSha256(sha256);
  const fs = await openNodeFileSystem(dir, how);
  const lock = nodeLock({ dir: fs.root, clock: systemClock, ...(flock === undefined ? {} : { flock }) });
  return { fs, lock, clock: systemClock, random, pool };
}

function random(n: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(n));
}
