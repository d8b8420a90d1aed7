/** What callers are told of backups, and what a manifest says beside its fixed part. */
import { fromHex, toHex } from '../base/bytes.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import type { PackMap, PackValue } from '../codec/msgpack.ts';
import { type BackupManifest, type BackupMode, backupFlags, backupModes } from '../format/backup-manifest.ts';

/** A backup in a vault. */
export interface BackupInfo {
  /** 32 hex digits. */
  readonly id: string;
  /** When it was begun: it holds every commit acknowledged before. */
  readonly time: Date;
  /** The store it is of, hex. */
  readonly store: string;
  /** Last commit in it. */
  readonly seq: number;
  readonly mode: BackupMode;
  readonly label?: string;
  readonly tags: readonly string[];
  /** Packs this run wrote. */
  readonly files: number;
  readonly keys: number;
  /** Bytes of all values in it. */
  readonly logicalBytes: number;
  readonly newChunks: number;
  /** Bytes of the packs this run wrote. */
  readonly newBytes: number;
  /** logicalBytes / newBytes; 0 where nothing was written. */
  readonly ratio: number;
  readonly ms: number;
  /** When what the run wrote was read back and every byte of it proved; absent: it was not. */
  readonly proof?: Date;
  /** Keys left out because they are damaged in the store. */
  readonly damagedKeys: number;
  /** The backup it was made on top of, if any: for information, nothing depends on it. */
  readonly parent?: string;
}

/** Damage met by a backup, restore or verify. */
export interface VaultDamage {
  readonly file: string;
  readonly offset?: number;
  /** Code of the error. */
  readonly kind: string;
  readonly message: string;
  /** Keys it concerns, as far as they are known; more are only counted. */
  readonly keys?: readonly string[];
  readonly keyCount?: number;
  /** Ids of backups it concerns. */
  readonly snapshots?: readonly string[];
}

/** Progress of a long call. */
export interface VaultProgress {
  readonly phase: string;
  readonly done: number;
  /** Undefined while it is not known. */
  readonly total: number | undefined;
  readonly unit: 'bytes' | 'keys' | 'packs';
  readonly bytesPerSecond: number;
}

/** The engine's parameters that a restore makes a store from; numbers as in its superblock. */
export interface StoreParams {
  readonly chunkerAlgo: number;
  readonly chunkMin: number;
  readonly chunkAvg: number;
  readonly chunkMax: number;
  readonly chunkerNormalPoint: number;
  readonly chunkerStrict: number;
  readonly chunkerLoose: number;
  readonly chunkerKeyCheck: bigint;
  readonly inlineMax: number;
  readonly segTarget: number;
  readonly createdMs: number;
}

/** What lies in the map of a manifest. */
export interface BackupExtra {
  readonly store: StoreParams;
  readonly label?: string;
  readonly tags: readonly string[];
  readonly files: number;
  readonly ms: number;
  /** 0 = not proved. */
  readonly provedMs: number;
  readonly damagedKeys: number;
  readonly parent?: string;
}

const paramNames = [
  'chunkerAlgo',
  'chunkMin',
  'chunkAvg',
  'chunkMax',
  'chunkerNormalPoint',
  'chunkerStrict',
  'chunkerLoose',
  'inlineMax',
  'segTarget',
  'createdMs',
] as const;

export function encodeExtra(extra: BackupExtra): PackMap {
  const store: PackMap = {};
  for (const name of paramNames) store[name] = extra.store[name];
  const check = new Uint8Array(8);
  new DataView(check.buffer).setBigUint64(0, extra.store.chunkerKeyCheck);
  store.chunkerKeyCheck = check;
  const { tags, files, ms, provedMs, damagedKeys, label, parent } = extra;
  return {
    store,
    tags: [...tags],
    files,
    ms,
    provedMs,
    damagedKeys,
    ...(label === undefined ? {} : { label }),
    ...(parent === undefined ? {} : { parent: fromHex(parent) }),
  };
}

/** VARVE_CORRUPT when it does not have the shape. Fields that are not known are left alone. */
export function decodeExtra(map: PackMap, file: string): BackupExtra {
  const fail = (): VarveError => corrupt('backup manifest has a map of the wrong shape', { file });
  const number = (value: PackValue | undefined): number => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw fail();
    return value;
  };
  const { store, tags, label, parent } = map;
  if (typeof store !== 'object' || store === null || Array.isArray(store)) throw fail();
  const given = store as PackMap;
  const params: Record<string, number> = {};
  for (const name of paramNames) params[name] = number(given[name]);
  const check = given.chunkerKeyCheck;
  if (!(check instanceof Uint8Array) || check.length !== 8) throw fail();
  if (!Array.isArray(tags) || tags.some((tag) => typeof tag !== 'string')) throw fail();
  if (label !== undefined && typeof label !== 'string') throw fail();
  if (parent !== undefined && !(parent instanceof Uint8Array)) throw fail();
  const chunkerKeyCheck = new DataView(check.buffer, check.byteOffset).getBigUint64(0);
  return {
    store: { ...(params as unknown as Omit<StoreParams, 'chunkerKeyCheck'>), chunkerKeyCheck },
    tags: tags as string[],
    files: number(map.files),
    ms: number(map.ms),
    provedMs: number(map.provedMs),
    damagedKeys: number(map.damagedKeys),
    ...(label === undefined ? {} : { label }),
    ...(parent === undefined ? {} : { parent: toHex(parent as Uint8Array) }),
  };
}

/** What a manifest tells callers. VARVE_CORRUPT as decodeExtra. */
export function infoOf(manifest: BackupManifest, file: string): BackupInfo {
  const extra = decodeExtra(manifest.extra, file);
  const { logicalBytes, newBytes } = manifest;
  return {
    id: toHex(manifest.backupId),
    time: new Date(manifest.timeMs),
    store: toHex(manifest.dbUuid),
    seq: manifest.seq,
    mode: nameOfMode(manifest.mode),
    ...(extra.label === undefined ? {} : { label: extra.label }),
    tags: extra.tags,
    files: extra.files,
    keys: manifest.keys,
    logicalBytes,
    newChunks: manifest.newChunks,
    newBytes,
    ratio: newBytes === 0 ? 0 : logicalBytes / newBytes,
    ms: extra.ms,
    ...(extra.provedMs === 0 ? {} : { proof: new Date(extra.provedMs) }),
    damagedKeys: extra.damagedKeys,
    ...(extra.parent === undefined ? {} : { parent: extra.parent }),
  };
}

export function nameOfMode(mode: number): BackupMode {
  if (mode === backupModes.full) return 'full';
  return mode === backupModes.differential ? 'differential' : 'incremental';
}

/** Keys were left out of it. */
export function isIncomplete(manifest: BackupManifest): boolean {
  return (manifest.flags & backupFlags.incomplete) !== 0;
}

/** Damage as callers see it. */
export function damageOf(error: VarveError, more: Partial<VaultDamage> = {}): VaultDamage {
  return {
    file: error.file ?? '',
    ...(error.offset === undefined ? {} : { offset: error.offset }),
    kind: error.code,
    message: error.message,
    ...more,
  };
}
