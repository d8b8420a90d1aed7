/** Rows of a damaged store: of its tables, as far as they are whole, and of the log behind them. */
import type { FileNo } from '../base/brands.ts';
import { BlockCache } from '../cache/block-cache.ts';
import type { Catalog, CatalogTable } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { trees } from '../format/trees.ts';
import type { FsPort } from '../fs/port.ts';
import type { KeyCursor } from '../tree/cursor.ts';
import type { KeyMemtable } from '../tree/key-memtable.ts';
import { MergeCursor } from '../tree/merge-cursor.ts';
import { KeyTable } from '../tree/table-reader.ts';
import { type SalvagedTable, salvageTable, salvageUnnamed } from './salvage.ts';
import { DistinctRows, SpanRows } from './span-rows.ts';

/** The ordered trees; the chunk index is made anew. */
export const rowTrees: readonly number[] = [trees.K, trees.X, trees.S];

export class TableRows {
  /** Newest rows of a key first. */
  readonly tables: readonly SalvagedTable[];
  readonly #fs: FsPort;
  readonly #open: Map<FileNo, KeyTable>;

  private constructor(fs: FsPort, tables: readonly SalvagedTable[], open: Map<FileNo, KeyTable>) {
    this.#fs = fs;
    this.tables = tables;
    this.#open = open;
  }

  /** Reads every table: those of the catalog, or where there is none those of `numbers`. Close it. */
  static async read(
    fs: FsPort,
    catalog: Catalog | undefined,
    numbers: readonly FileNo[],
    dbUuid: Uint8Array,
  ): Promise<TableRows> {
    const tables: SalvagedTable[] = [];
    if (catalog === undefined) {
      for (const no of numbers) {
        const table = await salvageUnnamed(fs, no, dbUuid);
        if (table !== undefined && table.tree !== trees.C) tables.push(table);
      }
    } else {
      for (const meta of catalog.tables) {
        if (rowTrees.includes(meta.tree)) tables.push(await salvageTable(fs, meta, dbUuid));
      }
    }
    tables.sort((a, b) => a.level - b.level || b.no - a.no);
    const open = new Map<FileNo, KeyTable>();
    const rows = new TableRows(fs, tables, open);
    try {
      for (const { no, isWhole, meta } of tables) {
        if (isWhole) open.set(no, await KeyTable.open(fs, meta!, { dbUuid, cache: new BlockCache(0) }));
      }
    } catch (error) {
      await rows.close();
      throw error;
    }
    return rows;
  }

  of(tree: number): readonly SalvagedTable[] {
    return this.tables.filter((table) => table.tree === tree);
  }

  /** Every table of the tree can stay as it is. */
  isWhole(tree: number): boolean {
    return this.of(tree).every((table) => table.isWhole);
  }

  /** Rows of the tree may be lost. */
  hasLost(tree: number): boolean {
    return this.of(tree).some(({ gaps, isUnknownLoss }) => gaps.length > 0 || isUnknownLoss);
  }

  metasOf(tree: number): CatalogTable[] {
    return this.of(tree).map(({ meta }) => meta!);
  }

  wholeMetasOf(tree: number): CatalogTable[] {
    return this.of(tree).flatMap(({ isWhole, meta }) => (isWhole ? [meta!] : []));
  }

  /** All rows of a tree, those in memory being the newest; `keep` leaves some out. */
  rows(tree: number, memtable: KeyMemtable, keep?: (rows: KeyCursor) => boolean): KeyCursor {
    const sources: KeyCursor[] = memtable.entries > 0 ? [memtable.cursor()] : [];
    for (const table of this.of(tree)) {
      const open = this.#open.get(table.no);
      if (open !== undefined) sources.push(open.scan());
      else if (table.blocks.length > 0) sources.push(new SpanRows(this.#fs, table));
    }
    return new DistinctRows(new MergeCursor(sources), keep);
  }

  /** Idempotent; nothing may be read after it. */
  async close(): Promise<void> {
    const tables = Array.from(this.#open.values());
    this.#open.clear();
    for (const table of tables) {
      table.release();
      await table.closed();
    }
  }
}

/** What is lost with tables, in words and as ranges of keys. */
export function lossOf(
  rows: TableRows,
  keyText: (rowKey: Uint8Array) => string,
): { keyRanges: { from: string; to: string }[]; other: string[] } {
  const keyRanges: { from: string; to: string }[] = [];
  const other: string[] = [];
  for (const { no, tree, gaps, isUnknownLoss } of rows.tables) {
    if (tree === trees.K)
      for (const { from, to } of gaps) keyRanges.push({ from: keyText(from), to: keyText(to) });
    else if (gaps.length > 0)
      other.push(
        `${gaps.length} blocks of ${tree === trees.S ? 'system' : 'index'} rows in ${filePath('tab', no)}`,
      );
    if (isUnknownLoss) other.push(`rows of ${filePath('tab', no)}: nothing tells which`);
  }
  return { keyRanges, other };
}
