import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import { trees } from '../../src/format/trees.ts';
import {
  type CompactionLimits,
  type CompactionPlan,
  compactionDebt,
  comparePrefix,
  levelMax,
  type PlanTable,
  planCompaction,
  tablesMeet,
} from '../../src/tree/compaction-planner.ts';
import { keyOf } from './table-kit.ts';

const limits: CompactionLimits = {
  level0Tables: 3,
  tableBytes: 40,
  level1Bytes: 80,
  levelRatio: 3,
  jobBytes: 100,
  tombstonesMin: 4,
};

interface Row {
  key: string;
  seq: number;
  dead: boolean;
}

/** A table that knows its rows; 10 "bytes" per row. */
interface ModelTable extends PlanTable {
  readonly rows: readonly Row[];
}

let nextNo = 1;

function tableOf(rows: readonly Row[], level: number, tree: number = trees.K): ModelTable {
  const sorted = rows.toSorted((a, b) => compareBytes(keyOf(a), keyOf(b)));
  return {
    tree,
    level,
    no: nextNo++,
    size: 10 * rows.length,
    entries: rows.length,
    tombstones: rows.filter(({ dead }) => dead).length,
    minKey: keyOf(sorted[0]!),
    maxKey: keyOf(sorted.at(-1)!),
    maxSeq: Math.max(...rows.map(({ seq }) => seq)),
    settled: level > 0,
    rows: sorted,
  };
}

/** What the executor would make: all rows, cut between keys. */
function apply(tables: readonly ModelTable[], plan: CompactionPlan): ModelTable[] {
  const inputs = tables.filter(({ no }) => plan.inputs.includes(no));
  const kept = tables.filter((table) => !inputs.includes(table));
  if (plan.move) return [...kept, ...inputs.map((table) => ({ ...table, level: plan.outputLevel }))];
  const rows = inputs.flatMap((table) => table.rows);
  rows.sort((a, b) => compareBytes(keyOf(a), keyOf(b)));
  const outputs: ModelTable[] = [];
  let part: Row[] = [];
  for (const row of rows) {
    if (part.length * 10 >= limits.tableBytes && part.at(-1)!.key !== row.key) {
      outputs.push(tableOf(part, plan.outputLevel, plan.tree));
      part = [];
    }
    part.push(row);
  }
  outputs.push(tableOf(part, plan.outputLevel, plan.tree));
  return [...kept, ...outputs];
}

function check(tables: readonly ModelTable[]): void {
  for (const [i, a] of tables.entries()) {
    for (const b of tables.slice(i + 1)) {
      if (a.tree !== b.tree) continue;
      if (a.level === b.level && a.level > 0) expect(tablesMeet(a, b)).toBe(false);
      const [upper, lower] = a.level < b.level ? [a, b] : [b, a];
      if (upper.level === lower.level) continue;
      for (const row of upper.rows) {
        for (const old of lower.rows) if (old.key === row.key) expect(old.seq).toBeLessThan(row.seq);
      }
    }
  }
}

const flushes = fc.array(
  fc.record({
    tree: fc.constantFrom(trees.K, trees.K, trees.S),
    keys: fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 8 }),
    dead: fc.integer({ min: 0, max: 8 }),
    avoid: fc.boolean(),
    rounds: fc.integer({ min: 0, max: 3 }),
  }),
  { minLength: 1, maxLength: 40 },
);

