import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { encodeRowPrefix } from '../../src/format/internal-key.ts';
import { trees } from '../../src/format/trees.ts';
import { RunFences } from '../../src/tree/run-fences.ts';
import { TableRuns } from '../../src/tree/table-runs.ts';
import { keyOf, prefixOf } from './table-kit.ts';

interface Fake {
  readonly meta: CatalogTable;
  readonly keys: readonly number[];
}

const text = (n: number): string => `k${String(n).padStart(4, '0')}`;

function table(no: number, level: number, keys: readonly number[]): Fake {
  const [first, last] = [Math.min(...keys), Math.max(...keys)];
  const meta = {
    ...{ tree: trees.K, level, no, size: 100, entries: keys.length, minSeq: 1, maxSeq: 9, checksum: 0n },
    minKey: keyOf({ key: text(first), seq: 9 }),
    maxKey: keyOf({ key: text(last), seq: 1 }),
  };
  return { meta, keys };
}

function asked(runs: TableRuns<Fake>, key: number): Fake[] {
  const prefix = prefixOf(text(key));
  const found: Fake[] = [];
  for (let run = 0; run < runs.length; run++) {
    const one = runs.tableOf(run, prefix, 0, prefix.length);
    if (one !== undefined) found.push(one);
  }
  return found;
}

/** Tables of level 0 with any keys, and levels cut out of sorted keys. */
const tablesArb = fc
  .record({
    level0: fc.array(fc.uniqueArray(fc.nat(300), { minLength: 1, maxLength: 20 }), { maxLength: 5 }),
    deep: fc.array(
      fc.record({
        keys: fc.uniqueArray(fc.nat(300), { minLength: 1, maxLength: 60 }),
        each: fc.integer({ min: 1, max: 9 }),
      }),
      { maxLength: 3 },
    ),
  })
  .map(({ level0, deep }) => {
    let no = 1;
    const tables = level0.map((keys) => table(no++, 0, keys));
    for (const [i, { keys, each }] of deep.entries()) {
      const sorted = [...keys].sort((a, b) => a - b);
      for (let at = 0; at < sorted.length; at += each) {
        tables.push(table(no++, i + 1, sorted.slice(at, at + each)));
      }
    }
    return tables;
  });

describe('runs of tables', () => {
  test('one table of each run is asked, and every one that has the key', () => {
    fc.assert(
      fc.property(tablesArb, fc.nat(310), (tables, key) => {
        const runs = new TableRuns(tables);
        const levels = new Set(tables.map(({ meta }) => meta.level).filter((level) => level > 0));
        expect(runs.length).toBe(tables.filter(({ meta }) => meta.level === 0).length + levels.size);
        const found = asked(runs, key);
        const having = tables.filter(({ keys }) => keys.includes(key));
        for (const one of having) expect(found).toContain(one);
        const order = found.map((one) => runs.positionOf(one));
        expect(order).toEqual([...order].sort((a, b) => a - b));
        expect(runs.tables[runs.positionOf(found[0] ?? tables[0]!)] ?? 0).toBe(found[0] ?? tables[0] ?? 0);
      }),
    );
  });

  test('keys that begin alike and keys of any length find their table', () => {
    const byteArb = fc.constantFrom(0, 1, 255);
    const keyArb = fc.array(byteArb, { maxLength: 10 });
    const startArb = fc.array(byteArb, { maxLength: 9 });
    fc.assert(
      fc.property(
        startArb,
        fc.array(keyArb, { minLength: 2, maxLength: 30 }),
        keyArb,
        (start, ends, other) => {
          const all = [...ends, other].map((end) => encodeRowPrefix(0, Uint8Array.from([...start, ...end])));
          const probes = [
            ...all,
            encodeRowPrefix(0, Uint8Array.from(other)),
            prefixOf('k'),
            new Uint8Array(0),
          ];
          const sorted = all
            .sort(compareBytes)
            .filter((key, i) => i === 0 || compareBytes(all[i - 1]!, key) < 0);
          const firsts = sorted.filter((_, i) => i % 2 === 0);
          const lasts = firsts.map((first, i) => sorted[2 * i + 1] ?? first);
          const fences = new RunFences(firsts, lasts);
          for (const probe of probes) {
            const expected = firsts.findIndex(
              (first, i) => compareBytes(first, probe) <= 0 && compareBytes(probe, lasts[i]!) <= 0,
            );
            const padded = Uint8Array.of(7, ...probe, 7);
            expect(fences.find(padded, 1, padded.length - 1)).toBe(expected);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('tables of a level that meet are runs of their own', () => {
    const tables = [table(1, 1, [1, 2, 5]), table(2, 1, [5, 6]), table(3, 2, [1]), table(4, 2, [2, 3])];
    const runs = new TableRuns(tables);
    expect(runs.length).toBe(3);
    expect(asked(runs, 5).map(({ meta }) => meta.no)).toEqual([2, 1]);
    expect(asked(runs, 2).map(({ meta }) => meta.no)).toEqual([2, 1, 4]);
  });
});
