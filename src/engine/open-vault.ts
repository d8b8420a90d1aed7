/** openVault and restore on directories and object stores, with the providers an entry point binds. */
import type { BlobStore } from '../backup/blob-store.ts';
import { DirectoryBlobs } from '../backup/directory-blobs.ts';
import { checkChoice, choiceNames } from '../backup/restore-choice.ts';
import { type RestoreOptions, type RestoreReport, runRestore } from '../backup/restore-run.ts';
import { checkVault, openVaultIn, type Vault, type VaultOptions } from '../backup/vault.ts';
import { invalid } from '../base/errors.ts';
import { checkFlags, checkFunctions, checkNames } from '../base/names.ts';
import { initChecksum } from '../codec/checksum.ts';
import { openNodeFileSystem } from '../fs/node-file-system.ts';
import { systemClock } from '../fs/system-clock.ts';
import { nodeLock } from '../fs/writer-lock.ts';
import { setSha256 } from '../kernels/hash/sha256.ts';
import { checkPoint } from './backups/restore-point.ts';
import { throwIfAborted } from './key-args.ts';
import { LastingThreads } from './lasting-threads.ts';
import type { Providers } from './open-directory.ts';
import { vaultThreads } from './threads.ts';

/** See openVault of the entry points. */
export async function openVaultWith(
  target: string | BlobStore,
  options: VaultOptions,
  { sha256, pool }: Providers,
): Promise<Vault> {
  checkNames(options, ['create', 'readOnly'], 'option');
  checkFlags(options, ['create', 'readOnly']);
  setSha256(sha256);
  const lasting =
    pool === undefined ? undefined : new LastingThreads(() => vaultThreads(pool, systemClock), systemClock);
  const means = { clock: systemClock, random, threads: lasting && (() => lasting.take()) };
  if (typeof target !== 'string') return await openVaultIn(checkStore(target), options, means);
  const { create = false, readOnly = false } = options;
  const fs = await openNodeFileSystem(target, readOnly ? { readOnly } : { create });
  return await openVaultIn(await DirectoryBlobs.open(fs, random, { readOnly }), options, means);
}

/** See restore of the entry points. */
export async function restoreWith(
  vault: Vault,
  targetDir: string,
  options: RestoreOptions,
  { sha256, flock }: Providers,
): Promise<RestoreReport> {
  checkRestoreOptions(options);
  checkVault(vault);
  throwIfAborted(options.signal);
  setSha256(sha256);
  await initChecksum();
  const fs = await openNodeFileSystem(targetDir, { create: true });
  const provider = nodeLock({ dir: fs.root, clock: systemClock, ...(flock === undefined ? {} : { flock }) });
  const lock = await provider.acquire({ waitMs: 0, breakLock: false });
  try {
    return await runRestore(vault.env, fs, options);
  } finally {
    await lock.release();
  }
}

/** VARVE_INVALID_ARGUMENT names what is unknown or out of range. */
export function checkRestoreOptions(options: RestoreOptions): void {
  checkNames(options, ['backup', 'at', ...choiceNames, 'onProgress', 'signal'], 'option');
  checkFunctions(options, ['onProgress']);
  checkChoice(options);
  checkPoint(options);
}

function checkStore(store: BlobStore): BlobStore {
  const methods = ['put', 'get', 'getRange', 'size', 'delete', 'list'] as const;
  const isStore = typeof store === 'object' && store !== null;
  const missing = isStore ? methods.find((name) => typeof store[name] !== 'function') : 'methods';
  if (missing !== undefined || typeof store.caps !== 'object')
    throw invalid('a vault needs a directory or a BlobStore; checkBlobStore tests one');
  return store;
}

function random(n: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(n));
}
