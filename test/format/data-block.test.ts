import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes, equalBytes, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import {
  checkDataBlock,
  DataBlockBuilder,
  EntrySpot,
  entriesEnd,
  restartAt,
  restartBefore,
  searchDataBlock,
} from '../../src/format/data-block.ts';

type Entry = readonly [key: Uint8Array, value: Uint8Array];

function build(entries: readonly Entry[]): Uint8Array {
  const builder = new DataBlockBuilder();
  for (const [key, value] of entries) {
    const shared = builder.sharedWithLast(key, 0, key.length);
    builder.add(key, 0, key.length, value, 0, value.length, shared);
  }
  const { bytes, length } = builder.finish(0);
  return bytes.slice(0, length);
}

const keyBytes = fc.uint8Array({ minLength: 8, maxLength: 14, max: 2 });
const entriesArb = fc
  .uniqueArray(fc.tuple(keyBytes, fc.uint8Array({ maxLength: 200 })), {
    minLength: 1,
    maxLength: 80,
    selector: ([key]) => toHex(key),
  })
  .map((entries) => entries.sort((a, b) => compareBytes(a[0], b[0])));

describe('data block', () => {
  test('a block has these bytes', () => {
    const key = (last: number): Uint8Array =>
      Uint8Array.of(97, 98, 0, 1, 255, 255, 255, 255, 255, 255, 255, last);
    const block = build([
      [key(250), Uint8Array.of(1)],
      [key(254), Uint8Array.of(2, 3)],
    ]);
    expect(toHex(block)).toBe('000c0161620001fffffffffffffffa010b0102fe02030000000001000000');
  });

  test('a search finds the first entry that is not smaller, and its key by the sought one', () => {
    fc.assert(
      fc.property(
        entriesArb,
        fc.array(fc.uint8Array({ maxLength: 14, max: 3 }), { minLength: 10 }),
        (entries, probes) => {
          const block = build(entries);
          checkDataBlock(block, entries.length, { file: 'f' });
          const spot = new EntrySpot();
          for (const sought of [...probes, ...entries.map(([key]) => key)]) {
            const expected = entries.find(([key]) => compareBytes(key, sought) >= 0);
            const found = searchDataBlock(block, sought, sought.length, spot);
            expect(found).toBe(expected !== undefined);
            if (expected === undefined) continue;
            const key = Uint8Array.of(
              ...sought.subarray(0, spot.shared),
              ...block.subarray(spot.suffixFrom, spot.suffixTo),
            );
            expect(equalBytes(key, expected[0])).toBe(true);
            expect(equalBytes(block.subarray(spot.valueFrom, spot.valueTo), expected[1])).toBe(true);
            expect(restartAt(block, restartBefore(block, spot.at))).toBeLessThanOrEqual(spot.at);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test('a block with any byte changed either passes the check and can be walked or is corrupt', () => {
    fc.assert(
      fc.property(entriesArb, fc.nat(), fc.nat(255), (entries, where, byte) => {
        const block = build(entries);
        block[where % block.length] = byte;
        try {
          checkDataBlock(block, entries.length, { file: 'f', offset: 64 });
        } catch (error) {
          if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
          return;
        }
        const spot = new EntrySpot();
        let n = 0;
        for (let at = 0; at < entriesEnd(block); at = spot.valueTo) {
          spot.read(block, at);
          n++;
        }
        expect(n).toBe(entries.length);
        searchDataBlock(block, entries[0]![0], entries[0]![0].length, spot);
      }),
      { numRuns: 2000 },
    );
  });

  test('a wrong number of entries and cut off blocks are corrupt', () => {
    const entries = Array.from(
      { length: 20 },
      (_, i): Entry => [new Uint8Array(9).fill(i), new Uint8Array(3)],
    );
    const block = build(entries);
    for (const count of [0, 1, 19, 21, 33])
      expect(() => checkDataBlock(block, count, { file: 'f' })).toThrow(/block/);
    for (let cut = 0; cut < block.length; cut++) {
      expect(() => checkDataBlock(block.subarray(0, cut), 20, { file: 'f' })).toThrow(/block/);
    }
  });
});
