/** Targets: the objects of vaults. */
import type { Prng } from '../../src/base/prng.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import {
  type BackupManifest,
  backupManifest,
  decodeBackupManifest,
  encodeBackupManifest,
} from '../../src/format/backup-manifest.ts';
import { decodeFileHeader, fileHeader } from '../../src/format/file-header.ts';
import { KeyTreeNode, KeyTreeNodeBuilder } from '../../src/format/key-tree-node.ts';
import { decodeVaultIndex, encodeVaultIndex, type IndexColumns } from '../../src/format/vault-index.ts';
import { decodeVaultFile, encodeVaultFile } from '../../src/format/vault-records.ts';
import { sameBytes, sameValue, type Target } from './target.ts';

const file = 'fuzzed';
const vaultId = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const salt = Uint8Array.from({ length: 12 }, (_, i) => i + 99);

/** The checksum at `at` covers what is behind it, seeded by salt and place. */
function resealAt(bytes: Uint8Array, at: number): void {
  if (bytes.length < at + 8) return;
  writeChecksum(bytes, fileHeader.at.checksum, 0, fileHeader.at.checksum);
  const seed = new FileSeed(bytes.slice(fileHeader.at.salt, fileHeader.at.salt + 12));
  writeChecksum(bytes, at, at + 8, bytes.length, seed.at(at));
}

function randomManifest(prng: Prng): BackupManifest {
  return {
    vaultId,
    backupId: prng.bytes(16),
    dbUuid: prng.bytes(16),
    timelineId: prng.below(100),
    seq: prng.below(1e9),
    timeMs: prng.below(1e9),
    rootNodeId: prng.bytes(32),
    treeHeight: prng.below(6),
    keys: prng.below(1e9),
    logicalBytes: prng.below(1e9),
    newChunks: prng.below(1e6),
    newBytes: prng.below(1e9),
    walFrom: 0,
    mode: prng.below(4),
    flags: prng.below(2),
    extra: { label: 'x'.repeat(prng.below(20)), n: prng.below(1000) },
  };
}

const manifest: Target = {
  name: 'backup manifest',
  sample(prng) {
    const values = randomManifest(prng);
    const bytes = encodeBackupManifest(values, salt);
    sameValue(decodeBackupManifest(bytes, file, vaultId), values);
    return bytes;
  },
  run(bytes) {
    const values = decodeBackupManifest(bytes, file, vaultId);
    const { salt: own } = decodeFileHeader(bytes, { kind: 'backup' }, file);
    const again = encodeBackupManifest(values, own);
    // The minor version in the header may be a later one.
    sameBytes(bytes.subarray(fileHeader.size), again.subarray(fileHeader.size));
  },
  reseal: (bytes) => resealAt(bytes, fileHeader.size + backupManifest.at.checksum),
};

const vaultFile: Target = {
  name: 'vault head',
  sample(prng) {
    const bytes = encodeVaultFile({ vaultId: prng.bytes(16), createdMs: prng.below(1e9) }, prng.bytes(12));
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const { salt: own } = decodeFileHeader(bytes, { kind: 'backup' }, file);
    const again = encodeVaultFile(decodeVaultFile(bytes), own);
    sameBytes(
      bytes.subarray(fileHeader.size, bytes.length - 8),
      again.subarray(fileHeader.size, again.length - 8),
    );
  },
  reseal(bytes) {
    if (bytes.length < 104) return;
    writeChecksum(bytes, fileHeader.at.checksum, 0, fileHeader.at.checksum);
    writeChecksum(bytes, 96, 0, 96);
  },
};

const index: Target = {
  name: 'vault index',
  sample(prng) {
    const n = prng.below(6);
    const columns: IndexColumns = {
      ids: new Uint8Array(32 * n),
      pack: new Uint32Array(n),
      off8: new Uint32Array(n),
      storedLen: new Uint32Array(n),
      rawLen: new Uint32Array(n),
      kind: new Uint8Array(n),
      codec: new Uint8Array(n),
    };
    for (let i = 0; i < n; i++) {
      columns.ids.fill(i + 1, i * 32, (i + 1) * 32);
      columns.off8[i] = 8 + prng.below(100);
      columns.storedLen[i] = prng.below(1000);
      columns.rawLen[i] = columns.storedLen[i]!;
      columns.kind[i] = prng.below(3);
    }
    const packs = [{ name: prng.bytes(32), size: 1e6, frames: prng.below(100) }];
    const superseded = prng.chance(0.5) ? [prng.bytes(32)] : [];
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    const bytes = encodeVaultIndex(vaultId, salt, packs, superseded, columns, order);
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const { count, packs, superseded, entriesFrom } = decodeVaultIndex(bytes, file, vaultId);
    const length = fileHeader.size + 32 + packs.length * 48 + superseded.length * 32;
    if (entriesFrom !== length || bytes.length !== length + count * 56)
      throw new Error('lengths do not add up');
  },
  reseal: (bytes) => resealAt(bytes, fileHeader.size),
};

const node: Target = {
  name: 'key tree node',
  sample(prng) {
    const level = prng.below(2);
    const builder = new KeyTreeNodeBuilder(level);
    let key = Uint8Array.of(level);
    for (let n = 1 + prng.below(6); n > 0; n--) {
      const rest = prng.chance(0.5) ? key.subarray(2) : prng.bytes(prng.below(9));
      key = Uint8Array.from([1 - level, 10 - n, ...rest, prng.below(9)]);
      if (level > 0)
        builder.addChild(key, 0, key.length, prng.bytes(32), 0, 1 + prng.below(99), prng.below(1e6));
      else {
        const size = prng.below(40);
        const record = Uint8Array.from([1, 0, 9, 0, 0, 0, 0, 0, size, ...prng.bytes(size)]);
        builder.addRow(key, 0, key.length, prng.below(1e6), record, 0, record.length, size);
      }
    }
    const bytes = builder.finish();
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const read = new KeyTreeNode(bytes, { file, offset: 0 });
    if (read.level > 1) return;
    const again = new KeyTreeNodeBuilder(read.level);
    while (read.next()) {
      const { key, keyBytes, seq, recordFrom, recordTo, record } = read;
      if (read.level > 0) again.addChild(key, 0, keyBytes, bytes, read.idAt, read.childRows, read.childBytes);
      else again.addRow(key, 0, keyBytes, seq, bytes, recordFrom, recordTo, record?.size ?? 0);
    }
    sameBytes(bytes, again.finish());
  },
};

export const vaultTargets: readonly Target[] = [manifest, vaultFile, index, node];
