import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { encodeSysKey } from '../../src/format/internal-key.ts';
import { type RangeRow, rangeKey, spaceKey, trashKey } from '../../src/format/system-rows.ts';
import { RangeRows } from '../../src/tree/range-rows.ts';

const bytes = fc.uint8Array({ maxLength: 2, max: 3 });
const row = fc
  .record({ a: bytes, b: fc.option(bytes, { nil: undefined, freq: 6 }) })
  .filter(({ a, b }) => b === undefined || compareBytes(a, b) !== 0)
  .map(({ a, b }) => {
    if (b === undefined) return { from: a, to: undefined };
    return compareBytes(a, b) < 0 ? { from: a, to: b } : { from: b, to: a };
  });

function covers({ from, to }: RangeRow, key: Uint8Array): boolean {
  return compareBytes(from, key) <= 0 && (to === undefined || compareBytes(key, to) < 0);
}

function tableOf(minKey: Uint8Array, maxKey: Uint8Array): CatalogTable {
  const sizes = { tree: 4, level: 0, no: 7, size: 1, entries: 1, footerChecksum: 0n };
  return { ...sizes, minKey, maxKey, minSeq: 10, maxSeq: 20 } as unknown as CatalogTable;
}

describe('range rows', () => {
  test('a version is hidden as a search of all ranges says', () => {
    const lookup = fc.record({ key: bytes, seq: fc.nat(30), view: fc.nat(30) });
    const step = fc.record({ range: row, removes: fc.nat(9), lookups: fc.array(lookup, { maxLength: 6 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const rows = new RangeRows([]);
        let model: RangeRow[] = [];
        for (const [i, { range, removes, lookups }] of steps.entries()) {
          const added = { ...range, seq: i + 1, timeMs: 0 };
          rows.add(added);
          model.push(added);
          if (removes < 3) {
            rows.remove(model[0]!.seq, i + 1);
            model = model.slice(1);
          }
          expect(rows.oldest()).toBe(model[0]);
          expect(rows.count).toBe(model.length);
          for (const { key, seq, view } of lookups) {
            const hidden = model.some((one) => covers(one, key) && seq < one.seq && one.seq <= view);
            const padded = Uint8Array.of(9, ...key, 9);
            expect(rows.current.hides(padded, 1, 1 + key.length, seq, view)).toBe(hidden);
          }
        }
      }),
    );
  });

  test('a set stays as it is while ranges come and go', () => {
    const rows = new RangeRows([]);
    const none = rows.current;
    rows.add({ seq: 5, timeMs: 0, from: Uint8Array.of(1), to: undefined });
    const one = rows.current;
    rows.remove(5, 6);
    const key = Uint8Array.of(2);
    expect([none, one, rows.current].map((set) => set.hides(key, 0, 1, 4, 9))).toEqual([false, true, false]);
    expect([none, one, rows.current].map((set) => set.isEmpty)).toEqual([true, false, true]);
  });

  test('a range that is carried out counts among the numbers until its end is durable', () => {
    const rows = new RangeRows([]);
    for (const seq of [7, 5]) rows.add({ seq, timeMs: 0, from: Uint8Array.of(1), to: undefined });
    expect(rows.numbers(0)).toEqual([5, 7]);
    rows.remove(5, 9);
    expect([rows.count, rows.numbers(8), rows.numbers(9), rows.numbers(8)]).toEqual([1, [5, 7], [7], [7]]);
  });

  test('a lost table that may hold a range refuses what the range could hide', () => {
    const key = Uint8Array.of(2);
    const ask = (table: CatalogTable, seq: number, view: number) => () =>
      new RangeRows([table]).current.hides(key, 0, 1, seq, view);
    const last = encodeSysKey(trashKey(20, key, 10), 20);
    const held = tableOf(encodeSysKey(rangeKey(12), 12), last);
    expect(ask(held, 9, 30)).toThrow(
      expect.objectContaining({ code: 'VARVE_CORRUPT', file: expect.any(String) }),
    );
    expect(ask(held, 20, 30)()).toBe(false);
    expect(ask(held, 5, 9)()).toBe(false);
    expect(ask(tableOf(encodeSysKey(spaceKey('a'), 12), last), 9, 30)()).toBe(false);
  });
});
