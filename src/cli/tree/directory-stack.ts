/**
 * The directories an export is in. Keys come in order, so that a directory is left for good once a key
 * outside it comes; it is finished (mode, times) when the last file in it is written.
 *
 * Invariant: a directory is entered only if this run made it, or lstat says that it is one ("an export does
 * not write through links").
 */
import { constants } from 'node:fs';
import { mkdir, open, utimes } from 'node:fs/promises';
import { startsWith } from '../../base/bytes.ts';
import { errnoOf } from '../text.ts';
import { exportedMode, type TreeEntry } from './tree-metadata.ts';
import { inTheWay, kindAt } from './write-file.ts';

type OnFailure = (path: Uint8Array, error: unknown) => void;

const slashByte = 0x2f;
const slash = Buffer.from('/');
const ownerOnly = 0o700;
const anybody = 0o777;

/** One directory; counts who still writes into it. */
export class Directory {
  readonly path: Uint8Array;
  readonly #absolute: Buffer;
  readonly #parent: Directory | undefined;
  readonly #onFailure: OnFailure;
  #holders = 1;
  /** What the tree says of it, once its key came. */
  entry: TreeEntry | undefined;

  constructor(path: Uint8Array, absolute: Buffer, parent: Directory | undefined, onFailure: OnFailure) {
    this.path = path;
    this.#absolute = absolute;
    this.#parent = parent;
    this.#onFailure = onFailure;
    parent?.retain();
  }

  retain(): void {
    this.#holders++;
  }

  /** With the last holder sets mode and time, then lets go of the parent. */
  async release(): Promise<void> {
    this.#holders--;
    if (this.#holders > 0) return;
    try {
      if (this.entry !== undefined) await setAttributes(this.#absolute, this.entry);
    } catch (error) {
      this.#onFailure(this.path, error);
    } finally {
      await this.#parent?.release();
    }
  }
}

export class DirectoryStack {
  readonly #root: Buffer;
  readonly #onFailure: OnFailure;
  readonly #stack: Directory[];

  constructor(root: Buffer, onFailure: OnFailure) {
    this.#root = root;
    this.#onFailure = onFailure;
    this.#stack = [new Directory(new Uint8Array(0), root, undefined, onFailure)];
  }

  /** Absolute path of a relative one, without a trailing '/'. */
  pathOf(path: Uint8Array): Buffer {
    const end = path.at(-1) === slashByte ? path.length - 1 : path.length;
    return Buffer.concat([this.#root, slash, path.subarray(0, end)]);
  }

  /**
   * Makes `path` (checked by pathFault; empty or ending in '/') the current directory, making what is
   * missing, and leaves those it does not lie in. VARVE_CONFLICT when something else is in a directory's
   * place.
   */
  async enter(path: Uint8Array, entry: TreeEntry | undefined): Promise<Directory> {
    while (!startsWith(path, this.#stack.at(-1)!.path)) await this.#stack.pop()!.release();
    let top = this.#stack.at(-1)!;
    while (top.path.length < path.length) {
      const end = path.indexOf(slashByte, top.path.length) + 1;
      const next = path.slice(0, end);
      const absolute = this.pathOf(next);
      await makeDirectory(absolute, end === path.length && entry !== undefined ? ownerOnly : anybody);
      top = new Directory(next, absolute, top, this.#onFailure);
      this.#stack.push(top);
    }
    if (entry !== undefined) top.entry = entry;
    return top;
  }

  /** Leaves every directory. Each is finished once its files are. */
  async finish(): Promise<void> {
    while (this.#stack.length > 0) await this.#stack.pop()!.release();
  }
}

async function makeDirectory(path: Buffer, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    const kind = await kindAt(path);
    if (kind !== 'directory') throw inTheWay(kind, error);
  }
}

async function setAttributes(path: Buffer, { mode, mtime }: TreeEntry): Promise<void> {
  if (process.platform === 'win32') {
    if (mtime !== undefined) await utimes(path, mtime, mtime);
    return;
  }
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const handle = await open(path, flags);
  try {
    // Times first: without the right to read and search it could not be opened again.
    if (mtime !== undefined) await handle.utimes(mtime, mtime);
    if (mode !== undefined) await handle.chmod(exportedMode('directory', mode));
  } finally {
    await handle.close();
  }
}
