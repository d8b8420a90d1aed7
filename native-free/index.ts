/**
 * Varve with nothing native anywhere in its imports: the portable writer lock alone, and SHA-256 from the
 * runtime where it has one, else in JavaScript. Stores are interchangeable with the main build, and the two
 * exclude each other as writers.
 */
import { availableParallelism } from 'node:os';
import type { BlobStore } from '../src/backup/blob-store.ts';
import type { RestoreOptions, RestoreReport } from '../src/backup/restore-run.ts';
import type { Vault, VaultOptions } from '../src/backup/vault.ts';
import type { RunScheduleOptions, ScheduleReport } from '../src/engine/backups/schedule-run.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { RepairOptions } from '../src/engine/health/repairing.ts';
import type { Follower, FollowOptions } from '../src/engine/leases/follower.ts';
import { followDirectory, openDirectory, type Providers } from '../src/engine/open-directory.ts';
import { openVaultWith, restoreWith } from '../src/engine/open-vault.ts';
import type { EngineOptions } from '../src/engine/options.ts';
import { repairDirectory } from '../src/engine/repair-directory.ts';
import { tuneWith } from '../src/engine/tuning.ts';
import type { RepairReport } from '../src/integrity/repair-types.ts';
import type { Sha256Provider } from '../src/kernels/hash/sha256.ts';
import { nobleSha256 } from '../src/kernels/hash/sha256-noble.ts';
import { ThreadPool } from '../src/pool/thread-pool.ts';
import type { TuneOptions, TuneReport, TuneSource } from '../src/tune/tune-types.ts';

export { checkBlobStore } from '../src/backup/blob-check.ts';
export { checkBlobName, checkBlobPrefix } from '../src/backup/blob-store.ts';
export { errorCodes, isVarveError, VarveError } from '../src/base/errors.ts';
export { openBackup } from '../src/engine/backups/backup-view.ts';
export type * from '../src/public-types.ts';

/** How SHA-256 is computed: 'auto' (default) takes node:crypto where it is, 'javascript' never does. */
export interface PortableOptions {
  sha256?: 'auto' | 'javascript';
}

/** As openEngine of the main entry, without any native add-on. */
export async function openEngine(
  dir: string,
  options: EngineOptions = {},
  portable: PortableOptions = {},
): Promise<Engine> {
  return await openDirectory(dir, options, await providers(portable));
}

/** As follow of the main entry. */
export async function follow(
  dir: string,
  options: FollowOptions = {},
  portable: PortableOptions = {},
): Promise<Follower> {
  return await followDirectory(dir, options, await providers(portable));
}

/** As openVault of the main entry. */
export async function openVault(
  target: string | BlobStore,
  options: VaultOptions = {},
  portable: PortableOptions = {},
): Promise<Vault> {
  return await openVaultWith(target, options, await providers(portable));
}

/** As runSchedule of the main entry. */
export async function runSchedule(
  engine: Engine,
  options: RunScheduleOptions = {},
  portable: PortableOptions = {},
): Promise<ScheduleReport> {
  const open = (vault: string): Promise<Vault> => openVault(vault, { create: true }, portable);
  return await engine.schedules.run({ openVault: open, ...options });
}

/** As restore of the main entry. */
export async function restore(
  vault: Vault,
  targetDir: string,
  options: RestoreOptions = {},
  portable: PortableOptions = {},
): Promise<RestoreReport> {
  return await restoreWith(vault, targetDir, options, await providers(portable));
}

/** As tune of the main entry. */
export async function tune(
  files: readonly string[] | AsyncIterable<TuneSource>,
  options: TuneOptions = {},
  portable: PortableOptions = {},
): Promise<TuneReport> {
  const sha256 = portable.sha256 === 'javascript' ? nobleSha256 : await builtInSha256();
  return await tuneWith(files, options, { sha256 });
}

async function providers(portable: PortableOptions): Promise<Providers> {
  const sha256 = portable.sha256 === 'javascript' ? nobleSha256 : await builtInSha256();
  const threadHash = sha256 === nobleSha256 ? 'javascript' : 'node';
  const pool = {
    cores: availableParallelism(),
    open: (size: number) => new ThreadPool(size, { sha256: threadHash }),
  };
  return { sha256, flock: undefined, pool };
}

/** As repair of the main entry, without any native add-on. */
export async function repair(
  dir: string,
  options: RepairOptions = {},
  portable: PortableOptions = {},
): Promise<RepairReport> {
  return await repairDirectory(dir, options, await providers(portable));
}

/** A runtime built without OpenSSL has no node:crypto: importing it fails. */
async function builtInSha256(): Promise<Sha256Provider> {
  try {
    const { nodeSha256 } = await import('../src/kernels/hash/sha256-node.ts');
    return nodeSha256;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return nobleSha256;
  }
}
