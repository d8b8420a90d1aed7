/**
 * The four trees of a store together: they are frozen, flushed and installed as one, because one log feeds
 * them and one catalog names their tables.
 *
 * Invariants
 * - A freeze takes all trees at the same commit ("a freeze parts all trees at one point …").
 * - Reads see every row all the time, before, during and after flush and install ("lookups find every row at
 *   each step of a flush").
 * - A failed flush leaves no table behind and every row in memory ("a failed flush keeps every row and can be
 *   repeated").
 * - A damaged table is reported and does not stop the others ("a damaged table is left out and reported").
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { isVarveError, type VarveError } from '../base/errors.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { isTree, trees } from '../format/trees.ts';
import type { FsPort } from '../fs/port.ts';
import { FrozenChunks } from './chunk-cursor.ts';
import type { ChunkMemtable } from './chunk-memtable.ts';
import { ChunkTable } from './chunk-table-reader.ts';
import { writeChunkTable } from './chunk-table-writer.ts';
import { ChunkTree } from './chunk-tree.ts';
import { HistoryRows } from './history-rows.ts';
import type { KeyMemtable } from './key-memtable.ts';
import { KeyTree } from './key-tree.ts';
import { type MergePace, MergeSlice } from './merge-slice.ts';
import { closeTables, openTables } from './open-tables.ts';
import { PartRoom } from './part-room.ts';
import { RangeRows } from './range-rows.ts';
import type { TableOpen } from './table-file.ts';
import { discardTable, TableScratch } from './table-output.ts';
import { KeyTable } from './table-reader.ts';
import { writeKeyTable } from './table-writer.ts';

const saltBytes = 12;

/** How a forest is opened. */
export interface ForestOptions {
  dbUuid: Uint8Array;
  /** Shared by all tables; may serve other files too. */
  cache: BlockCache;
  /** The forest is `full` once its active memtables together reach this many bytes, 1 .. 1 GiB. */
  memtableBytes: number;
  /** For places of rows that lookups in K have found, see RowMemo. None when omitted. */
  foundRowBytes?: number;
  /** For the filters of all tables, and for their indexes. Unbounded when omitted. */
  tableFilterBytes?: number;
  tableIndexBytes?: number;
  /** What a cursor over a tree reads ahead once it has gone on for a while. Nothing when omitted. */
  scanAheadBytes?: number;
  /** Told of damage that costs no row and is met after the open: of filters. */
  onDamage?: (error: VarveError) => void;
}

/** What every table is opened with. */
interface OpenWith {
  readonly dbUuid: Uint8Array;
  readonly cache: BlockCache;
  readonly filters: PartRoom;
  readonly indexes: PartRoom;
  readonly onDamage?: (error: VarveError) => void;
}

/** Memtables frozen together; a tree that was empty has none. */
export interface FrozenSet {
  readonly keys: KeyMemtable | undefined;
  readonly chunks: ChunkMemtable | undefined;
  readonly indexes: KeyMemtable | undefined;
  readonly system: KeyMemtable | undefined;
}

/** Counts and bytes of a forest. */
export interface ForestStats {
  tables: { K: number; C: number; X: number; S: number };
  /** Tables of each level, level 0 first, up to the deepest that has one. */
  levels: { K: number[]; C: number[]; X: number[]; S: number[] };
  /** Rows of all tables. */
  entries: number;
  /** Bytes of all table files. */
  bytes: number;
  /** Memory: of filters and indexes what counts against their budgets, memtables (active and frozen). */
  filterBytes: number;
  indexBytes: number;
  memtableBytes: number;
}

type Table = KeyTable | ChunkTable;

/** Opened tables on their way into a tree: take one of the two steps. */
export interface PreparedTables {
  readonly swap: () => void;
  readonly discard: () => Promise<void>;
}

/** The trees K, C, X and S. One owner; all methods but those that return promises are synchronous. */
export class Forest {
  readonly keys: KeyTree;
  readonly chunks: ChunkTree;
  readonly indexes: KeyTree;
  readonly system: KeyTree;
  /** Range deletes that hide rows of `keys`; the owner loads them once. */
  readonly ranges: RangeRows;
  /** Policies and named snapshots; the owner loads them once. */
  readonly history: HistoryRows = new HistoryRows();
  readonly #fs: FsPort;
  readonly #options: ForestOptions & OpenWith;
  /** Tables that merges have replaced, until nobody holds them. */
  #replaced: Table[] = [];

  private constructor(
    fs: FsPort,
    options: ForestOptions & OpenWith,
    tables: readonly Table[],
    lost: readonly CatalogTable[],
  ) {
    const { memtableBytes, foundRowBytes = 0, scanAheadBytes = 0 } = options;
    const keyTables = (tree: number): KeyTable[] =>
      tables.filter((table): table is KeyTable => table instanceof KeyTable && table.meta.tree === tree);
    this.#fs = fs;
    this.#options = options;
    const lostOf = (tree: number): CatalogTable[] => lost.filter((table) => table.tree === tree);
    this.ranges = new RangeRows(lostOf(trees.S));
    const keys = keyTables(trees.K);
    const lostKeys = lostOf(trees.K);
    const ahead = scanAheadBytes;
    const { filters } = options;
    this.keys = new KeyTree(memtableBytes, keys, lostKeys, this.ranges, foundRowBytes, ahead, filters);
    const entries = keyTables(trees.X);
    this.indexes = new KeyTree(memtableBytes, entries, lostOf(trees.X), undefined, 0, ahead, filters);
    const rows = keyTables(trees.S);
    this.system = new KeyTree(memtableBytes, rows, lostOf(trees.S), undefined, 0, 0, filters);
    this.chunks = new ChunkTree(
      memtableBytes,
      tables.filter((table): table is ChunkTable => table instanceof ChunkTable),
      filters,
    );
  }

