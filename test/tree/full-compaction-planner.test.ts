import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { trees } from '../../src/format/trees.ts';
import { type CompactionPlan, comparePrefix, type PlanTable } from '../../src/tree/compaction-planner.ts';
import { planFull } from '../../src/tree/full-compaction-planner.ts';
import { keyOf } from './table-kit.ts';

const limits = {
  level0Tables: 3,
  tableBytes: 40,
  level1Bytes: 80,
  levelRatio: 3,
  jobBytes: 100,
  tombstonesMin: 4,
};
const none: ReadonlySet<number> = new Set();

interface Row {
  readonly key: string;
  readonly seq: number;
  readonly dead: boolean;
}

interface ModelTable extends PlanTable {
  readonly rows: readonly Row[];
  readonly fresh: boolean;
}

let nextNo = 1;

/** Rows in order, as one table of 10 "bytes" a row. */
function tableOf(tree: number, level: number, rows: readonly Row[], fresh = false): ModelTable {
  return {
    tree,
    level,
    no: nextNo++,
    size: 10 * rows.length,
    entries: rows.length,
    tombstones: 0,
    minKey: keyOf(rows[0]!),
    maxKey: keyOf(rows.at(-1)!),
    maxSeq: Math.max(...rows.map(({ seq }) => seq)),
    settled: level > 0,
    rows,
    fresh,
  };
}

const inOrder = (a: Row, b: Row): number => (a.key === b.key ? b.seq - a.seq : a.key < b.key ? -1 : 1);

/** Three tables of overlapping keys in level 0 and sorted ones in the levels below, older rows deeper. */
function randomTables(seed: number): ModelTable[] {
  const prng = new Prng(seed);
  let seq = 0;
  const rowsOf = (count: number): Row[] =>
    Array.from({ length: count }, () => ({ key: `k${prng.below(30)}`, seq: ++seq, dead: false })).sort(
      inOrder,
    );
  const tables: ModelTable[] = [];
  for (const tree of [trees.K, trees.S]) {
    for (const level of [3, 2, 1]) {
      if (prng.chance(0.3)) continue;
      const rows = rowsOf(1 + prng.below(12));
      for (let from = 0; from < rows.length; ) {
        let to = Math.min(rows.length, from + 1 + prng.below(5));
        // All versions of a key stay in one table.
        while (to < rows.length && rows[to]!.key === rows[to - 1]!.key) to++;
        tables.push(tableOf(tree, level, rows.slice(from, to)));
        from = to;
      }
    }
    for (let n = prng.below(6); n > 0; n--) tables.push(tableOf(tree, 0, rowsOf(1 + prng.below(6))));
  }
  return tables;
}

function applied(tables: readonly ModelTable[], plan: CompactionPlan): ModelTable[] {
  const inputs = tables.filter(({ no }) => plan.inputs.includes(no));
  const kept = tables.filter((table) => !inputs.includes(table));
  expect(inputs).toHaveLength(plan.inputs.length);
  const { tree, outputLevel } = plan;
  if (plan.move) return [...kept, ...inputs.map((table) => ({ ...table, level: outputLevel }))];
  const rows = inputs.flatMap((table) => table.rows).sort(inOrder);
  return [...kept, tableOf(tree, outputLevel, rows, true)];
}

function checkSorted(tables: readonly ModelTable[]): void {
  for (const level of new Set(tables.map((table) => table.level))) {
    if (level === 0) continue;
    for (const tree of [trees.K, trees.S]) {
      const own = tables.filter((table) => table.tree === tree && table.level === level);
      own.sort((a, b) => comparePrefix(tree, a.minKey, b.minKey));
      own.forEach((table, i) => {
        if (i > 0) expect(comparePrefix(tree, own[i - 1]!.maxKey, table.minKey)).toBeLessThan(0);
      });
    }
  }
}

/** A newer row of a key is never deeper than an older one. */
function checkAge(tables: readonly ModelTable[]): void {
  for (const above of tables) {
    for (const below of tables) {
      if (above.tree !== below.tree || above.level >= below.level) continue;
      for (const { key, seq } of below.rows)
        for (const row of above.rows) if (row.key === key) expect(row.seq).toBeGreaterThan(seq);
    }
  }
}

test('plans end with one level of each tree', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      let tables = randomTables(seed);
      const before = tables.flatMap(({ rows }) => rows).length;
      let steps = 0;
      for (;;) {
        const plan = planFull(tables, limits, none, (table) => !(table as ModelTable).fresh);
        if (plan === undefined) break;
        tables = applied(tables, plan);
        checkSorted(tables);
        checkAge(tables);
        if (++steps > 500) throw new Error('it does not end');
      }
      expect(tables.flatMap(({ rows }) => rows)).toHaveLength(before);
      for (const tree of [trees.K, trees.S]) {
        const levels = new Set(tables.filter((table) => table.tree === tree).map(({ level }) => level));
        expect(levels.size).toBeLessThanOrEqual(1);
        expect(levels.has(0)).toBe(false);
      }
    }),
    { numRuns: 60 },
  );
});

test('tables to be left alone are in no plan', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      let tables = randomTables(seed);
      const avoid = new Set(tables.filter(({ no }) => no % 4 === 0).map(({ no }) => no));
      for (let steps = 0; ; steps++) {
        const plan = planFull(tables, limits, avoid, (table) => !(table as ModelTable).fresh);
        if (plan === undefined) break;
        expect(plan.inputs.some((no) => avoid.has(no))).toBe(false);
        tables = applied(tables, plan);
        // Numbers of new tables must not be those to avoid.
        for (const { no, fresh } of tables) if (fresh) avoid.delete(no);
        checkSorted(tables);
        checkAge(tables);
        if (steps > 500) throw new Error('it does not end');
      }
    }),
    { numRuns: 40 },
  );
});
