/** A vault: the repository of a store's backups. Every call looks at what is there at that moment. */
import { toHex } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { invalid, isVarveError, VarveError } from '../base/errors.ts';
import { checkFlags, checkFunctions, checkNames } from '../base/names.ts';
import { initChecksum } from '../codec/checksum.ts';
import { packPrefix, snapPrefix, vaultName } from '../format/vault-names.ts';
import { decodeVaultFile, encodeVaultFile, vaultFileBytes } from '../format/vault-records.ts';
import { type ArchiveInfo, archiveInfos } from './archive-objects.ts';
import { type BackupInfo, infoOf } from './backup-info.ts';
import type { BlobStore } from './blob-store.ts';
import { type PruneOptions, type PruneReport, runPrune } from './prune-run.ts';
import { checkKeepRules, type KeepRules, planRetention } from './retention-planner.ts';
import { findSnap, listSnaps } from './snaps.ts';
import { throwIfAborted } from './throttle.ts';
import { type BackupDifference, diffTrees } from './vault-diff.ts';
import { VaultReader } from './vault-reader.ts';
import { adoptOrphans, everyPack, loadVault, type VaultEnv } from './vault-state.ts';
import { runVerify, type VerifyVaultOptions, type VerifyVaultReport } from './verify-run.ts';

/** Options of openVault. */
export interface VaultOptions {
  /** Makes the vault where there is none. Default false: VARVE_NOT_FOUND. */
  create?: boolean;
  /** Of a directory: nothing is written, so backups, forget and prune fail. Default false. */
  readOnly?: boolean;
}

/** Options of forget. */
export interface ForgetOptions {
  readonly keep: KeepRules;
  /** Only backups of this store (hex) are looked at; others stay. Default: each store by itself. */
  readonly store?: string;
  readonly dryRun?: boolean;
  /** IANA name; where days begin. Default 'UTC'. */
  readonly timeZone?: string;
  readonly signal?: AbortSignal;
}

/** What a forget did, or would do. */
export interface ForgetReport {
  readonly dryRun: boolean;
  readonly removed: readonly BackupInfo[];
  /** With the names of the rules that keep each. */
  readonly kept: readonly (BackupInfo & { readonly reasons: readonly string[] })[];
}

/** Figures of a vault, bytes and counts. */
export interface VaultStats {
  readonly backups: number;
  /** Runs that have not ended, or never will. */
  readonly unfinished: number;
  readonly packs: number;
  readonly packBytes: number;
  /** Packs that a later prune may delete. */
  readonly pendingPacks: number;
  /** In all packs that the index names; copies count. */
  readonly chunks: number;
  readonly indexObjects: number;
  readonly indexBytes: number;
  /** Of all backups together, each counted whole. */
  readonly logicalBytes: number;
  /** logicalBytes / packBytes. */
  readonly ratio: number;
  readonly oldest?: Date;
  readonly newest?: Date;
}

/** Time, chance and threads for a vault. */
export interface VaultMeans {
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  /** See VaultEnv. */
  readonly threads?: VaultEnv['threads'];
  /** Test-only bounds. */
  readonly bounds?: VaultEnv['bounds'];
}

/**
 * Opens the vault in `store`, or makes one. VARVE_NOT_FOUND, VARVE_CONFLICT when there are backups and no
 * vault head, VARVE_CORRUPT, VARVE_FORMAT_VERSION.
 */
export async function openVaultIn(
  store: BlobStore,
  options: VaultOptions,
  means: VaultMeans,
): Promise<Vault> {
  await initChecksum();
  const read = async (): Promise<Uint8Array | undefined> =>
    store.get(vaultName, vaultFileBytes).catch((error: unknown) => {
      if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
      throw error;
    });
  let bytes = await read();
  if (bytes === undefined) {
    for (const prefix of [snapPrefix, packPrefix]) {
      for await (const { name } of store.list(prefix)) {
        const what = `${store.root} has backups and no ${vaultName}: put that object back from a copy`;
        throw new VarveError('VARVE_CORRUPT', what, { file: name });
      }
    }
    if (options.create !== true)
      throw new VarveError('VARVE_NOT_FOUND', `${store.root}: there is no vault here`, { file: store.root });
    const head = { vaultId: means.random(16), createdMs: means.clock.now() };
    await store.put(vaultName, encodeVaultFile(head, means.random(12)), { ifAbsent: true });
    // Somebody else may have made it at the same moment.
    bytes = await read();
    if (bytes === undefined)
      throw new VarveError('VARVE_IO', `${store.root}: the vault that was made is gone`);
  }
  const { vaultId, createdMs } = decodeVaultFile(bytes);
  return new Vault({ store, vaultId, ...means }, createdMs);
}

