/** `repair`: a store is mended under the writer lock, without being opened. */
import { openChunkSource } from '../../backup/chunk-source.ts';
import { checkVault, type Vault } from '../../backup/vault.ts';
import { VarveError } from '../../base/errors.ts';
import { checkFlags, checkFunctions, checkNames } from '../../base/names.ts';
import { initChecksum } from '../../codec/checksum.ts';
import { repairStore } from '../../integrity/repair.ts';
import type { RepairProgress, RepairReport, RepairWork } from '../../integrity/repair-types.ts';
import type { Env } from '../env.ts';
import { throwIfAborted } from '../key-args.ts';
import { identityOf } from '../opening/identity.ts';
import { type ChunkingOptions, checkOptions, type EngineOptions } from '../options.ts';
import { vaultThreads } from '../threads.ts';

/** How a store is repaired. */
export interface RepairOptions {
  /** Only say what would be done and lost; nothing is written but the record in LOCK. */
  dryRun?: boolean;
  /**
   * What the store was created with: used where the superblock, which alone knows it, is lost. The defaults
   * of openEngine where not given.
   */
  chunking?: ChunkingOptions;
  inlineMax?: number;
  /**
   * Where chunks that no file of the store has whole are looked for, by their ids: every value that a backup
   * has comes back. Not asked with dryRun, which then lists them as lost.
   */
  vault?: Vault;
  onProgress?: (progress: RepairProgress) => void;
  signal?: AbortSignal;
}

/** Where chunks that are lost may be had from. */
export type HealFrom = NonNullable<RepairWork['healFrom']>;

const names = ['dryRun', 'chunking', 'inlineMax', 'vault', 'onProgress', 'signal'];

/** Checks the options of a caller: VARVE_INVALID_ARGUMENT. */
export function checkRepairOptions(options: RepairOptions): void {
  checkNames(options, names, 'option');
  checkFlags(options, ['dryRun']);
  checkFunctions(options, ['onProgress']);
  const { chunking, inlineMax, vault } = options;
  if (vault !== undefined) checkVault(vault);
  checkOptions(identityOptions(chunking, inlineMax));
}

function identityOptions(
  chunking: ChunkingOptions | undefined,
  inlineMax: number | undefined,
): EngineOptions {
  return {
    ...(chunking === undefined ? {} : { chunking }),
    ...(inlineMax === undefined ? {} : { inlineMax }),
  };
}

/** Repairs the store that `env.fs` stands on; see `repair`. */
export async function repairWithEnv(
  env: Env,
  options: RepairOptions = {},
  healFrom?: HealFrom,
): Promise<RepairReport> {
  checkRepairOptions(options);
  const { dryRun = false, chunking, inlineMax, vault, onProgress, signal } = options;
  const source = vault === undefined ? undefined : openChunkSource(vault);
  await initChecksum();
  throwIfAborted(signal);
  const lock = await env.lock.acquire({ waitMs: 0, ...(signal === undefined ? {} : { signal }) });
  let threads: ReturnType<typeof vaultThreads>;
  try {
    if (env.pool !== undefined) threads = vaultThreads(env.pool, env.clock);
    const { dbUuid: _dbUuid, ...defaults } = identityOf(
      checkOptions(identityOptions(chunking, inlineMax)),
      env,
    );
    return await repairStore({
      fs: env.fs,
      clock: env.clock,
      random: env.random,
      threads,
      dryRun,
      onProgress,
      checkAborted: () => {
        throwIfAborted(signal);
        if (lock.lost) throw new VarveError('VARVE_LOCKED', 'the writer lock was lost during the repair');
      },
      defaults,
      writerEpoch: lock.owner.writerEpoch,
      healFrom: healFrom ?? (source === undefined ? undefined : (id) => source.read(id, signal)),
    });
  } finally {
    try {
      await threads?.close();
    } finally {
      await lock.release();
    }
  }
}
