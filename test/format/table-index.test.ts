import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes, equalBytes, toHex } from '../../src/base/bytes.ts';
import {
  decodeTopIndex,
  encodeTopIndex,
  IndexBuilder,
  separatorBetween,
  TableIndex,
} from '../../src/format/table-index.ts';

const place = { file: 'f', offset: 0 };

function shared(a: Uint8Array, b: Uint8Array): number {
  let i = 0;
  while (i < Math.min(a.length, b.length) && a[i] === b[i]) i++;
  return i;
}

describe('table index', () => {
  test('a separator lies above the last key, not above the first, nor above its row', () => {
    const key = fc.uint8Array({ minLength: 8, maxLength: 12, max: 2 });
    fc.assert(
      fc.property(key, key, (a, b) => {
        if (equalBytes(a, b)) return;
        const [last, first] = compareBytes(a, b) < 0 ? [a, b] : [b, a];
        const common = shared(last, first);
        const separator = separatorBetween(last, last.length, first, 0, first.length, common);
        expect(compareBytes(last, separator)).toBeLessThan(0);
        expect(compareBytes(separator, first)).toBeLessThanOrEqual(0);
        const row = first.subarray(0, first.length - 8);
        const sameRow = common >= row.length;
        if (!sameRow) expect(compareBytes(separator, row)).toBeLessThanOrEqual(0);
        else expect(toHex(separator)).toBe(`${toHex(last)}00`);
      }),
      { numRuns: 1000 },
    );
  });

  test('an index of many partitions reads back and finds the block of a key', () => {
    const builder = new IndexBuilder();
    const separators: Uint8Array[] = [];
    let offset = 64;
    for (let i = 0; i < 2500; i++) {
      const separator = i === 0 ? new Uint8Array(0) : Uint8Array.of(i >> 8, i & 255, 7);
      separators.push(separator);
      builder.add({ separator, offset, length: 101, rows: 2, maxSeq: i, tombstones: 1 });
      offset += 104;
    }
    builder.finish();
    let end = offset;
    for (const { entry, bytes } of builder.partitions) {
      entry.offset = end;
      entry.length = bytes.length + 16;
      end += Math.ceil(entry.length / 8) * 8;
    }
    expect(builder.partitions.length).toBeGreaterThan(1);
    const count = builder.partitions.length;
    const top = encodeTopIndex(builder.partitions.map((partition) => partition.entry));
    const entries = decodeTopIndex(top, count, offset, end, place);
    const index = new TableIndex(2500, 64);
    for (const [i, entry] of entries.entries())
      index.addPartition(builder.partitions[i]!.bytes, entry, place);
    const footer = { filterOff: offset, entries: 5000, tombstones: 2500, maxSeq: 2499 };
    index.complete(footer as Parameters<TableIndex['complete']>[0], place);
    for (let i = 0; i < 2500; i++) {
      expect(index.find(separators[i]!, separators[i]!.length)).toBe(i);
      if (i > 0) expect(index.find(separators[i]!, separators[i]!.length - 1)).toBe(i - 1);
    }
    expect([index.offsetOf(2), index.lengthOf(2), index.rowsOf(2)]).toEqual([64 + 208, 101, 2]);
    for (const change of [{ filterOff: 1 }, { entries: 1 }, { tombstones: 1 }, { maxSeq: 1 }]) {
      const other = { ...footer, ...change } as Parameters<TableIndex['complete']>[0];
      expect(() => index.complete(other, place)).toThrow(/contradicts/);
    }
    expect(() => decodeTopIndex(top, count, offset + 8, end, place)).toThrow(/follow/);
    expect(() => decodeTopIndex(top, count, offset, end + 8, place)).toThrow(/end/);
    expect(() => decodeTopIndex(top, count + 1, offset, end, place)).toThrow(/cut off/);
    expect(() => decodeTopIndex(top, count - 1, offset, end, place)).toThrow(/left over/);
  });

  test('an index entry has these bytes', () => {
    const entry = {
      separator: Uint8Array.of(1, 2),
      offset: 640,
      length: 300,
      rows: 5,
      maxSeq: 2 ** 40,
      tombstones: 3,
    };
    expect(toHex(encodeTopIndex([entry]))).toBe('02010250ac020580808080802003');
  });

  test('blocks out of order, with gaps or beyond their number are corrupt', () => {
    const entry = { separator: new Uint8Array(0), offset: 64, length: 20, rows: 1, maxSeq: 1, tombstones: 0 };
    const second = { ...entry, separator: Uint8Array.of(1), offset: 88 };
    const load = (blocks: number, ...entries: (typeof entry)[]): void => {
      const index = new TableIndex(blocks, 64);
      index.addPartition(encodeTopIndex(entries), { ...entry, rows: entries.length }, place);
    };
    load(2, entry, second);
    expect(() => load(1, entry, second)).toThrow(/more blocks/);
    expect(() => load(2, entry, { ...second, offset: 96 })).toThrow(/follow/);
    expect(() => load(2, { ...entry, separator: Uint8Array.of(1) })).toThrow(/order/);
    expect(() => load(2, entry, { ...second, separator: entry.separator })).toThrow(/order/);
    for (const change of [{ length: 15 }, { length: 2 ** 20 + 1 }, { rows: 0 }, { rows: 2 ** 32 }]) {
      expect(() => load(2, { ...entry, ...change })).toThrow(/out of range/);
    }
  });
});
