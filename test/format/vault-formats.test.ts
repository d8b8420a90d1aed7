import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import {
  type BackupManifest,
  backupManifest,
  decodeBackupManifest,
  encodeBackupManifest,
} from '../../src/format/backup-manifest.ts';
import { fileHeader } from '../../src/format/file-header.ts';
import { endsKeyTreeNode, keyTreeNodeMax, keyTreeNodeMin } from '../../src/format/key-tree-boundary.ts';
import { KeyTreeNode, KeyTreeNodeBuilder, keyTreeHead } from '../../src/format/key-tree-node.ts';
import {
  decodeVaultIndex,
  encodeVaultIndex,
  type IndexColumns,
  vaultIndexEntry,
  vaultIndexHead,
  vaultIndexPack,
} from '../../src/format/vault-index.ts';
import { packHashOf, packName, parseSnapName, snapName } from '../../src/format/vault-names.ts';
import {
  backupRow,
  decodeBackupRow,
  decodePendingMarker,
  decodeVaultFile,
  encodeBackupRow,
  encodePendingMarker,
  encodeVaultFile,
  vaultHead,
} from '../../src/format/vault-records.ts';

const vaultId = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const salt = Uint8Array.from({ length: 12 }, (_, i) => 0xa0 + i);
const place = { file: 'node' };

const manifest: BackupManifest = {
  vaultId,
  backupId: Uint8Array.from({ length: 16 }, (_, i) => i + 33),
  dbUuid: Uint8Array.from({ length: 16 }, (_, i) => i + 65),
  timelineId: 1,
  seq: 77,
  timeMs: 1_700_000_000_000,
  rootNodeId: new Uint8Array(32).fill(9),
  treeHeight: 2,
  keys: 12,
  logicalBytes: 3456,
  newChunks: 7,
  newBytes: 890,
  walFrom: 0,
  mode: 3,
  flags: 0,
  extra: { tags: ['a'] },
};

const columns: IndexColumns = {
  ids: Uint8Array.from({ length: 64 }, (_, i) => (i < 32 ? 1 : 2)),
  pack: Uint32Array.of(0, 0),
  off8: Uint32Array.of(8, 20),
  storedLen: Uint32Array.of(5, 6),
  rawLen: Uint32Array.of(5, 6),
  kind: Uint8Array.of(0, 2),
  codec: Uint8Array.of(0, 0),
};
const packs = [{ name: new Uint8Array(32).fill(3), size: 1000, frames: 2 }];

const index = (): Uint8Array =>
  encodeVaultIndex(vaultId, salt, packs, [new Uint8Array(32).fill(4)], columns, Uint32Array.of(0, 1));

/** Decoding must fail with one of the two codes for every flipped bit. */
function everyFlip(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown): void {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    try {
      decode(damaged);
    } catch (error) {
      if (isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) continue;
      throw error;
    }
    throw new Error(`bit ${bit} is not noticed`);
  }
}

function node(): Uint8Array {
  const builder = new KeyTreeNodeBuilder(0);
  const record = Uint8Array.of(1, 0, 5, 0, 0, 0, 0, 0, 2, 0x61, 0x62);
  for (const key of ['01000000006100 01', '0100000000616200 01', '01000000006300 01']) {
    const bytes = fromHex(key.replaceAll(' ', ''));
    builder.addRow(bytes, 0, bytes.length, 9, record, 0, record.length, 2);
  }
  return builder.finish();
}

describe('records of vaults', () => {
  test('have their sizes', () => {
    const sizes = [
      vaultHead,
      vaultIndexHead,
      vaultIndexPack,
      vaultIndexEntry,
      keyTreeHead,
      backupManifest,
      backupRow,
    ];
    expect(sizes.map(({ size }) => size)).toEqual([40, 32, 48, 56, 24, 152, 80]);
  });

  test('have their golden bytes', () => {
    const bytes = {
      vault: encodeVaultFile({ vaultId, createdMs: 1_700_000_000_000 }, salt).subarray(fileHeader.size),
      manifest: encodeBackupManifest(manifest, salt).subarray(fileHeader.size),
      index: index().subarray(fileHeader.size),
      node: node(),
      pending: encodePendingMarker(1_700_000_000_000),
    };
    const hex = Object.fromEntries(Object.entries(bytes).map(([name, value]) => [name, toHex(value)]));
    expect(hex).toEqual(golden);
  });

  test('read back as written', () => {
    expect(decodeVaultFile(encodeVaultFile({ vaultId, createdMs: 5 }, salt))).toEqual({
      vaultId,
      createdMs: 5,
    });
    const named = { id: manifest.backupId, timeMs: manifest.timeMs };
    expect(decodeBackupManifest(encodeBackupManifest(manifest, salt), 'x', vaultId, named)).toEqual(manifest);
    const read = decodeVaultIndex(index(), 'x', vaultId);
    expect(read.packs).toEqual([{ hash: '03'.repeat(32), size: 1000, frames: 2 }]);
    expect([read.superseded, read.count]).toEqual([['04'.repeat(32)], 2]);
    expect(decodePendingMarker(encodePendingMarker(12), 'x')).toBe(12);
    const row = {
      backupId: manifest.backupId,
      timeMs: 1,
      seq: 2,
      fullId: manifest.dbUuid,
      fullTimeMs: 3,
      fullSeq: 4,
      provedMs: 5,
    };
    expect(decodeBackupRow(encodeBackupRow(row))).toEqual(row);
  });

  test('every flipped bit of an object is noticed', () => {
    everyFlip(encodeVaultFile({ vaultId, createdMs: 5 }, salt), decodeVaultFile);
    everyFlip(encodeBackupManifest(manifest, salt), (bytes) => decodeBackupManifest(bytes, 'x', vaultId));
    everyFlip(index(), (bytes) => decodeVaultIndex(bytes, 'x', vaultId));
    everyFlip(encodePendingMarker(5), (bytes) => decodePendingMarker(bytes, 'x'));
  });

  test('a manifest under another name, or of another vault, is refused', () => {
    const bytes = encodeBackupManifest(manifest, salt);
    const other = { id: manifest.dbUuid, timeMs: manifest.timeMs };
    expect(() => decodeBackupManifest(bytes, 'x', vaultId, other)).toThrow('another name');
    expect(() => decodeBackupManifest(bytes, 'x', manifest.dbUuid)).toThrow('another store');
  });

  test('names say what they name', () => {
    const hash = 'ab12'.repeat(16);
    expect(packName(hash)).toBe(`packs/ab/12/${hash}.pack`);
    expect(packHashOf(packName(hash))).toBe(hash);
    expect(packHashOf(`packs/ab/13/${hash}.pack`)).toBeUndefined();
    const id = '0f'.repeat(16);
    expect(parseSnapName(snapName(255, id))).toEqual({ timeMs: 255, id, kind: 'snap' });
    expect(parseSnapName('snaps/x.snap')).toBeUndefined();
  });
});

