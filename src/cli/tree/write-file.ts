/** Making files, links and directories that were not there, without ever going through a link. */
import {
  close,
  closeSync,
  constants,
  fchmod,
  fchmodSync,
  ftruncate,
  ftruncateSync,
  futimes,
  futimesSync,
  open,
  openSync,
  write,
  writeSync,
  writev,
} from 'node:fs';
import { link, lstat, lutimes, symlink, unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { concatBytes } from '../../base/bytes.ts';
import { VarveError } from '../../base/errors.ts';
import { writeFd } from '../../fs/raw-fs.ts';
import { errnoOf } from '../text.ts';
import type { CallPace } from './call-pace.ts';
import { type DirectOutput, type DirectOutputs, directFileBytes } from './direct-output.ts';
import { dataRanges } from './sparse.ts';
import { exportedMode, type TreeEntry } from './tree-metadata.ts';

const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0);

const there = {
  open: promisify(open),
  write: promisify(write),
  writev: promisify(writev),
  truncate: promisify(ftruncate),
  chmod: promisify(fchmod),
  utimes: promisify(futimes),
  close: promisify(close),
} as const;
/** Pieces that systems take in one call. */
const piecesMax = 1024;
/** Longer writes are made in the background, so that others work meanwhile. */
const hereBytesMax = 64 * 1024;

/** A file being written. `finish` or `discard` ends it. */
export class NewFile {
  readonly #fd: number;
  readonly #path: Buffer;
  readonly #tree: TreeEntry | undefined;
  readonly #pace: CallPace;
  /** Length of what was appended, holes included. */
  #length = 0;
  #closed = false;
  /** Takes what is appended by `writeAll`, and nothing else is. */
  #direct: DirectOutput | undefined;

  constructor(fd: number, path: Buffer, tree: TreeEntry | undefined, pace: CallPace) {
    this.#fd = fd;
    this.#path = path;
    this.#tree = tree;
    this.#pace = pace;
  }

  /** Appends `bytes`, borrowed until it resolves. Blocks of zeros become holes where the tree says so. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#tree?.sparse === true) {
      for (const [from, to] of dataRanges(bytes, this.#length)) await this.#put(bytes, from, to);
    } else await this.#put(bytes, 0, bytes.length);
    this.#length += bytes.length;
  }

  /** Of a file of `size` bytes, what `writeAll` appends goes past the system's cache where that pays. */
  expect(size: number, outputs: DirectOutputs): void {
    if (this.#tree?.sparse === true || size < directFileBytes) return;
    const path = String(this.#path);
    this.#direct = outputs.open(this.#fd, path, (bytes, pos) => writeFd(this.#fd, bytes, pos, path));
  }

  /** Appends all of `pieces`, borrowed until it resolves, and returns how many bytes they have. */
  async writeAll(pieces: readonly Uint8Array[]): Promise<number> {
    let length = 0;
    for (const piece of pieces) length += piece.length;
    if (this.#direct !== undefined) {
      for (const piece of pieces) await this.#direct.append(piece);
      return length;
    }
    // Blocks of zeros may begin in one piece and end in the next.
    if (this.#tree?.sparse === true || length <= hereBytesMax) await this.write(concatBytes(pieces));
    else
      for (let at = 0; at < pieces.length; at += piecesMax)
        await this.#putAll(pieces.slice(at, at + piecesMax));
    return length;
  }

  /** Writes at most `piecesMax` pieces with one call, and what that leaves out one by one. */
  async #putAll(pieces: readonly Uint8Array[]): Promise<void> {
    let { bytesWritten } = await there.writev(this.#fd, pieces, this.#length);
    for (const piece of pieces) {
      const from = Math.min(piece.length, bytesWritten);
      bytesWritten -= from;
      await this.#put(piece, from, piece.length);
      this.#length += piece.length;
    }
  }

  /** Writes bytes[from..to) to where they belong. */
  async #put(bytes: Uint8Array, from: number, to: number): Promise<void> {
    const fd = this.#fd;
    for (let at = from; at < to; ) {
      const place = this.#length + at;
      const inBackground = async (): Promise<number> =>
        (await there.write(fd, bytes, at, to - at, place)).bytesWritten;
      at +=
        to - at > hereBytesMax
          ? await inBackground()
          : await this.#pace.run(() => writeSync(fd, bytes, at, to - at, place), inBackground);
    }
  }

  /** Sets mode and time and closes. */
  async finish(): Promise<void> {
    const fd = this.#fd;
    await this.#direct?.finish();
    const { mode, mtime, sparse } = this.#tree ?? {};
    const bits = mode === undefined ? undefined : exportedMode('file', mode);
    // A hole at the end.
    const length = sparse === true ? this.#length : undefined;
    await this.#pace.run(
      () => {
        if (length !== undefined) ftruncateSync(fd, length);
        if (bits !== undefined) fchmodSync(fd, bits);
        if (mtime !== undefined) futimesSync(fd, mtime, mtime);
      },
      async () => {
        if (length !== undefined) await there.truncate(fd, length);
        if (bits !== undefined) await there.chmod(fd, bits);
        if (mtime !== undefined) await there.utimes(fd, mtime, mtime);
      },
    );
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
    await this.#direct?.close();
    await this.#pace.run(
      () => closeSync(this.#fd),
      () => there.close(this.#fd),
    );
  }
}

/** Opens a new file. With `replace` a file or link of that name is removed first; a directory never is. */
export async function openNewFile(
  path: Buffer,
  tree: TreeEntry | undefined,
  replace: boolean,
  pace: CallPace,
): Promise<NewFile> {
  // Nobody else reads the content before the file has its own mode.
  const mode = tree?.mode === undefined ? 0o666 : 0o600;
  const opened = async (): Promise<number> =>
    await pace.run(
      () => openSync(path, createFlags, mode),
      () => there.open(path, createFlags, mode),
    );
  const fd = await makingRoom(path, replace, opened);
  return new NewFile(fd, path, tree, pace);
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