/** An open vault. Holds no files and no locks between calls; nothing needs closing. */
export class Vault {
  /** 32 hex digits. */
  readonly id: string;
  readonly created: Date;
  /** For the engine and restore. */
  readonly env: VaultEnv;

  /** Use openVault. */
  constructor(env: VaultEnv, createdMs: number) {
    this.env = env;
    this.id = toHex(env.vaultId);
    this.created = new Date(createdMs);
  }

  /** All backups, oldest first. Manifests that cannot be read are left out: verify tells of them. */
  async list(): Promise<BackupInfo[]> {
    const { snaps } = await listSnaps(this.env, 'snap');
    return snaps.map(({ manifest, name }) => infoOf(manifest, name));
  }

  /** What the vault holds and takes. Reads the index, not the packs. */
  async stats(): Promise<VaultStats> {
    const { snaps } = await listSnaps(this.env, 'snap');
    const parts = await listSnaps(this.env, 'part');
    const { packs, index, indexes, pending } = await loadVault(this.env, everyPack);
    const sum = (some: readonly { readonly size: number }[]): number =>
      some.reduce((total, { size }) => total + size, 0);
    const logicalBytes = snaps.reduce((total, { manifest }) => total + manifest.logicalBytes, 0);
    const packBytes = sum(packs);
    return {
      backups: snaps.length,
      unfinished: parts.snaps.length,
      packs: packs.length,
      packBytes,
      pendingPacks: packs.filter(({ hash }) => pending.has(hash)).length,
      chunks: index.entries,
      indexObjects: indexes.length,
      indexBytes: sum(indexes),
      logicalBytes,
      ratio: packBytes === 0 ? 0 : logicalBytes / packBytes,
      ...(snaps.length === 0 ? {} : { oldest: new Date(snaps[0]!.timeMs) }),
      ...(snaps.length === 0 ? {} : { newest: new Date(snaps.at(-1)!.timeMs) }),
    };
  }

  /** Proves the vault; see VerifyVaultOptions. Writes nothing but where a rotation is. */
  async verify(options: VerifyVaultOptions = {}): Promise<VerifyVaultReport> {
    const names = ['level', 'subset', 'rotate', 'testKeys', 'expect', 'maxMs', 'onProgress', 'signal'];
    checkNames(options, names, 'option');
    checkFunctions(options, ['onProgress']);
    const { level, subset, rotate, testKeys = 0, maxMs } = options;
    if (level !== undefined && ![0, 1, 2, 3].includes(level)) throw invalid('level is 0, 1, 2 or 3');
    if (maxMs !== undefined && !(typeof maxMs === 'number' && maxMs >= 0))
      throw invalid('maxMs is a number of milliseconds');
    const { part, of } = subset === undefined ? { part: 1, of: 1 } : (subset ?? {});
    if (!Number.isInteger(of) || !(of >= 1 && of <= 1e6) || !Number.isInteger(part) || part < 1 || part > of)
      throw invalid('subset is { part, of } with 1 <= part <= of');
    if (rotate !== undefined && !(Number.isInteger(rotate) && rotate >= 1 && rotate <= 1e6))
      throw invalid('rotate is a whole number from 1 up');
    if (rotate !== undefined && (subset !== undefined || (level ?? 3) < 2))
      throw invalid('rotate goes with levels 2 and 3, and without subset');
    if (!(Number.isInteger(testKeys) && testKeys >= 0 && testKeys <= 1e6))
      throw invalid('testKeys is a whole number from 0 up');
    checkExpect(options.expect);
    throwIfAborted(options.signal);
    return await runVerify(this.env, options);
  }