  /**
   * Opens the tables a catalog names. Tables that cannot be opened are left out, each with an error in
   * `damage`: reads that they could have answered are refused, and the caller must refuse writes. `problems`
   * is damage of tables that are served all the same, without a filter. Filters and indexes of all but small
   * tables are read when they are needed: what is damaged there is met as a damaged block is.
   * VARVE_INVALID_ARGUMENT on a bad option.
   */
  static async open(
    fs: FsPort,
    tables: readonly CatalogTable[],
    options: ForestOptions,
  ): Promise<{ forest: Forest; damage: VarveError[]; problems: VarveError[] }> {
    const rooms = {
      filters: new PartRoom(options.tableFilterBytes),
      indexes: new PartRoom(options.tableIndexBytes),
    };
    options.cache.borrow([rooms.filters, rooms.indexes]);
    const { opened, failed } = await openTables(fs, tables, { ...options, ...rooms, isLazy: true });
    const other = failed.find(({ error }) => !isVarveError(error))?.error;
    if (other !== undefined) {
      await closeTables(opened);
      throw other;
    }
    const lost = failed.map(({ meta }) => meta);
    const damage = failed.map(({ error }) => error).filter((error) => isVarveError(error));
    const problems = opened.flatMap((table) => table.problems);
    return { forest: new Forest(fs, { ...options, ...rooms }, opened, lost), damage, problems };
  }

  /** The ordered tree of that number; C is not one. */
  tree(number: number): KeyTree {
    assert(number !== trees.C && isTree(number), 'the tree is one of K, X and S');
    if (number === trees.K) return this.keys;
    return number === trees.X ? this.indexes : this.system;
  }

  /** Bytes of the active memtables. */
  get bytesUsed(): number {
    return this.#actives().reduce((sum, memtable) => sum + memtable.bytesUsed, 0);
  }

  /** Bytes of the active memtables as a share of their budget. */
  get fill(): number {
    return this.bytesUsed / this.#options.memtableBytes;
  }

  /** Time to freeze. Inserts are taken all the same. */
  get full(): boolean {
    return this.fill >= 1;
  }

  /** Freezes all active memtables at once; fresh ones take over. Install frozen sets in their order. */
  freeze(): FrozenSet {
    return {
      keys: this.keys.freeze(),
      chunks: this.chunks.freeze(),
      indexes: this.indexes.freeze(),
      system: this.system.freeze(),
    };
  }

