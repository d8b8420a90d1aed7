/** The manifests of a vault: backups, and runs that have not ended. */
import { fromHex } from '../base/bytes.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import {
  type BackupManifest,
  backupManifestBytesMax,
  backupModes,
  decodeBackupManifest,
} from '../format/backup-manifest.ts';
import { parseSnapName, snapName, snapPrefix } from '../format/vault-names.ts';
import type { VaultEnv } from './vault-state.ts';

/** A manifest with the name it lies under. */
export interface Snap {
  readonly name: string;
  readonly id: string;
  readonly timeMs: number;
  readonly manifest: BackupManifest;
}

/** Manifests of one kind, oldest first, VOID ones left out. */
export interface SnapList {
  readonly snaps: readonly Snap[];
  /** Those that cannot be read: name and why. */
  readonly damaged: readonly { readonly name: string; readonly error: VarveError }[];
}

/** Lists backups ('snap') or runs under way ('part'). */
export async function listSnaps(env: VaultEnv, kind: 'snap' | 'part'): Promise<SnapList> {
  const names: string[] = [];
  for await (const { name } of env.store.list(snapPrefix)) {
    if (parseSnapName(name)?.kind === kind) names.push(name);
  }
  const snaps: Snap[] = [];
  const damaged: { name: string; error: VarveError }[] = [];
  for (const name of names.sort()) {
    try {
      const snap = await readSnap(env, name);
      if (snap !== undefined && snap.manifest.mode !== backupModes.void) snaps.push(snap);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) throw error;
      damaged.push({ name, error });
    }
  }
  return { snaps, damaged };
}

/** A manifest by its name; undefined when it is gone. VARVE_CORRUPT, VARVE_FORMAT_VERSION. */
export async function readSnap(env: VaultEnv, name: string): Promise<Snap | undefined> {
  const parsed = parseSnapName(name);
  if (parsed === undefined) return undefined;
  const { id, timeMs } = parsed;
  const bytes = await env.store.get(name, backupManifestBytesMax).catch((error: unknown) => {
    if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
    throw error;
  });
  if (bytes === undefined) return undefined;
  const manifest = decodeBackupManifest(bytes, name, env.vaultId, { id: fromHex(id), timeMs });
  return { name, id, timeMs, manifest };
}

/** The manifest of a run that was given up, under the name its own would have. */
export function voidOf(manifest: BackupManifest): BackupManifest {
  return {
    ...manifest,
    seq: 0,
    rootNodeId: new Uint8Array(32),
    treeHeight: 0,
    keys: 0,
    logicalBytes: 0,
    newChunks: 0,
    newBytes: 0,
    walFrom: 0,
    mode: backupModes.void,
    flags: 0,
    extra: {},
  };
}

/** The `.snap` name that belongs to a `.part`. */
export function snapNameOf(snap: Snap): string {
  return snapName(snap.timeMs, snap.id);
}

/**
 * The backup `wanted` names: an id or the beginning of one, or 'latest'. VARVE_NOT_FOUND where there is none,
 * VARVE_INVALID_ARGUMENT where several begin so.
 */
export function findSnap(snaps: readonly Snap[], wanted: string): Snap {
  const found =
    wanted === 'latest' ? snaps.slice(-1) : snaps.filter(({ id }) => id.startsWith(wanted.toLowerCase()));
  if (found.length === 1 && wanted !== '') return found[0]!;
  if (found.length > 1)
    throw new VarveError('VARVE_INVALID_ARGUMENT', `several backups have an id that begins with ${wanted}`);
  throw new VarveError('VARVE_NOT_FOUND', `no such backup in the vault: ${wanted}`);
}
