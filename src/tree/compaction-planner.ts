/**
 * Decides which tables are merged next, from their sizes and key ranges alone.
 *
 * Each tree is leveled. Level 0 holds tables as they were flushed, with ranges that overlap; every deeper
 * level is one sorted run of tables whose row prefixes do not meet. A newer row of a key never lies in a
 * deeper level than an older one, so what goes down from level 0 is always its oldest part.
 *
 * Invariants (test/tree/compaction-planner.test.ts)
 * - A plan names its inputs one by one, all of one tree, and none that is to be avoided ("a plan keeps the
 *   levels sorted and the order of age, whatever the tables are").
 * - With its outputs in place of its inputs the tables of a level stay disjoint and newer rows stay above
 *   older ones (the same test).
 * - Plans come to an end ("plans end, and then nothing is over its bound").
 */
import type { FileNo } from '../base/brands.ts';
import { compareRange } from '../base/bytes.ts';
import { seqBytes } from '../format/internal-key.ts';
import { trees } from '../format/trees.ts';

/** The deepest level: 512 MiB x 8^5 is beyond any disk. */
export const levelMax = 6;
/** One tombstone in so many rows makes a table worth merging early. */
const tombstonesOneIn = 4;
/** Rows rewritten per tombstone dropped, at most, for a merge that only serves to drop them. */
const rewrittenPerTombstone = 8;
/** A table below this share of the target is merged with its neighbours when they are rewritten. */
const smallShare = 4;

/** What a plan needs to know of a table. Keys are internal keys (C: ids), borrowed. */
export interface PlanTable {
  readonly tree: number;
  readonly level: number;
  readonly no: FileNo;
  readonly size: number;
  readonly entries: number;
  /** Rows that are not PUT; C: 0, nothing of it can be dropped. */
  readonly tombstones: number;
  readonly minKey: Uint8Array;
  readonly maxKey: Uint8Array;
  readonly maxSeq: number;
  /** Rewriting it where it lies would drop nothing. */
  readonly settled: boolean;
}

/** Sizes in bytes. */
export interface CompactionLimits {
  /** Tables of level 0 from which on a merge is due. */
  readonly level0Tables: number;
  /** A table made by a merge ends when its rows reach this. */
  readonly tableBytes: number;
  /** What level 1 may hold; each deeper level `levelRatio` times the one above it. */
  readonly level1Bytes: number;
  readonly levelRatio: number;
  /** Tables are added to a merge while all its inputs stay below this; what they overlap comes along. */
  readonly jobBytes: number;
  /** Fewer tombstones than this are not worth a merge of their own. */
  readonly tombstonesMin: number;
}

/** One step: the inputs become tables of `outputLevel`. */
export interface CompactionPlan {
  readonly tree: number;
  readonly outputLevel: number;
  readonly inputs: readonly FileNo[];
  /** The inputs overlap nothing and go down as they are: only the catalog changes. */
  readonly move: boolean;
  readonly reason: 'level0' | 'size' | 'tombstones' | 'full';
  /** Bytes of the inputs. */
  readonly bytes: number;
}

/** How far the tables are behind: what pacing and stats go by. */
export interface CompactionDebt {
  /** Most tables of level 0 any tree has. */
  readonly level0Tables: number;
  /** Bytes of due level 0 tables and of levels beyond what they may hold. */
  readonly bytes: number;
}

interface Due {
  readonly score: number;
  readonly plan: () => CompactionPlan | undefined;
}

/**
 * The most urgent step, or undefined when nothing is due. Tables in `avoid` (in use by another step, or
 * damaged) are left where they are, and nothing is planned that would have to pass them.
 */
