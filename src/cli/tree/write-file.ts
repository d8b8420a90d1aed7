/** Making files, links and directories that were not there, without ever going through a link. */
import { constants } from 'node:fs';
import { type FileHandle, link, lstat, lutimes, open, symlink, unlink } from 'node:fs/promises';
import { VarveError } from '../../base/errors.ts';
import { errnoOf } from '../text.ts';
import { dataRanges } from './sparse.ts';
import { exportedMode, type TreeEntry } from './tree-metadata.ts';

const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0);

/** A file being written. `finish` or `discard` ends it. */
export class NewFile {
  readonly #handle: FileHandle;
  readonly #path: Buffer;
  readonly #tree: TreeEntry | undefined;
  /** Length of what was appended, holes included. */
  #length = 0;
  #closed = false;

  constructor(handle: FileHandle, path: Buffer, tree: TreeEntry | undefined) {
    this.#handle = handle;
    this.#path = path;
    this.#tree = tree;
  }

  /** Appends `bytes`, borrowed until it resolves. Blocks of zeros become holes where the tree says so. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#tree?.sparse === true) {
      for (const [from, to] of dataRanges(bytes, this.#length)) await this.#put(bytes, from, to);
    } else await this.#put(bytes, 0, bytes.length);
    this.#length += bytes.length;
  }

  /** Writes bytes[from..to) to where they belong. */
  async #put(bytes: Uint8Array, from: number, to: number): Promise<void> {
    for (let at = from; at < to; ) {
      const { bytesWritten } = await this.#handle.write(bytes, at, to - at, this.#length + at);
      at += bytesWritten;
    }
  }

  /** Sets mode and time and closes. */
  async finish(): Promise<void> {
    const { mode, mtime, sparse } = this.#tree ?? {};
    // A hole at the end.
    if (sparse === true) await this.#handle.truncate(this.#length);
    if (mode !== undefined) await this.#handle.chmod(exportedMode('file', mode));
    if (mtime !== undefined) await this.#handle.utimes(mtime, mtime);
    await this.#close();
  }

  /** Closes and removes the file. */
  async discard(): Promise<void> {
    await this.#close();
    await unlink(this.#path);
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}

/** Opens a new file. With `replace` a file or link of that name is removed first; a directory never is. */
export async function openNewFile(
  path: Buffer,
  tree: TreeEntry | undefined,
  replace: boolean,
): Promise<NewFile> {
  // Nobody else reads the content before the file has its own mode.
  const mode = tree?.mode === undefined ? 0o666 : 0o600;
  const handle = await makingRoom(path, replace, () => open(path, createFlags, mode));
  return new NewFile(handle, path, tree);
}

/** Makes a link; its target is stored, never looked at. VARVE_INVALID_ARGUMENT when the metadata has none. */
export async function makeLink(path: Buffer, tree: TreeEntry, replace: boolean): Promise<void> {
  const { target, mtime } = tree;
  if (target === undefined || target.length === 0 || target.includes(0))
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'the link has no usable target in its metadata');
  await makingRoom(path, replace, () => symlink(Buffer.from(target), path));
  if (mtime !== undefined) await lutimes(path, mtime, mtime);
}

/** What says that a file cannot have another name there, which is no failure of the export. */
const noHardLink: ReadonlySet<string> = new Set([
  'EPERM',
  'EMLINK',
  'EXDEV',
  'ENOSYS',
  'ENOTSUP',
  'EOPNOTSUPP',
]);

/**
 * Gives `file` the further name `path`. False where it cannot have one: then its content is written again.
 */
export async function makeHardLink(file: Buffer, path: Buffer, replace: boolean): Promise<boolean> {
  try {
    await makingRoom(path, replace, () => link(file, path));
    return true;
  } catch (error) {
    if (noHardLink.has(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

async function makingRoom<T>(path: Buffer, replace: boolean, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    const kind = await kindAt(path);
    const replaceable = replace && (kind === 'file' || kind === 'symlink');
    if (!replaceable) throw inTheWay(kind, error);
    await unlink(path);
    return await make();
  }
}

/** The error for a path whose name is taken. */
export function inTheWay(kind: string | undefined, cause?: unknown): VarveError {
  const what = kind === undefined ? 'something' : `a ${kind === 'other' ? 'special file' : kind}`;
  return new VarveError('VARVE_CONFLICT', `${what} of that name is in the way`, { cause });
}

/** What lies at `path`, links not followed; undefined when nothing does. */
export async function kindAt(path: Buffer): Promise<'directory' | 'symlink' | 'file' | 'other' | undefined> {
  try {
    const found = await lstat(path);
    if (found.isDirectory()) return 'directory';
    if (found.isSymbolicLink()) return 'symlink';
    return found.isFile() ? 'file' : 'other';
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
