/** Small records of a vault: its head, markers of packs to delete, and what a store remembers of a backup. */
import { concatBytes, encodeUtf8 } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { checksumMatches, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f, layoutBytes, type Values } from '../codec/layout.ts';
import { decodeFileHeader, encodeFileHeader, fileHeader } from './file-header.ts';
import { newerFormat } from './format-ladder.ts';
import { keyTreeBoundaryVersion } from './key-tree-boundary.ts';
import { vaultName } from './vault-names.ts';

/** Sub-kinds of files of kind `backup`. Never changed, never reused. */
export const backupSubKinds = { vault: 1, snap: 2, archive: 3 } as const;

export const vaultHead = defineLayout('vaulthead', 'vault head, behind the file header', 40, {
  createdMs: f(0, 'u64', 'when the vault was made, ms since 1970'),
  boundaryVersion: f(8, 'u32', 'rule that cuts key trees into nodes. guards: trees of another rule'),
  flags: f(12, 'u32', 'zero; anything else is refused'),
  reserved: f(16, 16, 'zero'),
  checksum: f(32, 'hash64', 'xxh64(0; header and bytes 0..31)'),
});

/** Identity of a vault. */
export interface VaultHead {
  /** 16 bytes; also in the header of each of its files. */
  readonly vaultId: Uint8Array;
  readonly createdMs: number;
}

export const vaultFileBytes: number = fileHeader.size + vaultHead.size;

/** The object VAULT. `salt`: 12 random bytes. */
export function encodeVaultFile({ vaultId, createdMs }: VaultHead, salt: Uint8Array): Uint8Array {
  const header = { kind: 'backup', subKind: backupSubKinds.vault, fileNo: 0, dbUuid: vaultId, salt } as const;
  const out = new Uint8Array(vaultFileBytes);
  out.set(encodeFileHeader(header));
  const values = { createdMs, boundaryVersion: keyTreeBoundaryVersion, flags: 0, checksum: 0n };
  encodeLayout(vaultHead, values, out, fileHeader.size);
  const sumAt = fileHeader.size + vaultHead.at.checksum;
  writeChecksum(out, sumAt, 0, sumAt);
  return out;
}

/** VARVE_CORRUPT on damage, VARVE_FORMAT_VERSION on a newer vault. */
export function decodeVaultFile(bytes: Uint8Array): VaultHead {
  const header = decodeFileHeader(bytes, { kind: 'backup', fileNo: 0 }, vaultName);
  const at = { file: vaultName, offset: fileHeader.size };
  const values = decodeLayout(vaultHead, bytes, fileHeader.size, { file: vaultName });
  const sumAt = fileHeader.size + vaultHead.at.checksum;
  const whole = bytes.length === vaultFileBytes && checksumMatches(bytes, sumAt, 0, sumAt);
  if (!whole || header.subKind !== backupSubKinds.vault) throw corrupt('vault head fails its checksum', at);
  if (values.flags !== 0 || values.boundaryVersion !== keyTreeBoundaryVersion)
    throw newerFormat('the vault uses a feature this build does not know', at);
  return { vaultId: header.dbUuid, createdMs: values.createdMs };
}

export const pendingMarker = defineLayout('pendingmark', 'marker of a pack to delete', 16, {
  markedMs: f(0, 'u64', 'when a prune found the pack unneeded, ms since 1970'),
  checksum: f(8, 'hash64', 'xxh64(0; bytes 0..7)'),
});

export function encodePendingMarker(markedMs: number): Uint8Array {
  const out = layoutBytes(pendingMarker, { markedMs, checksum: 0n });
  writeChecksum(out, pendingMarker.at.checksum, 0, pendingMarker.at.checksum);
  return out;
}

/** When the pack was marked; VARVE_CORRUPT. */
export function decodePendingMarker(bytes: Uint8Array, file: string): number {
  const { markedMs } = decodeLayout(pendingMarker, bytes, 0, { file });
  const { checksum } = pendingMarker.at;
  if (bytes.length !== pendingMarker.size || !checksumMatches(bytes, checksum, 0, checksum))
    throw corrupt('marker of a pack fails its checksum', { file });
  return markedMs;
}

export const rotationRecord = defineLayout('rotation', 'how far verifies that take turns have come', 64, {
  last: f(0, 32, 'name of the last pack looked at in this round; zero = none'),
  roundMs: f(32, 'u64', 'when this round began, ms since 1970'),
  coveredMs: f(40, 'u64', 'when the last whole round began; 0 = none yet'),
  reserved: f(48, 8, 'zero'),
  checksum: f(56, 'hash64', 'xxh64(0; bytes 0..55)'),
});

/** How far verifies of one level have come. */
export type RotationRecord = Omit<Values<typeof rotationRecord.fields>, 'checksum'>;

export function encodeRotation(record: RotationRecord): Uint8Array {
  const out = layoutBytes(rotationRecord, { ...record, checksum: 0n });
  writeChecksum(out, rotationRecord.at.checksum, 0, rotationRecord.at.checksum);
  return out;
}

/** VARVE_CORRUPT. */
export function decodeRotation(bytes: Uint8Array, file: string): RotationRecord {
  const { checksum: _, ...record } = decodeLayout(rotationRecord, bytes, 0, { file });
  const { checksum } = rotationRecord.at;
  if (bytes.length !== rotationRecord.size || !checksumMatches(bytes, checksum, 0, checksum))
    throw corrupt('record of verifies fails its checksum', { file });
  return record;
}

export const backupRow = defineLayout('backuprow', 'last backup of a store, system row', 80, {
  backupId: f(0, 16, 'id of the last backup. guards: a vault that hides it'),
  timeMs: f(16, 'u64', 'its time, ms since 1970'),
  seq: f(24, 'u64', 'last commit in it'),
  fullId: f(32, 16, 'id of the last full backup; zero = none'),
  fullTimeMs: f(48, 'u64', 'its time'),
  fullSeq: f(56, 'u64', 'last commit in it'),
  provedMs: f(64, 'u64', 'when what the last backup wrote was read back and proved; 0 = it was not'),
  reserved: f(72, 8, 'zero'),
});

/** What a store remembers of its backups into one vault. */
export type BackupRow = Values<typeof backupRow.fields>;

export const backupRowPrefix: Uint8Array = encodeUtf8('backup/');

/** Key of the system row for a vault. */
export function backupRowKey(vaultId: Uint8Array): Uint8Array {
  return concatBytes([backupRowPrefix, vaultId]);
}

export function encodeBackupRow(row: BackupRow): Uint8Array {
  return layoutBytes(backupRow, row);
}

/** VARVE_CORRUPT when it does not have the shape. */
export function decodeBackupRow(value: Uint8Array): BackupRow {
  const place = { file: 'system tree' };
  if (value.length !== backupRow.size) throw corrupt('row of a backup has the wrong shape', place);
  return decodeLayout(backupRow, value, 0, place);
}