describe('compaction planner', () => {
  test('a plan keeps the levels sorted and the order of age, whatever the tables are', () => {
    fc.assert(
      fc.property(flushes, (steps) => {
        let tables: ModelTable[] = [];
        let seq = 0;
        const avoid = new Set<number>();
        for (const { tree, keys, dead, avoid: avoids, rounds } of steps) {
          const rows = keys.map((n, i) => ({ key: `k${n + 10}`, seq: ++seq, dead: i < dead }));
          const table = tableOf(rows, 0, tree);
          tables.push(table);
          if (avoids && avoid.size < 2) avoid.add(table.no);
          for (let i = 0; i < rounds; i++) {
            const plan = planCompaction(tables, limits, avoid);
            if (plan === undefined) break;
            expect(plan.inputs.some((no) => avoid.has(no))).toBe(false);
            expect(new Set(plan.inputs).size).toBe(plan.inputs.length);
            const inputs = tables.filter(({ no }) => plan.inputs.includes(no));
            expect(inputs.length).toBe(plan.inputs.length);
            expect(inputs.every((input) => input.tree === plan.tree)).toBe(true);
            expect(plan.bytes).toBe(inputs.reduce((sum, { size }) => sum + size, 0));
            const count = tables.reduce((sum, { entries }) => sum + entries, 0);
            tables = apply(tables, plan);
            expect(tables.reduce((sum, { entries }) => sum + entries, 0)).toBe(count);
            check(tables);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test('plans end, and then nothing is over its bound', () => {
    fc.assert(
      fc.property(flushes, (steps) => {
        let seq = 0;
        let tables = steps.map(({ tree, keys, dead }) =>
          tableOf(
            keys.map((n, i) => ({ key: `k${n + 10}`, seq: ++seq, dead: i < dead })),
            0,
            tree,
          ),
        );
        const none = new Set<number>();
        let plans = 0;
        for (;;) {
          const plan = planCompaction(tables, limits, none);
          if (plan === undefined) break;
          tables = apply(tables, plan);
          expect(++plans).toBeLessThan(1000);
        }
        check(tables);
        expect(compactionDebt(tables, limits, none).bytes).toBe(0);
        expect(compactionDebt(tables, limits, none).level0Tables).toBeLessThan(limits.level0Tables);
      }),
      { numRuns: 100 },
    );
  });

  const row = (key: string, seq: number, dead = false): Row => ({ key, seq, dead });
  const rows = (from: number, count: number, seq: number, dead = false): Row[] =>
    Array.from({ length: count }, (_, i) => row(`k${from + i}`, seq + i, dead));
  const none: ReadonlySet<number> = new Set();

  test('tables that overlap nothing go down as they are, unless they are small', () => {
    const large = [tableOf(rows(100, 4, 1), 0), tableOf(rows(200, 4, 11), 0), tableOf(rows(300, 4, 21), 0)];
    expect(planCompaction(large, limits, none)).toMatchObject({ move: true, outputLevel: 1 });
    const small = large.map((table, i) => (i === 1 ? { ...table, size: 9 } : table));
    expect(planCompaction(small, limits, none)).toMatchObject({ move: false, outputLevel: 1 });
  });

  test('a merge takes the oldest tables of level 0 that fit a job', () => {
    const tables = [1, 11, 21, 31].map((seq) => tableOf(rows(100, 4, seq), 0));
    const plan = planCompaction(tables, limits, none);
    expect(plan?.inputs).toEqual([tables[0]!.no, tables[1]!.no]);
  });

  test('nothing newer passes a table of level 0 that is to be avoided', () => {
    const tables = [1, 11, 21, 31, 41, 51].map((seq) => tableOf(rows(100, 2, seq), 0));
    expect(planCompaction(tables, limits, new Set([tables[0]!.no]))).toBe(undefined);
    expect(compactionDebt(tables, limits, new Set([tables[0]!.no]))).toEqual({ level0Tables: 0, bytes: 0 });
    const plan = planCompaction(tables, limits, new Set([tables[3]!.no]));
    expect(plan?.inputs).toEqual(tables.slice(0, 3).map(({ no }) => no));
  });

  test('a small neighbour joins a merge, so that levels do not fill with small tables', () => {
    const beside = { ...tableOf(rows(300, 1, 1), 1), size: 9 };
    const far = { ...tableOf(rows(500, 1, 2), 1), size: 9 };
    const fresh = [11, 21, 31].map((seq) => tableOf(rows(400, 1, seq), 0));
    const plan = planCompaction([far, beside, ...fresh], limits, none);
    expect(new Set(plan?.inputs)).toEqual(new Set([...fresh.map(({ no }) => no), beside.no, far.no]));
  });

  test('a full level sends down the table with the least below it', () => {
    const cheap = tableOf(rows(200, 4, 31), 1);
    const tables = [
      tableOf(rows(100, 4, 21), 1),
      cheap,
      tableOf(rows(300, 4, 41), 1),
      tableOf(rows(100, 4, 1), 2),
      tableOf(rows(300, 4, 11), 2),
    ];
    expect(planCompaction(tables, limits, none)).toMatchObject({
      inputs: [cheap.no],
      outputLevel: 2,
      move: true,
      reason: 'size',
    });
  });

  test('many tombstones start a merge with what they hide', () => {
    const old = tableOf(rows(100, 8, 1), 1);
    const fresh = tableOf(rows(100, 8, 11, true), 0);
    expect(planCompaction([old, fresh], limits, none)).toMatchObject({
      inputs: [fresh.no, old.no],
      reason: 'tombstones',
    });
    const few = tableOf([...rows(100, 3, 31, true), ...rows(200, 3, 41)], 0);
    expect(planCompaction([old, few], limits, none)).toBe(undefined);
  });

  test('tombstones with nothing under them are rewritten once, and not where that drops nothing', () => {
    const dead = tableOf(rows(100, 8, 1, true), 1);
    expect(planCompaction([{ ...dead, settled: false }], limits, none)).toMatchObject({
      inputs: [dead.no],
      outputLevel: 1,
      move: false,
    });
    expect(planCompaction([dead], limits, none)).toBe(undefined);
    const deep = tableOf(rows(100, 8, 1, true), levelMax);
    expect(planCompaction([{ ...deep, settled: false }], limits, none)?.outputLevel).toBe(levelMax);
  });

  test('tombstones that are few beside what they would rewrite wait', () => {
    const old = { ...tableOf(rows(100, 60, 1), 2), size: 90 };
    const fresh = tableOf([row('k100', 91, true), row('k101', 92, true), ...rows(110, 2, 93, true)], 1);
    expect(planCompaction([old, fresh], limits, none)).toBe(undefined);
  });

  test('versions of one key are one place, ids of chunks are compared whole', () => {
    expect(comparePrefix(trees.K, keyOf(row('a', 1)), keyOf(row('a', 9)))).toBe(0);
    expect(comparePrefix(trees.C, Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(-1);
  });
});
