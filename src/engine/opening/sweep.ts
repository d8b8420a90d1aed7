/** Files in a store's directories that no catalog names: what an interrupted writer left. */
import type { FileNo } from '../../base/brands.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import type { Catalog, NumberedFile } from '../../format/catalog.ts';
import { fileDir, filePath, type NumberedKind, parseFileName } from '../../format/file-names.ts';
import type { FsPort } from '../../fs/port.ts';

/** A numbered file found in a directory of the store. */
export interface ListedFile {
  readonly kind: NumberedKind;
  readonly no: FileNo;
  /** In `quarantine/`: only its number counts. */
  readonly isQuarantined: boolean;
}

/** What the directories of a store hold. */
export interface Listed {
  /** Names in the root. */
  readonly root: ReadonlySet<string>;
  /** Every numbered file, `quarantine/` included. */
  readonly files: readonly ListedFile[];
}

/** Lists every directory once; one that is not there holds nothing. */
export async function listStore(fs: FsPort): Promise<Listed> {
  const root = new Set((await fs.list('')).map(({ name }) => name));
  const files: ListedFile[] = [];
  for (const dir of ['cat', 'wal', 'tab', 'seg', 'quarantine']) {
    if (!root.has(dir)) continue;
    for await (const { kind, no } of filesBelow(fs, dir)) {
      files.push({ kind, no, isQuarantined: dir === 'quarantine' });
    }
  }
  return { root, files };
}

/** Highest file number in use anywhere: new files are numbered above it. 0 when there is none. */
export function highestFileNo(files: readonly ListedFile[]): FileNo {
  return files.reduce((highest, { no }) => Math.max(highest, no), 0);
}

/**
 * Removes the tables and segments of `files` that neither the current nor the previous catalog names, and
 * everything in `tmp/`. With `keep` (the catalogs were damaged) they move to `quarantine/` instead; with
 * `hold` it has them, as readers may still need them. Call after an install.
 */
export async function sweep(
  fs: FsPort,
  catalogs: CatalogStore,
  files: readonly ListedFile[],
  { keep, hold }: { keep: boolean; hold: ((file: NumberedFile) => void) | undefined },
): Promise<void> {
  const named = new Set<string>();
  for (const catalog of [catalogs.catalog, catalogs.previous])
    if (catalog !== undefined) addNamed(named, catalog);
  for (const { kind, no, isQuarantined } of files) {
    if (isQuarantined || (kind !== 'tab' && kind !== 'seg')) continue;
    const path = filePath(kind, no);
    if (named.has(path)) continue;
    if (keep) {
      await fs.rename(path, `quarantine/${path.slice(path.lastIndexOf('/') + 1)}`);
      await fs.syncDir('quarantine');
      // A repair that was stopped may have given it its second name: then a rename takes neither away.
      await fs.unlink(path);
    } else if (hold !== undefined) {
      hold({ kind, no });
      continue;
    } else await fs.unlink(path);
    await fs.syncDir(fileDir(kind, no));
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
async function* filesBelow(fs: FsPort, dir: string): AsyncGenerator<{ kind: NumberedKind; no: FileNo }> {
  for (const { name, kind } of await fs.list(dir)) {
    if (kind === 'directory') yield* filesBelow(fs, `${dir}/${name}`);
    const parsed = kind === 'file' ? parseFileName(name) : null;
    if (parsed !== null) yield parsed;
  }
}
