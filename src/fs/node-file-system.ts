/**
 * The file-system port on the operating system.
 *
 * Every file is opened without following a link and must be a regular one; each directory below the root is
 * checked once to be a directory and no link. Modes are 0600 and 0700 whatever the umask.
 *
 * Invariants
 * - A port opened read-only changes nothing (node-file-system.test: "a read-only port …").
 */
import path from 'node:path';
import { invalid, VarveError } from '../base/errors.ts';
import { DirectAccess, DirectSupport } from './direct-access.ts';
import { fsError, readOnlyPort } from './fs-errors.ts';
import { parentPath, pathNames } from './fs-path.ts';
import { NodeFile } from './node-file.ts';
import type { FsCaps, FsEntry, FsFile, FsPort, FsStat, OpenMode } from './port.ts';
import {
  freeBytes,
  linkPath,
  listDirectory,
  makeDirectory,
  openFile,
  openFileSync,
  openFlags,
  removeDirectory,
  renamePath,
  statPath,
  statPathSync,
  statTarget,
  syncDirectory,
  unlinkPath,
} from './raw-fs.ts';

export interface NodeFileSystemOptions {
  /** Makes the directory and its missing parents, durably. */
  create?: boolean;
  /** Refuses every change with VARVE_READ_ONLY. */
  readOnly?: boolean;
  /** Fewer bytes are never written or read past the system's cache; smaller in tests. */
  directBytesMin?: number;
}

const onWindows = process.platform === 'win32';
const modes = { read: openFlags.read, rw: openFlags.readWrite, create: openFlags.createNew } as const;

/**
 * The port on directory `dir`. VARVE_NOT_FOUND when it is missing and `create` is not given, VARVE_IO with
 * errno ENOTDIR when something else is in its place.
 */
export async function openNodeFileSystem(dir: string, options: NodeFileSystemOptions = {}): Promise<FsPort> {
  const { create = false, readOnly = false, directBytesMin } = options;
  if (create && readOnly) throw invalid('create and readOnly exclude each other');
  if (typeof dir !== 'string' || dir === '' || dir.includes('\0'))
    throw invalid('the store directory needs a path');
  const root = path.resolve(dir);
  if (create) await makeRoot(root);
  const found = await statTarget(root, dir);
  if (found === null) {
    throw new VarveError('VARVE_NOT_FOUND', `${dir}: no such directory`, { file: dir, errno: 'ENOENT' });
  }
  if (found.kind !== 'directory') {
    throw fsError('ENOTDIR', 'the store directory cannot be opened, a file is in its place', dir);
  }
  return new NodeFileSystem(root, readOnly, new DirectSupport(directBytesMin));
}

/** Makes each missing level and syncs its parent; where nothing is missing, nothing is synced. */
async function makeRoot(root: string): Promise<void> {
  if ((await statTarget(root, root)) !== null) return;
  const parent = path.dirname(root);
  if (parent !== root) await makeRoot(parent);
  await makeDirectory(root, root);
  if (!onWindows) await syncDirectory(parent, parent);
}

class NodeFileSystem implements FsPort {
  readonly root: string;
  readonly caps: FsCaps = { syncDir: !onWindows, replaceOpen: !onWindows };
  readonly #readOnly: boolean;
  readonly #direct: DirectSupport;
  /** Directories known to be directories, not links; at most 65,536, then it starts over. */
  readonly #checked = new Set<string>(['']);

  constructor(root: string, readOnly: boolean, direct: DirectSupport) {
    this.root = root;
    this.#readOnly = readOnly;
    this.#direct = direct;
  }

  async open(file: string, mode: OpenMode): Promise<FsFile> {
    if (mode !== 'read') this.#mayChange('open for writing', file);
    const absolute = this.#absolute(file);
    await this.#checkDirectory(parentPath(file));
    return this.#opened(await openFile(absolute, modes[mode], file), file, mode === 'read');
  }

  openSync(file: string): FsFile {
    const absolute = this.#absolute(file);
    this.#checkDirectorySync(parentPath(file));
    return this.#opened(openFileSync(absolute, file), file, true);
  }

