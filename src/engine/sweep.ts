/** Files in a store's directories that no catalog names: what an interrupted writer left. */
import type { FileNo } from '../base/brands.ts';
import type { CatalogStore } from '../catalog/catalog-store.ts';
import type { Catalog } from '../format/catalog.ts';
import { fileDir, filePath, type NumberedKind, parseFileName } from '../format/file-names.ts';
import type { FsPort } from '../fs/port.ts';

interface Numbered {
  readonly kind: NumberedKind;
  readonly no: FileNo;
}

/** Highest file number in use anywhere, `quarantine/` included: new files are numbered above it. */
export async function highestFileNo(fs: FsPort): Promise<FileNo> {
  let highest = 0;
  for (const dir of ['cat', 'wal', 'tab', 'seg', 'quarantine']) {
    for await (const { no } of numberedFiles(fs, dir)) highest = Math.max(highest, no);
  }
  return highest;
}

/**
 * Removes tables and segments that neither the current nor the previous catalog names, and everything in
 * `tmp/`. With `keep` (the catalogs were damaged) they move to `quarantine/` instead. Call after an install.
 */
export async function sweep(fs: FsPort, catalogs: CatalogStore, keep: boolean): Promise<void> {
  const named = new Set<string>();
  for (const catalog of [catalogs.catalog, catalogs.previous])
    if (catalog !== undefined) addNamed(named, catalog);
  for (const dir of ['tab', 'seg'] as const) {
    for await (const { kind, no } of numberedFiles(fs, dir)) {
      const path = filePath(kind, no);
      if (named.has(path)) continue;
      if (keep) {
        await fs.rename(path, `quarantine/${path.slice(path.lastIndexOf('/') + 1)}`);
        await fs.syncDir('quarantine');
      } else await fs.unlink(path);
      await fs.syncDir(fileDir(kind, no));
    }
  }
  const leftovers = await fs.list('tmp');
  for (const { name, kind } of leftovers) if (kind === 'file') await fs.unlink(`tmp/${name}`);
  if (leftovers.length > 0) await fs.syncDir('tmp');
}

function addNamed(named: Set<string>, { tables, sealed, unsealed, dropped }: Catalog): void {
  for (const { no } of tables) named.add(filePath('tab', no));
  for (const { no } of [...sealed, ...unsealed]) named.add(filePath('seg', no));
  for (const { kind, no } of dropped) named.add(filePath(kind, no));
}

/** Numbered files below a directory, at any depth. */
async function* numberedFiles(fs: FsPort, dir: string): AsyncGenerator<Numbered> {
  for (const { name, kind } of await fs.list(dir)) {
    if (kind === 'directory') yield* numberedFiles(fs, `${dir}/${name}`);
    const parsed = kind === 'file' ? parseFileName(name) : null;
    if (parsed !== null) yield parsed;
  }
}