export function planCompaction(
  tables: readonly PlanTable[],
  limits: CompactionLimits,
  avoid: ReadonlySet<FileNo>,
): CompactionPlan | undefined {
  const due = levelsOf(tables, limits, avoid).flatMap((levels) => levels.due());
  due.sort((a, b) => b.score - a.score);
  for (const { plan } of due) {
    const found = plan();
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What is over its bound; tables behind an avoided one of level 0 are not counted: nothing can be done. */
export function compactionDebt(
  tables: readonly PlanTable[],
  limits: CompactionLimits,
  avoid: ReadonlySet<FileNo>,
): CompactionDebt {
  let level0Tables = 0;
  let bytes = 0;
  for (const levels of levelsOf(tables, limits, avoid)) {
    const count = levels.free0.length;
    level0Tables = Math.max(level0Tables, count);
    if (count >= limits.level0Tables) bytes += sizeOf(levels.free0);
    for (let level = 1; level < levelMax; level++) bytes += Math.max(0, levels.excess(level));
  }
  return { level0Tables, bytes };
}

/** Row prefixes of two tables of one tree meet. */
export function tablesMeet(a: PlanTable, b: PlanTable): boolean {
  return comparePrefix(a.tree, a.minKey, b.maxKey) <= 0 && comparePrefix(a.tree, b.minKey, a.maxKey) <= 0;
}

/** Orders keys of a tree by what all versions of a row share. */
export function comparePrefix(tree: number, a: Uint8Array, b: Uint8Array): number {
  const tail = tree === trees.C ? 0 : seqBytes;
  return compareRange(a, 0, a.length - tail, b, 0, b.length - tail);
}

function levelsOf(
  tables: readonly PlanTable[],
  limits: CompactionLimits,
  avoid: ReadonlySet<FileNo>,
): TreeLevels[] {
  return Object.values(trees)
    .map((tree) => tables.filter((table) => table.tree === tree))
    .filter((own) => own.length > 0)
    .map((own) => new TreeLevels(own, limits, avoid));
}

/** The tables of one tree, level by level. */
class TreeLevels {
  /** Level 0 up to the first avoided table: oldest first. */
  readonly free0: readonly PlanTable[];
  readonly #tree: number;
  readonly #limits: CompactionLimits;
  readonly #avoid: ReadonlySet<FileNo>;
  /** Levels from 1 on in key order; [0] is level 0, oldest first. */
  readonly #levels: PlanTable[][] = Array.from({ length: levelMax + 1 }, () => []);

  constructor(tables: readonly PlanTable[], limits: CompactionLimits, avoid: ReadonlySet<FileNo>) {
    this.#tree = tables[0]!.tree;
    this.#limits = limits;
    this.#avoid = avoid;
    for (const table of tables) this.#levels[Math.min(table.level, levelMax)]!.push(table);
    this.#levels[0]!.sort((a, b) => a.no - b.no);
    for (const level of this.#levels.slice(1)) {
      level.sort((a, b) => comparePrefix(this.#tree, a.minKey, b.minKey));
    }
    const first = this.#levels[0]!.findIndex(({ no }) => avoid.has(no));
    this.free0 = first === -1 ? this.#levels[0]! : this.#levels[0]!.slice(0, first);
  }

  /** Bytes of a level beyond what it may hold. */
  excess(level: number): number {
    return sizeOf(this.#levels[level]!) - this.#bytesMax(level);
  }

  due(): Due[] {
    const due: Due[] = [];
    const { level0Tables } = this.#limits;
    if (this.free0.length >= level0Tables) {
      due.push({ score: this.free0.length / level0Tables, plan: () => this.#fromLevel0('level0') });
    } else if (this.#isDense(this.free0)) due.push({ score: 0.5, plan: () => this.#sparse0() });
    for (let level = 1; level <= levelMax; level++) {
      const tables = this.#levels[level]!;
      const share = sizeOf(tables) / this.#bytesMax(level);
      if (share > 1 && level < levelMax) due.push({ score: share, plan: () => this.#fromLevel(level) });
      for (const table of tables) {
        if (this.#isDense([table])) due.push({ score: 0.25, plan: () => this.#sparse(level, table) });
      }
    }
    return due;
  }

  #bytesMax(level: number): number {
    return this.#limits.level1Bytes * this.#limits.levelRatio ** (level - 1);
  }

  /** The oldest tables of level 0 that fit a job, with what they meet in level 1. */
  #fromLevel0(reason: CompactionPlan['reason']): CompactionPlan | undefined {
    let count = 0;
    let bytes = 0;
    for (const { size } of this.free0) {
      if (count > 0 && bytes + size > this.#limits.jobBytes) break;
      bytes += size;
      count++;
    }
    for (; count > 0; count--) {
      const run = this.free0.slice(0, count);
      const below = this.#below(1, run);
      if (below === undefined) continue;
      const apart = run.every((a, i) => run.every((b, j) => i === j || !tablesMeet(a, b)));
      const move = below.length === 0 && apart && run.every((table) => !this.#isSmall(table));
      return this.#plan([...run, ...below], 1, move, reason);
    }
    return undefined;
  }

  /** Level 0 for its tombstones, where they are many beside what has to be rewritten for them. */
  #sparse0(): CompactionPlan | undefined {
    const below = this.#below(1, this.free0);
    if (below === undefined || !this.#isWorth(this.free0, below)) return undefined;
    return this.#fromLevel0('tombstones');
  }

  /** The table of a level that is full which has the least to rewrite below it, byte for byte. */
  #fromLevel(level: number): CompactionPlan | undefined {
    let best: { table: PlanTable; below: readonly PlanTable[]; cost: number } | undefined;
    for (const table of this.#levels[level]!) {
      if (this.#avoid.has(table.no)) continue;
      const below = this.#below(level + 1, [table]);
      if (below === undefined) continue;
      const cost = sizeOf(below) / table.size;
      if (best === undefined || cost < best.cost) best = { table, below, cost };
    }
    if (best === undefined) return undefined;
    return this.#plan([best.table, ...best.below], level + 1, best.below.length === 0, 'size');
  }

  /** A table for its tombstones: merged with what they hide, or rewritten where nothing lies under it. */
  #sparse(level: number, table: PlanTable): CompactionPlan | undefined {
    if (this.#avoid.has(table.no)) return undefined;
    const hides = this.#levels.slice(level + 1).some((deeper) => this.#meeting(deeper, [table]).length > 0);
    if (!hides) return table.settled ? undefined : this.#plan([table], level, false, 'tombstones');
    const below = this.#below(level + 1, [table]);
    if (below === undefined || !this.#isWorth([table], below)) return undefined;
    return this.#plan([table, ...below], level + 1, below.length === 0, 'tombstones');
  }

  #isDense(tables: readonly PlanTable[]): boolean {
    const tombstones = tombstonesOf(tables);
    return tombstones >= this.#limits.tombstonesMin && tombstones * tombstonesOneIn >= entriesOf(tables);
  }

  #isWorth(tables: readonly PlanTable[], below: readonly PlanTable[]): boolean {
    return tombstonesOf(tables) * rewrittenPerTombstone >= entriesOf(below);
  }

  #isSmall({ size }: PlanTable): boolean {
    return size * smallShare < this.#limits.tableBytes;
  }

  /**
   * The tables of a level that meet the range of `above`, and small ones beside them, so that levels do not
   * fill with small tables. Undefined when one that would have to be rewritten is to be avoided.
   */
  #below(level: number, above: readonly PlanTable[]): readonly PlanTable[] | undefined {
    const tables = this.#levels[level]!;
    const { from, to } = this.#span(tables, above);
    const met = tables.slice(from, to);
    if (met.some(({ no }) => this.#avoid.has(no))) return undefined;
    const joins = (table: PlanTable | undefined): table is PlanTable =>
      table !== undefined && this.#isSmall(table) && !this.#avoid.has(table.no);
    const before = tables[from - 1];
    const after = tables[to];
    return [...(joins(before) ? [before] : []), ...met, ...(joins(after) ? [after] : [])];
  }

  #meeting(tables: readonly PlanTable[], above: readonly PlanTable[]): readonly PlanTable[] {
    const { from, to } = this.#span(tables, above);
    return tables.slice(from, to);
  }

  /** Where in a sorted level the range of `above` (not empty) begins and ends. */
  #span(tables: readonly PlanTable[], above: readonly PlanTable[]): { from: number; to: number } {
    const tree = this.#tree;
    let { minKey, maxKey } = above[0]!;
    for (const table of above) {
      if (comparePrefix(tree, table.minKey, minKey) < 0) minKey = table.minKey;
      if (comparePrefix(tree, table.maxKey, maxKey) > 0) maxKey = table.maxKey;
    }
    const from = firstWhere(tables, (table) => comparePrefix(tree, table.maxKey, minKey) >= 0);
    const to = firstWhere(tables, (table) => comparePrefix(tree, table.minKey, maxKey) > 0);
    return { from, to: Math.max(from, to) };
  }

  #plan(
    tables: readonly PlanTable[],
    outputLevel: number,
    move: boolean,
    reason: CompactionPlan['reason'],
  ): CompactionPlan {
    const inputs = tables.map(({ no }) => no);
    return { tree: this.#tree, outputLevel, inputs, move, reason, bytes: sizeOf(tables) };
  }
}

/** Index of the first table for which `holds`, which from then on holds for all. */
function firstWhere(tables: readonly PlanTable[], holds: (table: PlanTable) => boolean): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(tables[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function sizeOf(tables: readonly PlanTable[]): number {
  return tables.reduce((sum, { size }) => sum + size, 0);
}

function entriesOf(tables: readonly PlanTable[]): number {
  return tables.reduce((sum, { entries }) => sum + entries, 0);
}

function tombstonesOf(tables: readonly PlanTable[]): number {
  return tables.reduce((sum, { tombstones }) => sum + tombstones, 0);
}
