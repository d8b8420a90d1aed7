import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import {
  decodeTableFooter,
  decodeTableProps,
  encodeTableFooter,
  encodeTableProps,
  openBlock,
  sealBlock,
  sealedBytes,
  type TableFooter,
  type TableProps,
} from '../../src/format/table.ts';

const seed = new FileSeed(Uint8Array.from({ length: 12 }, (_, i) => i + 1));
const footer: TableFooter = {
  topIndexOff: 264,
  topIndexLen: 40,
  dataBlocks: 2,
  filterOff: 184,
  filterLen: 48,
  filterBitsX16: 192,
  propsOff: 304,
  propsLen: 80,
  tombstones: 1,
  entries: 5,
  minSeq: 3,
  maxSeq: 9,
  dataLen: 120,
  sumRefs: -7,
  fileChecksum: 0x1122334455667788n,
};
const fileBytes = 304 + 80 + 128;
const props: TableProps = {
  tree: 1,
  level: 0,
  keyHashVersion: 1,
  restartInterval: 16,
  blockBytes: 8192,
  filterPartitionBytes: 65536,
  filterBuckets: 1,
  indexPartitions: 1,
  indexOff: 232,
};
const code = (task: () => unknown): string | undefined => {
  try {
    task();
    return undefined;
  } catch (error) {
    return isVarveError(error) ? error.code : String(error);
  }
};

describe('table records', () => {
  test('a footer has these bytes and reads back', () => {
    const bytes = encodeTableFooter(footer, seed);
    expect(toHex(bytes)).toBe(
      [
        '08010000000000002800000002000000b80000000000000030000000c00000003001000000000000',
        '50000000010000000500000000000000030000000000000009000000000000007800000000000000',
        'f9ffffffffffffff887766554433221100000000000000000000000000000000432ab5b3f7e87d50',
        '5652544142454e44',
      ].join(''),
    );
    expect(decodeTableFooter(bytes, seed, 64, fileBytes, 'f')).toMatchObject(footer);
  });

  test('each flipped bit of a footer is detected', () => {
    const bytes = encodeTableFooter(footer, seed);
    for (let bit = 0; bit < 1024; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(code(() => decodeTableFooter(bytes, seed, 64, fileBytes, 'f'))).toBe('VARVE_CORRUPT');
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(code(() => decodeTableFooter(bytes.subarray(1), seed, 64, fileBytes, 'f'))).toBe('VARVE_CORRUPT');
  });

  test('a footer whose regions overlap, leave gaps or leave the file is refused', () => {
    const changes: Partial<TableFooter>[] = [
      { filterOff: 192 },
      { dataLen: 112 },
      { filterLen: 88 },
      { topIndexLen: 8 },
      { topIndexOff: 272 },
      { propsLen: 72 },
      { propsOff: 312 },
      { entries: 1 },
      { dataBlocks: 0 },
      { minSeq: 10 },
    ];
    for (const change of changes) {
      const bytes = encodeTableFooter({ ...footer, ...change }, seed);
      expect(code(() => decodeTableFooter(bytes, seed, 64, fileBytes, 'f'))).toBe('VARVE_CORRUPT');
    }
    expect(code(() => decodeTableFooter(encodeTableFooter(footer, seed), seed, 64, fileBytes + 8, 'f'))).toBe(
      'VARVE_CORRUPT',
    );
  });

  test('properties have these bytes, read back, and are checked against the rest', () => {
    const bytes = encodeTableProps(props);
    expect(toHex(bytes)).toBe(
      [
        '010001001000000000200000000001000100000001000000e8000000000000000000000000000000',
        '000000000000000000000000000000000000000000000000',
      ].join(''),
    );
    const decode = (change: Partial<TableProps>, tree = 1, level = 0): TableProps =>
      decodeTableProps(encodeTableProps({ ...props, ...change }), footer, tree, level, {
        file: 'f',
        offset: 304,
      });
    expect(decode({})).toEqual(props);
    expect(code(() => decode({}, 3))).toBe('VARVE_CORRUPT');
    expect(decode({}, 1, 1)).toEqual(props);
    expect(code(() => decode({ level: 2 }, 1, 1))).toBe('VARVE_CORRUPT');
    expect(code(() => decode({ indexOff: 240 }))).toBe('VARVE_CORRUPT');
    expect(code(() => decode({ filterBuckets: 2 ** 32 - 1 }))).toBe('VARVE_CORRUPT');
    expect(code(() => decode({ filterPartitionBytes: 32 }))).toBe('VARVE_FORMAT_VERSION');
  });

  test('a sealed block has this trailer, is padded with zeros, and reads back', () => {
    const buf = new Uint8Array(sealedBytes(5)).fill(255);
    buf.set([1, 2, 3, 4, 5]);
    expect(sealBlock(buf, 0, 5, seed, 4096)).toBe(24);
    expect(toHex(buf)).toBe('0102030405000000000500000098539204ea2b1c29000000');
    expect(openBlock(buf, 21, seed, 4096, 'f')).toEqual(Uint8Array.of(1, 2, 3, 4, 5));
    for (let bit = 0; bit < 24 * 8; bit++) {
      buf[bit >> 3]! ^= 1 << (bit & 7);
      expect(code(() => openBlock(buf, 21, seed, 4096, 'f'))).toBe('VARVE_CORRUPT');
      buf[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(code(() => openBlock(buf, 21, seed, 4104, 'f'))).toBe('VARVE_CORRUPT');
    expect(code(() => openBlock(buf, 20, seed, 4096, 'f'))).toBe('VARVE_CORRUPT');
    expect(code(() => openBlock(buf.subarray(0, 8), 8, seed, 4096, 'f'))).toBe('VARVE_CORRUPT');
  });

  test('a block with a codec or cipher of a newer build is refused as such', () => {
    for (const at of [5, 6]) {
      const buf = new Uint8Array(24);
      sealBlock(buf, 0, 5, seed, 0);
      buf[at] = 1;
      writeChecksum(buf, 13, 0, 13, seed.at(0));
      expect(code(() => openBlock(buf, 21, seed, 0, 'f'))).toBe('VARVE_FORMAT_VERSION');
    }
  });
});
