/**
 * What may be done by one only: each puts a lock of its own, then looks for others. Of two at once one at
 * least sees the other, and whoever sees one that may live gives way.
 */

import { toHex } from '../base/bytes.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { decodeMsgpack, encodeMsgpack, type PackMap } from '../codec/msgpack.ts';
import { lockPrefix, pruneLockName, runLockName, runLockPrefix } from '../format/vault-names.ts';
import { ownIdentity, processLives } from '../fs/process-identity.ts';
import type { VaultEnv } from './vault-state.ts';

const lockBytesMax = 4 * KiB;

/** A lock that is held; `release` once. */
export interface VaultLock {
  /** VARVE_LOCKED when somebody has broken it. */
  check(): Promise<void>;
  release(): Promise<void>;
}

/** What is locked. */
interface Locked {
  /** Where the locks for it lie; nothing else does. */
  readonly prefix: string;
  readonly nameOf: (token: string) => string;
  /** What its owner does, for messages: `prunes`. */
  readonly doing: string;
}

/** VARVE_LOCKED while another prune runs, or may: `breakLock` removes every other lock. */
export async function lockPrune(env: VaultEnv, breakLock: boolean): Promise<VaultLock> {
  return await lock(env, { prefix: lockPrefix, nameOf: pruneLockName, doing: 'prunes' }, breakLock);
}

/** One run of schedules for a store (hex) at a time, over all processes; errors as lockPrune. */
export async function lockRun(env: VaultEnv, store: string, breakLock: boolean): Promise<VaultLock> {
  const prefix = runLockPrefix(store);
  const nameOf = (token: string): string => runLockName(store, token);
  return await lock(env, { prefix, nameOf, doing: 'runs schedules' }, breakLock);
}

async function lock(
  env: VaultEnv,
  { prefix, nameOf, doing }: Locked,
  breakLock: boolean,
): Promise<VaultLock> {
  const { store } = env;
  const own = nameOf(toHex(env.random(12)));
  const { host, pid, bootId, processStart } = ownIdentity();
  const startedMs = env.clock.now();
  await store.put(own, encodeMsgpack({ host, pid, bootId, processStart, startedMs }, 'lock'));
  try {
    for await (const { name } of store.list(prefix)) {
      if (name === own) continue;
      const owner = await ownerOf(env, name);
      if (owner === undefined) continue;
      if (breakLock || isDead(owner)) await store.delete(name);
      else throw locked(name, doing, owner);
    }
  } catch (error) {
    await store.delete(own);
    throw error;
  }
  return {
    check: async () => {
      if ((await store.size(own)) === undefined)
        throw new VarveError('VARVE_LOCKED', 'the lock was broken by another process', { file: own });
    },
    release: async () => {
      await store.delete(own);
    },
  };
}

/** What a lock says; undefined when it is gone. A damaged one says nothing, and may be anybody's. */
async function ownerOf({ store }: VaultEnv, name: string): Promise<PackMap | undefined> {
  try {
    const bytes = await store.get(name, lockBytesMax);
    return decodeMsgpack(bytes, { file: name }, 0, bytes.length) as PackMap;
  } catch (error) {
    if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
    if (isVarveError(error, 'VARVE_CORRUPT')) return {};
    throw error;
  }
}

/** Of this machine, and either of an earlier boot or of a process that is gone. */
function isDead(owner: PackMap): boolean {
  const own = ownIdentity();
  const { host, bootId, pid, processStart } = owner;
  if (host !== own.host || typeof pid !== 'number' || own.bootId === '') return false;
  if (bootId !== own.bootId) return true;
  return !processLives(pid, typeof processStart === 'string' ? processStart : '');
}

function locked(name: string, doing: string, { host, pid, startedMs }: PackMap): VarveError {
  const since = typeof startedMs === 'number' ? ` since ${new Date(startedMs).toISOString()}` : '';
  return new VarveError(
    'VARVE_LOCKED',
    `process ${String(pid)} on ${String(host)} ${doing}${since}; if it is surely dead, break its lock`,
    { file: name },
  );
}
