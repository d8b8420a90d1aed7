/** openEngine with everything this runtime offers. */

import { availableParallelism } from 'node:os';
import type { BlobStore } from '../backup/blob-store.ts';
import type { RestoreOptions, RestoreReport } from '../backup/restore-run.ts';
import type { Vault, VaultOptions } from '../backup/vault.ts';
import { loadFlock } from '../fs/flock.ts';
import { nodeSha256 } from '../kernels/hash/sha256-node.ts';
import { PiscinaPool } from '../pool/piscina-pool.ts';
import type { TuneOptions, TuneReport, TuneSource } from '../tune/tune-types.ts';
import type { RunScheduleOptions, ScheduleReport } from './backups/schedule-run.ts';
import type { Engine } from './engine.ts';
import type { Follower, FollowOptions } from './leases/follower.ts';
import { followDirectory, openDirectory, type Providers } from './open-directory.ts';
import { openVaultWith, restoreWith } from './open-vault.ts';
import type { EngineOptions } from './options.ts';
import { tuneWith } from './tuning.ts';

/**
 * Opens the store in directory `dir`, or creates it. One writer at a time, over all processes; any number of
 * readOnly openers beside it. See EngineOptions. VARVE_LOCKED names the writer that has it; VARVE_NOT_FOUND,
 * VARVE_CONFLICT, VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_INVALID_ARGUMENT, VARVE_IO, VARVE_NO_SPACE.
 */
export async function openEngine(dir: string, options: EngineOptions = {}): Promise<Engine> {
  return await openDirectory(dir, options, await providers());
}

/**
 * Opens the store in directory `dir` for reading, and goes on to newer states as a writer in another process
 * commits; takes no lock, and writes nothing but its lease in `readers/`. Errors as openEngine with readOnly.
 */
export async function follow(dir: string, options: FollowOptions = {}): Promise<Follower> {
  return await followDirectory(dir, options, await providers());
}

/**
 * Opens the vault in a directory, or in any store of objects. VARVE_NOT_FOUND where there is none and
 * `create` is not given; VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_INVALID_ARGUMENT, VARVE_IO.
 */
export async function openVault(target: string | BlobStore, options: VaultOptions = {}): Promise<Vault> {
  return await openVaultWith(target, options, await providers());
}

/**
 * Restores a backup into a new store in `targetDir`, which is made, or empty, or holds an unfinished restore
 * of the same, which goes on. Every byte is checked; what is damaged in the vault is left out and listed.
 * Until it resolves there is no store. VARVE_CONFLICT (something else is in the directory), VARVE_NOT_FOUND
 * (no such backup or space), VARVE_CORRUPT, VARVE_LOCKED, VARVE_ABORTED, VARVE_INVALID_ARGUMENT,
 * VARVE_NO_SPACE, VARVE_IO.
 */
export async function restore(
  vault: Vault,
  targetDir: string,
  options: RestoreOptions = {},
): Promise<RestoreReport> {
  return await restoreWith(vault, targetDir, options, await providers());
}

/**
 * Makes the backups that the schedules of a store ask for, as they become due, until the signal fires or the
 * engine is closed (within a minute); with `once` those that are due now. Vaults are directories, made where
 * there is none, unless `openVault` is given. A run that fails is told by `onEvent` and tried again; the call
 * rejects only where the schedules cannot be read. VARVE_CONFLICT while another call runs them.
 */
export async function runSchedule(engine: Engine, options: RunScheduleOptions = {}): Promise<ScheduleReport> {
  const open = (vault: string): Promise<Vault> => openVault(vault, { create: true });
  return await engine.schedules.run({ openVault: open, ...options });
}

/**
 * Measures which chunk sizes fit some data: paths of files and directories, or sources. Stores nothing. See
 * TuneOptions and TuneReport. VARVE_NOT_FOUND, VARVE_INVALID_ARGUMENT (also when there is no byte), VARVE_IO,
 * VARVE_ABORTED.
 */
export async function tune(
  files: readonly string[] | AsyncIterable<TuneSource>,
  options: TuneOptions = {},
): Promise<TuneReport> {
  return await tuneWith(files, options, { sha256: nodeSha256 });
}

async function providers(): Promise<Providers> {
  const flock = await loadFlock();
  return {
    sha256: nodeSha256,
    flock: 'unavailable' in flock ? undefined : flock,
    pool: { cores: availableParallelism(), open: (size) => new PiscinaPool(size) },
  };
}