describe('key tree nodes', () => {
  test('read back, front to back', () => {
    const read = new KeyTreeNode(node(), place);
    const keys: string[] = [];
    while (read.next())
      keys.push(`${toHex(read.key.subarray(0, read.keyBytes))} ${read.seq} ${read.record?.size}`);
    expect(keys).toEqual([
      '010000000061' + '0001 9 2',
      '01000000006162' + '0001 9 2',
      '010000000063' + '0001 9 2',
    ]);
  });

  test('keys that do not rise, or share less than they could, are refused', () => {
    const bytes = node();
    // The second key begins behind the first record: make it share one byte less.
    const at = keyTreeHead.size + 2 + 8 + 2 + 11;
    expect([bytes[at], bytes[at + 1]]).toEqual([6, 3]);
    const spread = new Uint8Array(bytes.length + 1);
    spread.set(bytes.subarray(0, at));
    spread.set([5, 4, 0x61], at);
    spread.set(bytes.subarray(at + 2), at + 3);
    const read = (buf: Uint8Array): void => {
      const one = new KeyTreeNode(buf, place);
      while (one.next());
    };
    expect(() => read(spread)).toThrow('do not rise');
    expect(() => read(bytes.subarray(0, bytes.length - 1))).toThrow('cut off');
    const sums = bytes.slice();
    sums[16] = 7;
    expect(() => read(sums)).toThrow('does not add up');
  });

  test('the boundary rule keeps its test vectors, its bounds and its mean', () => {
    const key = new TextEncoder().encode('a key of some length');
    const ends = (level: number, before: number, size: number): boolean =>
      endsKeyTreeNode(level, key, 0, key.length, before, size, 3);
    const vectors = Array.from({ length: 64 }, (_, i) => {
      const one = new TextEncoder().encode(`key ${i}`);
      return endsKeyTreeNode(i % 3, one, 0, one.length, 300 * i, 300 * i + 5000, 3);
    });
    expect(vectors.map(Number).join('')).toBe(boundaryVector);
    expect(ends(0, 0, keyTreeNodeMin - 1)).toBe(false);
    expect(ends(0, keyTreeNodeMax - 1, keyTreeNodeMax)).toBe(true);
    expect(endsKeyTreeNode(1, key, 0, key.length, 0, 10 * keyTreeNodeMax, 1)).toBe(false);
    const prng = new Prng(1);
    let [nodes, size] = [0, 0];
    for (let i = 0; i < 200_000; i++) {
      const one = prng.bytes(20);
      if (endsKeyTreeNode(0, one, 0, 20, size, size + 120, 9)) {
        nodes++;
        size = 0;
      } else size += 120;
    }
    const mean = (200_000 * 120) / nodes;
    expect(mean).toBeGreaterThan(18_000);
    expect(mean).toBeLessThan(23_000);
  });
});

const boundaryVector = '0000000000000000000000000000010001000000001111101010011111110101';
const golden: Record<string, string> = {
  vault: '0068e5cf8b010000010000000000000000000000000000000000000000000000220c6f0885559d62',
  manifest:
    '6cf865940579ba192122232425262728292a2b2c2d2e2f304142434445464748494a4b4c4d4e4f5001000000000000004d000000000000000068e5cf8b01000009090909090909090909090909090909090909090909090909090909090909090c00000000000000800d00000000000007000000000000007a0300000000000000000000000000000203000009000000000000000000000081a47461677391a161',
  index:
    '9806a0881fbfda4b0100000001000000020000000000000000000000000000000303030303030303030303030303030303030303030303030303030303030303e8030000000000000200000000000000040404040404040404040404040404040404040404040404040404040404040401010101010101010101010101010101010101010101010101010101010101010000000008000000050000000500000000000000000000000202020202020202020202020202020202020202020202020202020202020202000000001400000006000000060000000200000000000000',
  // biome-ignore format: one word
  node:
    '4b540100030000000300000000000000060000000000000000080100000000610001090b01000500000000000261620603620001090b01000500000000000261620503630001090b0100050000000000026162',
  pending: '0068e5cf8b01000062128a5c79cf0785',
};
