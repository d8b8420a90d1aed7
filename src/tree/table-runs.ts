/**
 * The tables of a tree as sorted runs, in the order in which a lookup asks them: each table of level 0 is a
 * run of its own, newest first, and each deeper level is one run, whose tables cover ranges that do not meet.
 * So a lookup asks one filter in each run, whatever the number of tables.
 *
 * Invariants (test/tree/table-runs.test.ts)
 * - Every table that may hold a key is asked, and at most one in each run ("one table of each run is asked,
 *   and every one that has the key").
 * - A level whose ranges meet all the same is asked table by table ("tables of a level that meet are runs of
 *   their own").
 */
import type { CatalogTable } from '../format/catalog.ts';
import { seqBytes } from '../format/internal-key.ts';
import { trees } from '../format/trees.ts';
import { comparePrefix } from './compaction-planner.ts';
import { RunFences } from './run-fences.ts';
import { newestFirst } from './table-order.ts';

/** Tables of one tree. Replaced, never changed. */
export class TableRuns<T extends { readonly meta: CatalogTable }> {
  /** All tables, newest rows of a key first, as `newestFirst` has them. */
  readonly tables: readonly T[];
  /** How many filters a lookup asks at most. */
  readonly length: number;
  readonly #runs: readonly (readonly T[])[];
  /** Of runs of several tables. */
  readonly #fences: readonly (RunFences | undefined)[];
  readonly #positions: ReadonlyMap<T, number>;

  /** `tables` of one tree in any order. */
  constructor(tables: readonly T[]) {
    this.tables = newestFirst(tables);
    const levels = new Map<number, T[]>();
    for (const table of this.tables) {
      const level = levels.get(table.meta.level);
      if (level === undefined) levels.set(table.meta.level, [table]);
      else level.push(table);
    }
    this.#runs = Array.from(levels, ([level, own]) => (level === 0 ? alone(own) : runsOf(own))).flat();
    this.length = this.#runs.length;
    this.#fences = this.#runs.map((run) => (run.length > 1 ? fencesOf(run) : undefined));
    this.#positions = new Map(this.tables.map((table, i) => [table, i]));
  }

  /** Newest first; the tables of each in the order of their keys. */
  get runs(): readonly (readonly T[])[] {
    return this.#runs;
  }

  /** Where one of the tables stands among `tables`. */
  positionOf(table: T): number {
    return this.#positions.get(table)!;
  }

  /**
   * The one table of a run that may have the row prefix, or chunk id, buf[from..to); undefined when none
   * does. Allocates nothing.
   */
  tableOf(run: number, buf: Uint8Array, from: number, to: number): T | undefined {
    const tables = this.#runs[run]!;
    // A table alone is left to its filter: in level 0 nearly every one covers nearly every key.
    if (tables.length === 1) return tables[0];
    const table = this.#fences[run]!.find(buf, from, to);
    return table === -1 ? undefined : tables[table];
  }
}

function alone<T>(tables: readonly T[]): T[][] {
  return tables.map((table) => [table]);
}

/** A level in the order of its keys. */
function runsOf<T extends { readonly meta: CatalogTable }>(tables: readonly T[]): T[][] {
  const { tree } = tables[0]!.meta;
  const sorted = [...tables].sort((a, b) => comparePrefix(tree, a.meta.minKey, b.meta.minKey));
  const meet = sorted.some(
    ({ meta }, i) => i > 0 && comparePrefix(tree, sorted[i - 1]!.meta.maxKey, meta.minKey) >= 0,
  );
  return meet ? alone(tables) : [sorted];
}

function fencesOf<T extends { readonly meta: CatalogTable }>(run: readonly T[]): RunFences {
  const tail = run[0]!.meta.tree === trees.C ? 0 : seqBytes;
  const plain = (key: Uint8Array): Uint8Array => key.subarray(0, key.length - tail);
  return new RunFences(
    run.map(({ meta }) => plain(meta.minKey)),
    run.map(({ meta }) => plain(meta.maxKey)),
  );
}
