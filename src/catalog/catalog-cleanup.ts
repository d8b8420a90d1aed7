/**
 * Which files may go after an install, and removing them.
 *
 * Kept are the two newest catalogs, every file they name, and log files from the lower walFirstNo on; so
 * falling back by one install finds everything it needs.
 */
import type { FileNo } from '../base/brands.ts';
import { type Catalog, firstLogNo, type NumberedFile } from '../format/catalog.ts';
import { fileDir, filePath, type NumberedKind, parseFileName } from '../format/file-names.ts';
import { forgetDirs } from '../fs/dirs.ts';
import { parentPath } from '../fs/fs-path.ts';
import type { FsPort } from '../fs/port.ts';

/**
 * Files that neither kept catalog needs: what the older one's install dropped, other catalogs, old logs.
 */
export async function unlinkableFiles(
  fs: FsPort,
  current: Catalog,
  previous: Catalog,
): Promise<NumberedFile[]> {
  return unlinkableOf([...(await filesIn(fs, 'cat')), ...(await filesIn(fs, 'wal'))], current, previous);
}

/** The same where `there` has the catalogs and logs that are there, and may have other files. */
export function unlinkableOf(
  there: readonly NumberedFile[],
  current: Catalog,
  previous: Catalog,
): NumberedFile[] {
  const kept = [current, previous];
  const named = new Set(
    kept.flatMap(({ tables, sealed, unsealed }) => [...tables, ...sealed, ...unsealed].map(({ no }) => no)),
  );
  const files = previous.dropped.filter(
    ({ kind, no }) => (kind === 'tab' || kind === 'seg') && !named.has(no),
  );
  const walFrom = Math.min(...kept.map(firstLogNo));
  for (const { kind, no } of there) {
    const isOldCatalog =
      kind === 'cat' && kept.every((catalog) => catalog.no !== no) && no < current.nextFileNo;
    if (isOldCatalog || (kind === 'wal' && no < walFrom)) files.push({ kind, no });
  }
  return files;
}

async function filesIn(fs: FsPort, kind: 'cat' | 'wal'): Promise<NumberedFile[]> {
  return (await fs.list(kind)).flatMap((entry) => {
    const name = parseFileName(entry.name);
    return name?.kind === kind ? [{ kind, no: name.no }] : [];
  });
}

/**
 * Unlinks `files`, removes leaf directories that became empty and syncs the directories. Absent files are
 * fine; a failure goes to `onFailure` and the rest goes on: what stays is swept up after the next opening.
 * `nextFileNo` keeps the directories that new files are about to enter. Each file is unlinked by `around`.
 */
export async function removeFiles(
  fs: FsPort,
  files: readonly NumberedFile[],
  nextFileNo: FileNo,
  onFailure: (error: unknown, path: string) => void,
  around: (unlink: () => Promise<void>) => Promise<void> = (unlink) => unlink(),
): Promise<void> {
  const guard = async (path: string, step: () => Promise<unknown>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      onFailure(error, path);
    }
  };
  const touched = new Map<string, NumberedFile>();
  for (const file of files) {
    const path = filePath(file.kind, file.no);
    await guard(path, () =>
      around(async () => {
        await fs.unlink(path);
      }),
    );
    touched.set(fileDir(file.kind, file.no), file);
  }
  for (const [dir, file] of touched) {
    await guard(dir, async () => {
      if ((await isThere(fs, dir)) && !(await removedLeaf(fs, dir, file, nextFileNo))) await fs.syncDir(dir);
    });
  }
}

async function isThere(fs: FsPort, dir: string): Promise<boolean> {
  return (await fs.stat(dir))?.kind === 'directory';
}

/** Removes the two levels above a table or segment where they are empty and no new file is near. */
async function removedLeaf(
  fs: FsPort,
  dir: string,
  file: NumberedFile,
  nextFileNo: FileNo,
): Promise<boolean> {
  if (!hasLeaves(file.kind) || near(file.no, nextFileNo, 256)) return false;
  forgetDirs(fs);
  if (!(await fs.rmdir(dir))) return false;
  const parent = parentPath(dir);
  if (!near(file.no, nextFileNo, 65_536) && (await fs.rmdir(parent))) await fs.syncDir(file.kind);
  else await fs.syncDir(parent);
  return true;
}

function hasLeaves(kind: NumberedKind): boolean {
  return kind === 'tab' || kind === 'seg';
}

/**
 * True when `no` shares its directory of `span` numbers, or a neighbour of it, with numbers soon to be used.
 */
function near(no: FileNo, nextFileNo: FileNo, span: number): boolean {
  const dirs = 2 ** 24 / span;
  const distance = (dirs + ((Math.floor(nextFileNo / span) - Math.floor(no / span)) % dirs)) % dirs;
  return distance < 5 || distance > dirs - 5;
}