  /**
   * Writes a frozen set to tables of level 0, durable and proven when it resolves; readers notice nothing.
   * `random(n)` gives n random bytes; `pace` as in `prepare`, for the making of filters. On failure no table
   * is left and it may be called again: VARVE_NO_SPACE, VARVE_IO, VARVE_CORRUPT when a table reads back
   * differently.
   */
  async flush(
    frozen: FrozenSet,
    takeFileNo: () => FileNo,
    random: (bytes: number) => Uint8Array,
    pace?: MergePace,
  ): Promise<CatalogTable[]> {
    const written: CatalogTable[] = [];
    const scratch = new TableScratch();
    const shared = pace === undefined ? { scratch } : { scratch, slice: new MergeSlice(pace) };
    const identity = () => ({
      ...shared,
      no: takeFileNo(),
      level: 0,
      dbUuid: this.#options.dbUuid,
      salt: random(saltBytes),
    });
    const flushRows = async (tree: number, memtable: KeyMemtable | undefined): Promise<void> => {
      if (memtable === undefined) return;
      written.push(await writeKeyTable(this.#fs, { ...identity(), tree, rows: memtable.cursor() }));
    };
    try {
      await flushRows(trees.K, frozen.keys);
      if (frozen.chunks !== undefined) {
        const { minSeq, maxSeq, entries } = frozen.chunks;
        const source = { entries: new FrozenChunks(frozen.chunks), entriesMax: entries, minSeq, maxSeq };
        written.push(await writeChunkTable(this.#fs, { ...identity(), ...source }));
      }
      await flushRows(trees.X, frozen.indexes);
      await flushRows(trees.S, frozen.system);
    } catch (error) {
      for (const table of written) await discardTable(this.#fs, filePath('tab', table.no));
      throw error;
    }
    return written;
  }

  /**
   * Opens the tables of a flushed set and puts them in the place of its memtables in one step; views keep
   * what they have. Call it once the catalog that names them is durable. On failure nothing changed. `pace`
   * as in `prepare`.
   */
  async install(frozen: FrozenSet, metas: readonly CatalogTable[], pace?: MergePace): Promise<void> {
    const { opened, failed } = await openTables(this.#fs, metas, this.#paced(pace));
    if (failed.length > 0) {
      await closeTables(opened);
      throw failed[0]!.error;
    }
    const expected = [frozen.keys, frozen.chunks, frozen.indexes, frozen.system].filter(
      (m) => m !== undefined,
    );
    assert(opened.length === expected.length, 'a frozen set is installed with all its tables');
    for (const table of opened) {
      if (table instanceof ChunkTable) {
        assert(frozen.chunks !== undefined, 'a table belongs to a frozen memtable');
        this.chunks.replaceFrozen(frozen.chunks, table);
      } else {
        const memtable = memtableOf(frozen, table.meta.tree);
        assert(memtable !== undefined, 'a table belongs to a frozen memtable');
        this.tree(table.meta.tree).replaceFrozen(memtable, table);
      }
    }
  }

  /** All tables, of every tree; borrowed. */
  get tables(): readonly (KeyTable | ChunkTable)[] {
    const keyTrees = [this.keys, this.indexes, this.system];
    return [...keyTrees.flatMap((tree) => tree.tables), ...this.chunks.tables];
  }

  /** A table that a merge has replaced is still read by somebody: its file must stay. */
  isHeld(no: FileNo): boolean {
    this.#replaced = this.#replaced.filter((table) => table.held);
    return this.#replaced.some((table) => table.no === no);
  }

  /**
   * Opens tables a merge has made (or moved) and gives back the step that puts them in the place of its
   * inputs, to be taken once the catalog that names them is durable. On failure nothing changed. What is read
   * of them takes a hundred ms and more of the thread: with `pace` it is given back in between, and
   * VARVE_ABORTED when it says so.
   */
  async prepare(
    inputs: readonly Table[],
    metas: readonly CatalogTable[],
    pace?: MergePace,
  ): Promise<PreparedTables> {
    const { opened, failed } = await openTables(this.#fs, metas, this.#paced(pace));
    if (failed.length > 0) {
      await closeTables(opened);
      throw failed[0]!.error;
    }
    return {
      swap: () => {
        const first = inputs[0]!;
        if (first instanceof ChunkTable) this.chunks.replaceTables(chunkTables(inputs), chunkTables(opened));
        else this.tree(first.meta.tree).replaceTables(keyTables(inputs), keyTables(opened));
        this.#replaced.push(...inputs);
      },
      discard: () => closeTables(opened),
    };
  }

  /**
   * Forgets the pieces of filters and indexes in memory, which are read again when they are needed, and
   * recent filters, which begin anew with the next memtables.
   */
  dropPieces(): void {
    this.#options.filters.clear();
    this.#options.indexes.clear();
  }

  stats(): ForestStats {
    const keyTrees = [this.keys, this.indexes, this.system];
    const all = this.tables;
    const memtables = [...keyTrees.flatMap((tree) => tree.frozen), ...this.chunks.frozen, ...this.#actives()];
    const sum = (of: (table: Table) => number): number => all.reduce((total, table) => total + of(table), 0);
    return {
      tables: {
        K: this.keys.tables.length,
        C: this.chunks.tables.length,
        X: this.indexes.tables.length,
        S: this.system.tables.length,
      },
      levels: {
        K: levelsOf(this.keys.tables),
        C: levelsOf(this.chunks.tables),
        X: levelsOf(this.indexes.tables),
        S: levelsOf(this.system.tables),
      },
      entries: sum((table) => table.meta.entries),
      bytes: sum((table) => table.meta.size),
      filterBytes: this.#options.filters.used,
      indexBytes: this.#options.indexes.used,
      memtableBytes: memtables.reduce((total, memtable) => total + memtable.bytesUsed, 0),
    };
  }

  /** Releases every table; files that views hold are closed with the last view. Nothing is written. */
  async close(): Promise<void> {
    const all = [...this.tables, ...this.#replaced];
    for (const tree of [this.keys, this.indexes, this.system, this.chunks]) tree.close();
    await Promise.all(all.map((table) => table.closed()));
  }

  #paced(pace: MergePace | undefined): TableOpen {
    return { ...this.#options, slice: pace && new MergeSlice(pace) };
  }

  #actives(): (KeyMemtable | ChunkMemtable)[] {
    return [this.keys.active, this.chunks.active, this.indexes.active, this.system.active];
  }
}

function levelsOf(tables: readonly Table[]): number[] {
  const counts: number[] = [];
  for (const { meta } of tables) {
    while (counts.length <= meta.level) counts.push(0);
    counts[meta.level]!++;
  }
  return counts;
}

function keyTables(tables: readonly Table[]): KeyTable[] {
  return tables.filter((table) => table instanceof KeyTable);
}

function chunkTables(tables: readonly Table[]): ChunkTable[] {
  return tables.filter((table) => table instanceof ChunkTable);
}

function memtableOf(frozen: FrozenSet, tree: number): KeyMemtable | undefined {
  if (tree === trees.K) return frozen.keys;
  return tree === trees.X ? frozen.indexes : frozen.system;
}
