/**
 * Manifest of a backup, the object `snaps/….snap` (and `.part` while it is made): file header, the fixed
 * part, then one canonical MessagePack map with everything that is not needed to find the contents. A backup
 * exists when its manifest does; every one names a whole key tree of its own.
 *
 * A manifest of mode 0 is VOID: a run that never ended was given up, and its own manifest can no more be
 * made.
 */
import type { Seq } from '../base/brands.ts';
import { concatBytes, equalBytes } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { checksumMatches, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f } from '../codec/layout.ts';
import { decodeMsgpack, encodeMsgpack, type PackMap } from '../codec/msgpack.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { decodeFileHeader, encodeFileHeader, fileHeader } from './file-header.ts';
import { newerFormat } from './format-ladder.ts';
import { keyTreeHeightMax } from './key-tree-node.ts';
import { backupSubKinds } from './vault-records.ts';

/** How a backup was made. Never changed, never reused. */
export const backupModes = { void: 0, full: 1, differential: 2, incremental: 3 } as const;
export type BackupMode = 'full' | 'differential' | 'incremental';

/** Bit 0: keys that were damaged in the store are not in the backup. */
export const backupFlags = { incomplete: 1 } as const;

export const backupManifest = defineLayout('backup', 'backup manifest, behind the file header', 152, {
  checksum: f(0, 'hash64', 'xxh64(low 64 bits of the salt xor 64; bytes 8 .. end). guards: any damage'),
  backupId: f(8, 16, 'also in the name of the object'),
  dbUuid: f(24, 16, 'the store it is of'),
  timelineId: f(40, 'u64', 'branch of history of the store'),
  seq: f(48, 'u64', 'last commit in it'),
  timeMs: f(56, 'u64', 'when it was begun; also in the name'),
  rootNodeId: f(64, chunkIdBytes, 'META node at the root of the key tree; zero = there is no row'),
  keys: f(96, 'u64', 'keys in it, of all spaces'),
  logicalBytes: f(104, 'u64', 'bytes of their values'),
  newChunks: f(112, 'u64', 'chunks this run added to the vault'),
  newBytes: f(120, 'u64', 'bytes of the packs this run wrote'),
  walFrom: f(128, 'u64', 'first archived log number to go on from; 0 = none'),
  treeHeight: f(136, 'u8', 'levels of the key tree; 0 = there is no row'),
  mode: f(137, 'u8', '0 VOID, 1 full, 2 differential, 3 incremental: history only, every backup is complete'),
  flags: f(138, 'u16', 'bit 0: damaged keys were left out; others refused'),
  tlvLen: f(140, 'u32', 'bytes of the map behind; at most 64 KiB'),
  reserved: f(144, 8, 'zero'),
});

const tlvBytesMax = 64 * KiB;
export const backupManifestBytesMax: number = fileHeader.size + backupManifest.size + tlvBytesMax;

/** A decoded manifest. Arrays are the caller's. */
export interface BackupManifest {
  readonly vaultId: Uint8Array;
  readonly backupId: Uint8Array;
  readonly dbUuid: Uint8Array;
  readonly timelineId: number;
  readonly seq: Seq;
  readonly timeMs: number;
  readonly rootNodeId: Uint8Array;
  readonly treeHeight: number;
  readonly keys: number;
  readonly logicalBytes: number;
  readonly newChunks: number;
  readonly newBytes: number;
  readonly walFrom: number;
  readonly mode: number;
  readonly flags: number;
  /** Label, tags, parameters of the store and the like; see src/backup/backup-info.ts. */
  readonly extra: PackMap;
}

/** The object. `salt`: 12 random bytes. */
export function encodeBackupManifest(manifest: BackupManifest, salt: Uint8Array): Uint8Array {
  const { vaultId, extra, ...fields } = manifest;
  const tlv = encodeMsgpack(extra, 'backup', { bytesMax: tlvBytesMax });
  const header = { kind: 'backup', subKind: backupSubKinds.snap, fileNo: 0, dbUuid: vaultId, salt } as const;
  const out = concatBytes([encodeFileHeader(header), new Uint8Array(backupManifest.size), tlv]);
  encodeLayout(backupManifest, { ...fields, checksum: 0n, tlvLen: tlv.length }, out, fileHeader.size);
  const { seed } = decodeFileHeader(out, { kind: 'backup' }, 'manifest');
  writeChecksum(out, fileHeader.size, fileHeader.size + 8, out.length, seed.at(fileHeader.size));
  return out;
}

/**
 * VARVE_CORRUPT on damage, or when it is another vault's (`vaultId`) or lies under another name;
 * VARVE_FORMAT_VERSION on a newer one. `named`: what the name says.
 */
export function decodeBackupManifest(
  bytes: Uint8Array,
  file: string,
  vaultId: Uint8Array,
  named?: { readonly id: Uint8Array; readonly timeMs: number },
): BackupManifest {
  const header = decodeFileHeader(bytes, { kind: 'backup', fileNo: 0, dbUuid: vaultId }, file);
  const place = { file, offset: fileHeader.size };
  const {
    checksum: _checksum,
    tlvLen,
    ...fields
  } = decodeLayout(backupManifest, bytes, fileHeader.size, {
    file,
  });
  const from = fileHeader.size + backupManifest.size;
  const sum = header.seed.at(fileHeader.size);
  const whole =
    header.subKind === backupSubKinds.snap &&
    bytes.length === from + tlvLen &&
    tlvLen <= tlvBytesMax &&
    checksumMatches(bytes, fileHeader.size, fileHeader.size + 8, bytes.length, sum);
  if (!whole) throw corrupt('backup manifest fails its checksum', place);
  if (fields.mode > backupModes.incremental || (fields.flags & ~backupFlags.incomplete) !== 0)
    throw newerFormat('backup of an unknown kind', place);
  if (fields.treeHeight > keyTreeHeightMax) throw corrupt('backup has a tree of impossible height', place);
  if (named !== undefined) {
    const same = equalBytes(named.id, fields.backupId) && named.timeMs === fields.timeMs;
    if (!same) throw corrupt('backup manifest of another name', place);
  }
  const extra = decodeMsgpack(bytes, { file }, from, bytes.length, { bytesMax: tlvBytesMax });
  const isMap =
    typeof extra === 'object' && extra !== null && !Array.isArray(extra) && !(extra instanceof Uint8Array);
  if (!isMap || extra instanceof Date) throw corrupt('backup manifest has no map', place);
  return { vaultId: header.dbUuid, ...fields, extra: extra as PackMap };
}