  #opened(fd: number, file: string, isForReading: boolean): NodeFile {
    return new NodeFile(fd, file, this.#readOnly, new DirectAccess(this.#direct, file, isForReading));
  }

  async mkdir(dir: string): Promise<boolean> {
    this.#mayChange('mkdir', dir);
    await this.#checkDirectory(parentPath(dir));
    if (await makeDirectory(this.#absolute(dir), dir)) return true;
    const there = await statPath(this.#absolute(dir), dir);
    if (there?.kind !== 'directory') throw fsError('ENOTDIR', 'mkdir failed, something is in its place', dir);
    return false;
  }

  async rename(from: string, to: string): Promise<void> {
    this.#mayChange('rename', from);
    await this.#checkDirectory(parentPath(from));
    await this.#checkDirectory(parentPath(to));
    this.#forget();
    await renamePath(this.#absolute(from), this.#absolute(to), from);
  }

  async link(from: string, to: string): Promise<void> {
    this.#mayChange('link', from);
    await this.#checkDirectory(parentPath(from));
    await this.#checkDirectory(parentPath(to));
    await linkPath(this.#absolute(from), this.#absolute(to), to);
  }

  async unlink(file: string): Promise<boolean> {
    this.#mayChange('unlink', file);
    await this.#checkDirectory(parentPath(file), true);
    return unlinkPath(this.#absolute(file), file);
  }

  async rmdir(dir: string): Promise<boolean> {
    this.#mayChange('rmdir', dir);
    this.#forget();
    await this.#checkDirectory(parentPath(dir), true);
    return removeDirectory(this.#absolute(dir), dir);
  }

  async list(dir: string): Promise<FsEntry[]> {
    await this.#checkDirectory(dir);
    const entries: FsEntry[] = [];
    for (const { name, kind } of await listDirectory(this.#absolute(dir), dir)) {
      if (kind !== undefined) {
        entries.push({ name, kind });
        continue;
      }
      const child = dir === '' ? name : `${dir}/${name}`;
      const stat = await statPath(path.join(this.root, child), child);
      if (stat !== null) entries.push({ name, kind: stat.kind });
    }
    return entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  async stat(file: string): Promise<FsStat | null> {
    await this.#checkDirectory(parentPath(file), true);
    return statPath(this.#absolute(file), file);
  }

  async syncDir(dir: string): Promise<void> {
    this.#mayChange('syncDir', dir);
    await this.#checkDirectory(dir);
    if (this.caps.syncDir) await syncDirectory(this.#absolute(dir), dir);
  }

  async free(): Promise<number | undefined> {
    return freeBytes(this.root, '');
  }

  #absolute(relative: string): string {
    const names = pathNames(relative);
    return names.length === 0 ? this.root : path.join(this.root, ...names);
  }

  /**
   * Refuses links and other kinds on the way down. With `missingOk`, what is not there is left to the
   * caller.
   */
  async #checkDirectory(dir: string, missingOk = false): Promise<void> {
    if (this.#checked.has(dir)) return;
    await this.#checkDirectory(parentPath(dir), missingOk);
    const stat = await statPath(this.#absolute(dir), dir);
    if (stat === null && missingOk) return;
    this.#noteDirectory(stat, dir);
  }

  #checkDirectorySync(dir: string): void {
    if (this.#checked.has(dir)) return;
    this.#checkDirectorySync(parentPath(dir));
    this.#noteDirectory(statPathSync(this.#absolute(dir), dir), dir);
  }

  #noteDirectory(stat: FsStat | null, dir: string): void {
    if (stat === null) throw fsError('ENOENT', 'no such directory', dir);
    if (stat.kind !== 'directory') throw fsError('ENOTDIR', 'not a directory', dir);
    if (this.#checked.size >= 65_536) this.#forget();
    this.#checked.add(dir);
  }

  #forget(): void {
    this.#checked.clear();
    this.#checked.add('');
  }

  #mayChange(what: string, file: string): void {
    if (this.#readOnly) throw readOnlyPort(what, file);
  }
}
