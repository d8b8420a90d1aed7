/** Opens tables of every tree, and closes them. */
import { corrupt } from '../base/errors.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { isTree, trees } from '../format/trees.ts';
import type { FsPort } from '../fs/port.ts';
import { ChunkTable } from './chunk-table-reader.ts';
import type { TableOpen } from './table-file.ts';
import { KeyTable } from './table-reader.ts';

/** Tables opened at the same time. */
const opensMax = 32;

type Table = KeyTable | ChunkTable;

/** Opens tables a few at a time; every one is in one of the two results. */
export async function openTables(
  fs: FsPort,
  metas: readonly CatalogTable[],
  options: TableOpen,
): Promise<{ opened: Table[]; failed: { meta: CatalogTable; error: unknown }[] }> {
  const opened: Table[] = [];
  const failed: { meta: CatalogTable; error: unknown }[] = [];
  // Where they share the thread with others, one after the other: each has a part that cannot be cut.
  const opens = options.slice === undefined ? opensMax : 1;
  for (let from = 0; from < metas.length; from += opens) {
    const some = metas.slice(from, from + opens);
    const results = await Promise.allSettled(some.map((meta) => openTable(fs, meta, options)));
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') opened.push(result.value);
      else failed.push({ meta: some[i]!, error: result.reason });
    }
  }
  return { opened, failed };
}

async function openTable(fs: FsPort, meta: CatalogTable, how: TableOpen): Promise<Table> {
  if (!isTree(meta.tree)) throw corrupt('table of an unknown tree', { file: filePath('tab', meta.no) });
  if (meta.tree === trees.C) return await ChunkTable.open(fs, meta, how);
  return await KeyTable.open(fs, meta, how);
}

/** Releases tables that nobody else holds, and resolves once their files are closed. */
export async function closeTables(tables: readonly Table[]): Promise<void> {
  for (const table of tables) table.release();
  await Promise.all(tables.map((table) => table.closed()));
}