  /**
   * Removes backups that no rule keeps; the newest proved one of each store always stays. What they alone
   * needed stays until `prune`. Returns what was (or with `dryRun` would be) removed and why the rest stays.
   */
  async forget(options: ForgetOptions): Promise<ForgetReport> {
    checkNames(options, ['keep', 'store', 'dryRun', 'timeZone', 'signal'], 'option');
    checkFlags(options, ['dryRun']);
    const { store: only, timeZone = 'UTC', signal } = options;
    if (only !== undefined && !isId(only)) throw invalid('store is the id of a store, 32 hex digits');
    checkKeepRules(options.keep, timeZone);
    throwIfAborted(signal);
    const { snaps } = await listSnaps(this.env, 'snap');
    const all = snaps.map(({ manifest, name }) => infoOf(manifest, name));
    const infos = all.filter(({ store }) => only === undefined || store === only);
    const backups = infos.map(({ id, store, time, tags, proof, damagedKeys }) => {
      return { id, store, timeMs: time.getTime(), tags, proved: proof !== undefined && damagedKeys === 0 };
    });
    const { kept, removed } = planRetention(backups, options.keep, timeZone);
    if (options.dryRun !== true) {
      for (const id of removed) {
        throwIfAborted(signal);
        await this.env.store.delete(snaps.find((snap) => snap.id === id)!.name);
      }
    }
    return {
      dryRun: options.dryRun === true,
      removed: infos.filter(({ id }) => removed.includes(id)),
      kept: infos.filter(({ id }) => kept.has(id)).map((info) => ({ ...info, reasons: kept.get(info.id)! })),
    };
  }

  /** Removes packs that no backup needs; see PruneOptions. Safe beside backups. */
  async prune(options: PruneOptions = {}): Promise<PruneReport> {
    const times = ['graceMs', 'partAgeMs', 'archiveMs'] as const;
    checkNames(options, [...times, 'dryRun', 'repackBelow', 'breakLock', 'onProgress', 'signal'], 'option');
    checkFlags(options, ['dryRun', 'breakLock']);
    checkFunctions(options, ['onProgress']);
    const { repackBelow = 0 } = options;
    if (!(repackBelow >= 0 && repackBelow <= 1)) throw invalid('repackBelow is a number from 0 to 1');
    for (const name of times) {
      const value = options[name];
      if (value !== undefined && !(value >= 0)) throw invalid(`${name} is a number from 0 up`);
    }
    throwIfAborted(options.signal);
    return await runPrune(this.env, options);
  }

  /** The archived logs in the vault: where any moment can be restored. VARVE_CORRUPT. */
  async archives(): Promise<ArchiveInfo[]> {
    return await archiveInfos(this.env);
  }

  /** Keys that differ between two backups, in order. VARVE_NOT_FOUND, VARVE_CORRUPT. */
  async *diff(a: string, b: string): AsyncGenerator<BackupDifference> {
    for (const id of [a, b])
      if (typeof id !== 'string') throw invalid('two backups are compared by their ids');
    const { snaps } = await listSnaps(this.env, 'snap');
    const [before, after] = [findSnap(snaps, a), findSnap(snaps, b)];
    const state = await loadVault(this.env, everyPack);
    await adoptOrphans(this.env, state, everyPack);
    const reader = new VaultReader(this.env, state);
    yield* diffTrees(reader, before.manifest, after.manifest);
  }
}

function isId(id: unknown): id is string {
  return typeof id === 'string' && /^[0-9a-f]{32}$/.test(id);
}

function checkExpect(expect: VerifyVaultOptions['expect']): void {
  if (expect !== undefined && !(Array.isArray(expect) && expect.every(({ backup }) => isId(backup))))
    throw invalid('expect is an array of { backup, time? }, with whole ids');
}

/** VARVE_INVALID_ARGUMENT unless `vault` was opened by openVault. */
export function checkVault(vault: unknown): Vault {
  if (vault instanceof Vault) return vault;
  throw invalid('a vault from openVault is needed');
}
