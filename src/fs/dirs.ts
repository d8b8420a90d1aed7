/**
 * Small compositions over the port: directories made durably, files read whole, new files written durably.
 */
import { corrupt, VarveError } from '../base/errors.ts';
import { parentPath } from './fs-path.ts';
import type { FsFile, FsPort } from './port.ts';

/** Directories whose names are known to be durable, all levels of them. */
const durableDirs = new WeakMap<FsPort, Set<string>>();

/**
 * Makes every missing level of `path` and syncs the parent of each. Durable when it resolves, also for levels
 * that were there already: an earlier run may have died between making one and syncing its parent. Levels
 * noted as durable are left alone.
 */
export async function ensureDir(fs: FsPort, path: string): Promise<void> {
  if (path === '' || durableDirs.get(fs)?.has(path) === true) return;
  const parent = parentPath(path);
  await ensureDir(fs, parent);
  await fs.mkdir(path);
  await fs.syncDir(parent);
  noteDurableDir(fs, path);
}

/** Something durable proves that `path` and every level above it are. Until `forgetDirs`. */
export function noteDurableDir(fs: FsPort, path: string): void {
  const known = durableDirs.get(fs) ?? new Set();
  durableDirs.set(fs, known);
  for (let dir = path; dir !== '' && !known.has(dir); dir = parentPath(dir)) known.add(dir);
}

/** Directories may have gone, or be about to: by `ensureDir` they are made again. */
export function forgetDirs(fs: FsPort): void {
  durableDirs.delete(fs);
}

/**
 * Makes a new file in a directory that is durable when it resolves; one that somebody removed is made again.
 * VARVE_IO with errno EEXIST where a file is. The name is not durable yet.
 */
export async function createFile(fs: FsPort, path: string): Promise<FsFile> {
  const dir = parentPath(path);
  await ensureDir(fs, dir);
  try {
    return await fs.open(path, 'create');
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
    forgetDirs(fs);
    await ensureDir(fs, dir);
    return await fs.open(path, 'create');
  }
}

/** Fills `buf` from `pos`. VARVE_CORRUPT, naming the file and where it ends, when the file is shorter. */
export async function readExact(file: FsFile, buf: Uint8Array, pos: number): Promise<void> {
  const got = await file.read(buf, pos);
  if (got !== buf.length) throw cutOff(file, buf.length, pos, got);
}

/** Same as `readExact`, on the calling thread. */
export function readExactSync(file: FsFile, buf: Uint8Array, pos: number): void {
  const got = file.readSync(buf, pos);
  if (got !== buf.length) throw cutOff(file, buf.length, pos, got);
}

function cutOff(file: FsFile, wanted: number, pos: number, got: number): VarveError {
  return corrupt('file is cut off', { file: file.path, offset: pos + got }, pos + wanted, pos + got);
}

/**
 * The bytes of a file of at most `maxBytes`; the result is the caller's. VARVE_CORRUPT when it is longer,
 * VARVE_IO with errno ENOENT when it is not there.
 */
export async function readWhole(fs: FsPort, path: string, maxBytes: number): Promise<Uint8Array> {
  const file = await fs.open(path, 'read');
  try {
    const size = await file.size();
    if (size > maxBytes) throw corrupt('file is longer than it may be', { file: path }, maxBytes, size);
    const bytes = new Uint8Array(size);
    await readExact(file, bytes, 0);
    return bytes;
  } finally {
    await file.close();
  }
}

/**
 * Makes a new file with `bytes` (borrowed) in an existing directory. Bytes and name are durable when it
 * resolves; after a rejection a partial file may be left. VARVE_IO with errno EEXIST where one is.
 */
export async function writeNewFile(fs: FsPort, path: string, bytes: Uint8Array): Promise<void> {
  const file = await fs.open(path, 'create');
  try {
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await fs.syncDir(parentPath(path));
}

/** True for a VARVE_IO or VARVE_NO_SPACE error with this errno. */
export function hasErrno(error: unknown, errno: string): boolean {
  return error instanceof VarveError && error.errno === errno;
}
