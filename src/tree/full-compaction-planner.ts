/**
 * Decides the next step on the way to trees of one sorted run each: what a full compaction does beyond what
 * is due by itself (compaction-planner.ts).
 *
 * Invariants (test/tree/full-compaction-planner.test.ts)
 * - Plans keep the levels sorted and the order of age, and come to an end with one level of each tree ("plans
 *   end with one level of each tree").
 */
import type { FileNo } from '../base/brands.ts';
import { trees } from '../format/trees.ts';
import {
  type CompactionLimits,
  type CompactionPlan,
  comparePrefix,
  type PlanTable,
  tablesMeet,
} from './compaction-planner.ts';

/**
 * The next step, or undefined when each tree is one level of which no table is worth rewriting. Tables in
 * `avoid` stay where they are, and nothing is planned that would have to pass them.
 */
export function planFull(
  tables: readonly PlanTable[],
  limits: CompactionLimits,
  avoid: ReadonlySet<FileNo>,
  isWorth: (table: PlanTable) => boolean,
): CompactionPlan | undefined {
  for (const tree of Object.values(trees)) {
    const own = tables.filter((table) => table.tree === tree);
    const plan = fromLevel0(own, limits, avoid) ?? downOne(own, avoid) ?? rewrite(own, avoid, isWorth);
    if (plan !== undefined) return plan;
  }
  return undefined;
}

/** The oldest tables of level 0 that fit a job, with what they meet in level 1. */
function fromLevel0(
  tables: readonly PlanTable[],
  { jobBytes }: CompactionLimits,
  avoid: ReadonlySet<FileNo>,
): CompactionPlan | undefined {
  const all = atLevel(tables, 0).sort((a, b) => a.no - b.no);
  const first = all.findIndex(({ no }) => avoid.has(no));
  const free = first === -1 ? all : all.slice(0, first);
  let count = 0;
  let bytes = 0;
  while (count < free.length && (count === 0 || bytes + free[count]!.size <= jobBytes)) {
    bytes += free[count]!.size;
    count++;
  }
  for (; count > 0; count--) {
    const run = free.slice(0, count);
    const below = meeting(atLevel(tables, 1), run);
    if (below.some(({ no }) => avoid.has(no))) continue;
    return planOf([...run, ...below], 1, count === 1 && below.length === 0);
  }
  return undefined;
}

/** A table of the shallowest level, while there is a deeper one: down by one level. */
function downOne(tables: readonly PlanTable[], avoid: ReadonlySet<FileNo>): CompactionPlan | undefined {
  const levels = Array.from(new Set(tables.map(({ level }) => level)))
    .filter((level) => level > 0)
    .sort((a, b) => a - b);
  const [level] = levels;
  if (level === undefined || levels.length === 1) return undefined;
  for (const table of atLevel(tables, level)) {
    const below = meeting(atLevel(tables, level + 1), [table]);
    if ([table, ...below].some(({ no }) => avoid.has(no))) continue;
    return planOf([table, ...below], level + 1, below.length === 0);
  }
  return undefined;
}

function rewrite(
  tables: readonly PlanTable[],
  avoid: ReadonlySet<FileNo>,
  isWorth: (table: PlanTable) => boolean,
): CompactionPlan | undefined {
  const table = tables.find((each) => each.level > 0 && !avoid.has(each.no) && isWorth(each));
  return table === undefined ? undefined : planOf([table], table.level, false);
}

function atLevel(tables: readonly PlanTable[], level: number): PlanTable[] {
  return tables.filter((table) => table.level === level);
}

/**
 * Tables of a sorted level within the range that `above` spans as a whole: its outputs may fill all of it.
 */
function meeting(level: readonly PlanTable[], above: readonly PlanTable[]): PlanTable[] {
  const [first] = above;
  if (first === undefined) return [];
  let { minKey, maxKey } = first;
  for (const table of above) {
    if (comparePrefix(table.tree, table.minKey, minKey) < 0) minKey = table.minKey;
    if (comparePrefix(table.tree, table.maxKey, maxKey) > 0) maxKey = table.maxKey;
  }
  const span = { ...first, minKey, maxKey };
  return level.filter((table) => tablesMeet(span, table));
}

function planOf(tables: readonly PlanTable[], outputLevel: number, move: boolean): CompactionPlan {
  const inputs = tables.map(({ no }) => no);
  const bytes = tables.reduce((sum, { size }) => sum + size, 0);
  return { tree: tables[0]!.tree, outputLevel, inputs, move, reason: 'full', bytes };
}
