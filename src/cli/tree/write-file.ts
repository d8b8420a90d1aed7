/** Making files, links and directories that were not there, without ever going through a link. */
import { constants } from 'node:fs';
import { type FileHandle, lstat, lutimes, open, symlink, unlink } from 'node:fs/promises';
import { VarveError } from '../../base/errors.ts';
import { errnoOf } from '../text.ts';
import { exportedMode, type TreeEntry } from './tree-metadata.ts';

const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0);

/** A file being written. `finish` or `discard` ends it. */
export class NewFile {
  readonly #handle: FileHandle;
  readonly #path: Buffer;
  readonly #tree: TreeEntry | undefined;
  #closed = false;

  constructor(handle: FileHandle, path: Buffer, tree: TreeEntry | undefined) {
    this.#handle = handle;
    this.#path = path;
    this.#tree = tree;
  }

  /** Appends `bytes`, borrowed until it resolves. */
  async write(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at);
      at += bytesWritten;
    }
  }

  /** Sets mode and time and closes. */
  async finish(): Promise<void> {
    const { mode, mtime } = this.#tree ?? {};
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
