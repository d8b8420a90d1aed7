import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import {
  ChunkColumns,
  checkChunkBlock,
  chunkBlockBytes,
  chunkEntryAt,
  chunkIdPrefix,
  sealChunkBlock,
  searchChunkBlock,
} from '../../src/format/chunk-table.ts';

const seed = new FileSeed(new Uint8Array(12).fill(3));

function blockOf(count: number): Uint8Array {
  const block = new Uint8Array(chunkBlockBytes).fill(9);
  const columns = new ChunkColumns();
  const view = new DataView(block.buffer);
  for (let i = 0; i < count; i++) {
    Object.assign(columns, {
      segment: i,
      off8: 2,
      storedLen: 3,
      rawLen: 4,
      refs: -i,
      kind: 1,
      codec: 2,
      flags: 1,
    });
    columns.write(view, chunkEntryAt(i), new Uint8Array(32).fill(2 * i + 1), 0);
  }
  sealChunkBlock(block, 0, count, seed, 8192);
  return block;
}

const code = (task: () => unknown): string | undefined => {
  try {
    task();
    return undefined;
  } catch (error) {
    return isVarveError(error) ? error.code : String(error);
  }
};
const check = (block: Uint8Array, count: number, offset = 8192): string | undefined =>
  code(() => checkChunkBlock(block, count, seed, offset, 'f'));

describe('chunk block', () => {
  test('a block has these bytes', () => {
    const block = blockOf(2);
    expect(toHex(block.subarray(0, chunkEntryAt(2)))).toBe(
      [
        '500b04394d7afdae0200000000000000010101010101010101010101010101010101010101010101',
        '01010101010101010000000002000000030000000400000000000000012001000303030303030303',
        '03030303030303030303030303030303030303030303030301000000020000000300000004000000',
        'ffffffff01200100',
      ].join(''),
    );
    expect(block.subarray(chunkEntryAt(2)).every((byte) => byte === 0)).toBe(true);
  });

  test('entries read back and are found by id', () => {
    const block = blockOf(72);
    expect(check(block, 72)).toBe(undefined);
    const columns = new ChunkColumns();
    for (let i = 0; i < 72; i++) {
      expect(searchChunkBlock(block, new Uint8Array(32).fill(2 * i + 1), 0)).toBe(i);
      expect(searchChunkBlock(block, new Uint8Array(32).fill(2 * i), 0)).toBe(i);
      columns.read(block, chunkEntryAt(i));
      const { refs, segment, flags, codec, kind } = columns;
      expect([refs + 0, segment, flags, codec, kind]).toEqual([0 - i, i, 1, 2, 1]);
    }
    expect(searchChunkBlock(block, new Uint8Array(32).fill(255), 0)).toBe(72);
    expect(chunkIdPrefix(Uint8Array.of(9, 255, 1, 2, 3), 1)).toBe(0xff010203);
  });

  test('each flipped bit, another place and another count are detected', () => {
    const block = blockOf(3);
    for (let bit = 0; bit < chunkBlockBytes * 8; bit += 7) {
      block[bit >> 3]! ^= 1 << (bit & 7);
      expect(check(block, 3)).toBe('VARVE_CORRUPT');
      block[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(check(block, 3, 4096)).toBe('VARVE_CORRUPT');
    expect(check(block, 2)).toBe('VARVE_CORRUPT');
    expect(check(block.subarray(1), 3)).toBe('VARVE_CORRUPT');
  });

  test('structure is checked where the checksum holds', () => {
    const spoil = (at: number, byte: number): string | undefined => {
      const block = blockOf(3);
      block[at] = byte;
      writeChecksum(block, 0, 8, chunkBlockBytes, seed.at(8192));
      return check(block, 3);
    };
    expect(spoil(chunkEntryAt(1), 0)).toBe('VARVE_CORRUPT');
    expect(spoil(chunkEntryAt(3) + 5, 1)).toBe('VARVE_CORRUPT');
    expect(spoil(10, 1)).toBe('VARVE_CORRUPT');
    expect(spoil(8, 73)).toBe('VARVE_CORRUPT');
    expect(spoil(chunkEntryAt(1) + 54, 8)).toBe('VARVE_FORMAT_VERSION');
    expect(spoil(chunkEntryAt(1) + 53, 1)).toBe('VARVE_FORMAT_VERSION');
  });
});
