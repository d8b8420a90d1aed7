/**
 * The only importer of node:fs in the engine: the calls it uses, as promises with the port's errors.
 *
 * Descriptors are numbers here; whoever opens one owns it and closes it after its last call has settled
 * (node-file.ts and lock-file.ts do). libuv opens every descriptor with O_CLOEXEC, retries EINTR, and on
 * macOS turns both syncs into F_FULLFSYNC, so that they reach the platter there too.
 */
import fs from 'node:fs';
import { VarveError } from '../base/errors.ts';
import { errnoOf, fsError } from './fs-errors.ts';
import type { FsStat } from './port.ts';

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

/** Device and inode, exact. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

export const openFlags = {
  read: fs.constants.O_RDONLY,
  readWrite: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT,
  createNew: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
} as const;

// A link is refused, and a pipe put where a file should be cannot hang the open. Windows has neither flag.
const guards = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0);
const directoryFlags = fs.constants.O_RDONLY | (fs.constants.O_DIRECTORY ?? 0);
// Linux moves at most 2^31-4096 bytes per call.
const bytesPerCallMax = 1024 * 1024 * 1024;
const fileMode = 0o600;
const directoryMode = 0o700;

function call<T>(what: string, path: string, start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null || error === undefined) resolve(value);
      else reject(failed(error, what, path));
    });
  });
}

function failed(error: unknown, what: string, path: string): Error {
  return fsError(errnoOf(error), `${what} failed`, path, error);
}

/**
 * Opens a regular file; anything else is refused. `path` names it in errors. Mode 0600 whatever the umask.
 */
export async function openFile(absolute: string, flags: number, path: string): Promise<number> {
  const fd = await call<number>('open', path, (done) => fs.open(absolute, flags | guards, fileMode, done));
  try {
    const stat = await call<fs.Stats>('fstat', path, (done) => fs.fstat(fd, done));
    if (stat.isDirectory()) throw fsError('EISDIR', 'open failed', path);
    if (!stat.isFile()) throw fsError('EINVAL', 'open refused, not a regular file', path);
    const fresh = (flags & fs.constants.O_CREAT) !== 0 && stat.size === 0;
    if (fresh && process.platform !== 'win32' && (stat.mode & 0o777) !== fileMode) {
      await call<void>('chmod', path, (done) => fs.fchmod(fd, fileMode, (error) => done(error, undefined)));
    }
    return fd;
  } catch (error) {
    await closeFd(fd, path);
    throw error;
  }
}

/** `openFile` for reading, on the calling thread. */
export function openFileSync(absolute: string, path: string): number {
  let fd: number;
  try {
    fd = fs.openSync(absolute, openFlags.read | guards);
  } catch (error) {
    throw failed(error, 'open', path);
  }
  try {
    const stat = fs.fstatSync(fd);
    if (stat.isDirectory()) throw fsError('EISDIR', 'open failed', path);
    if (!stat.isFile()) throw fsError('EINVAL', 'open refused, not a regular file', path);
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error instanceof VarveError ? error : failed(error, 'fstat', path);
  }
}

/** Files can be read and written past the system's cache, which keeps in step with it: on Linux. */
export const offersDirect: boolean = process.platform === 'linux' && fs.constants.O_DIRECT !== undefined;

/**
 * A further descriptor on the file behind `fd`, past the system's cache. Undefined where the system lets
 * nobody name a file that is open (no /proc); errno EINVAL where its file system has no such access.
 */
export async function openDirect(fd: number, isReadOnly: boolean, path: string): Promise<number | undefined> {
  const flags = (isReadOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR) | fs.constants.O_DIRECT;
  const open = (done: Done<number>): void => fs.open(`/proc/self/fd/${fd}`, flags, done);
  return (await orNull('ENOENT', () => call('open', path, open))) ?? undefined;
}

export function closeFd(fd: number, path: string): Promise<void> {
  return call('close', path, (done) => fs.close(fd, (error) => done(error ?? null, undefined)));
}

/** Hands `buf` to the system once: how many bytes it read. */
export function readFdOnce(fd: number, buf: Uint8Array, pos: number, path: string): Promise<number> {
  return call('read', path, (done) => fs.read(fd, buf, 0, Math.min(buf.length, bytesPerCallMax), pos, done));
}

/** Hands `buf` to the system once: how many bytes it wrote. */
export function writeFdOnce(fd: number, buf: Uint8Array, pos: number, path: string): Promise<number> {
  const length = Math.min(buf.length, bytesPerCallMax);
  return call('write', path, (done) => fs.write(fd, buf, 0, length, pos, done));
}

/** Reads until `buf` is full or the file ends. */
export async function readFd(fd: number, buf: Uint8Array, pos: number, path: string): Promise<number> {
  let got = 0;
  while (got < buf.length) {
    const n = await readFdOnce(fd, got === 0 ? buf : buf.subarray(got), pos + got, path);
    if (n === 0) break;
    got += n;
  }
  return got;
}

export function readFdSync(fd: number, buf: Uint8Array, pos: number, path: string): number {
  let got = 0;
  try {
    while (got < buf.length) {
      const n = fs.readSync(fd, buf, got, Math.min(buf.length - got, bytesPerCallMax), pos + got);
      if (n === 0) break;
      got += n;
    }
  } catch (error) {
    throw failed(error, 'read', path);
  }
  return got;
}

/** Writes all of `buf`; an error after some of it, or a write of nothing, is a failure of the whole. */
export async function writeFd(fd: number, buf: Uint8Array, pos: number, path: string): Promise<void> {
  let put = 0;
  while (put < buf.length) {
    const n = await writeFdOnce(fd, put === 0 ? buf : buf.subarray(put), pos + put, path);
    if (n === 0) throw fsError('EIO', `write stopped after ${put} of ${buf.length} bytes`, path);
    put += n;
  }
}

export function writeFdSync(fd: number, buf: Uint8Array, pos: number, path: string): void {
  let put = 0;
  while (put < buf.length) {
    let n: number;
    try {
      n = fs.writeSync(fd, buf, put, Math.min(buf.length - put, bytesPerCallMax), pos + put);
    } catch (error) {
      throw failed(error, 'write', path);
    }
    if (n === 0) throw fsError('EIO', `write stopped after ${put} of ${buf.length} bytes`, path);
    put += n;
  }
}

export function syncFd(fd: number, path: string): Promise<void> {
  return call('sync', path, (done) => fs.fsync(fd, (error) => done(error, undefined)));
}

export function dataSyncFd(fd: number, path: string): Promise<void> {
  return call('dataSync', path, (done) => fs.fdatasync(fd, (error) => done(error, undefined)));
}

export function truncateFd(fd: number, length: number, path: string): Promise<void> {
  return call('truncate', path, (done) => fs.ftruncate(fd, length, (error) => done(error, undefined)));
}

export async function sizeOfFd(fd: number, path: string): Promise<number> {
  return (await call<fs.Stats>('fstat', path, (done) => fs.fstat(fd, done))).size;
}

export function identityOfFd(fd: number, path: string): Promise<FileIdentity> {
  return call<fs.BigIntStats>('fstat', path, (done) => fs.fstat(fd, { bigint: true }, done));
}

/** Device and inode behind a path, links followed; null when nothing is there. */
export async function identityOf(absolute: string, path: string): Promise<FileIdentity | null> {
  const stat = (done: Done<fs.BigIntStats>): void => fs.stat(absolute, { bigint: true }, done);
  return orNull('ENOENT', () => call<fs.BigIntStats>('stat', path, stat));
}

/** What is at a path, links not followed; null when nothing is. */
export async function statPath(absolute: string, path: string): Promise<FsStat | null> {
  const stat = await orNull('ENOENT', () => call<fs.Stats>('stat', path, (done) => fs.lstat(absolute, done)));
  return stat === null ? null : { kind: kindOf(stat), size: stat.size, mtimeMs: stat.mtimeMs };
}

/** `statPath` on the calling thread. */
export function statPathSync(absolute: string, path: string): FsStat | null {
  try {
    const stat = fs.lstatSync(absolute);
    return { kind: kindOf(stat), size: stat.size, mtimeMs: stat.mtimeMs };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw failed(error, 'stat', path);
  }
}

/** Same as `statPath`, links followed. */
export async function statTarget(absolute: string, path: string): Promise<FsStat | null> {
  const stat = await orNull('ENOENT', () => call<fs.Stats>('stat', path, (done) => fs.stat(absolute, done)));
  return stat === null ? null : { kind: kindOf(stat), size: stat.size, mtimeMs: stat.mtimeMs };
}

/** False when the name is taken. Mode 0700 whatever the umask. */
export async function makeDirectory(absolute: string, path: string): Promise<boolean> {
  const make = (done: Done<void>): void =>
    fs.mkdir(absolute, directoryMode, (error) => done(error, undefined));
  const made = await orNull('EEXIST', async () => {
    await call('mkdir', path, make);
    return true;
  });
  if (made === null) return false;
  if (process.platform !== 'win32') {
    await call<void>('chmod', path, (done) => fs.chmod(absolute, directoryMode, (e) => done(e, undefined)));
  }
  return true;
}

export function renamePath(from: string, to: string, path: string): Promise<void> {
  return call('rename', path, (done) => fs.rename(from, to, (error) => done(error, undefined)));
}

/** A second name for a file; EEXIST where one is. */
export function linkPath(from: string, to: string, path: string): Promise<void> {
  return call('link', path, (done) => fs.link(from, to, (error) => done(error, undefined)));
}

/** False when there was nothing. */
export async function unlinkPath(absolute: string, path: string): Promise<boolean> {
  const gone = await orNull('ENOENT', async () => {
    await call<void>('unlink', path, (done) => fs.unlink(absolute, (error) => done(error, undefined)));
    return true;
  });
  return gone ?? false;
}

/** False when it is not there or not empty. */
export async function removeDirectory(absolute: string, path: string): Promise<boolean> {
  try {
    await call<void>('rmdir', path, (done) => fs.rmdir(absolute, (error) => done(error, undefined)));
    return true;
  } catch (error) {
    if (error instanceof Error && 'errno' in error) {
      // POSIX lets a system answer EEXIST for a directory that is not empty.
      if (['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(String(error.errno))) return false;
    }
    throw error;
  }
}

export async function listDirectory(
  absolute: string,
  path: string,
): Promise<{ name: string; kind: FsStat['kind'] | undefined }[]> {
  const list = (done: Done<fs.Dirent[]>): void => fs.readdir(absolute, { withFileTypes: true }, done);
  const entries = await call<fs.Dirent[]>('list', path, list);
  return entries.map((entry) => ({ name: entry.name, kind: entryKind(entry) }));
}

/** Syncs the names in a directory. */
export async function syncDirectory(absolute: string, path: string): Promise<void> {
  const fd = await call<number>('open', path, (done) => fs.open(absolute, directoryFlags, done));
  try {
    await syncFd(fd, path);
  } finally {
    await closeFd(fd, path);
  }
}

/** Free bytes for this user. */
export async function freeBytes(absolute: string, path: string): Promise<number> {
  const stat = await call<fs.StatsFs>('statfs', path, (done) => fs.statfs(absolute, done));
  return stat.bavail * stat.bsize;
}

/** The start of a small system file such as those in /proc, as text; undefined where it cannot be read. */
export function readSystemText(absolute: string): string | undefined {
  try {
    return fs.readFileSync(absolute, 'utf8').slice(0, 4096);
  } catch (error) {
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

/** Target of a link such as those in /proc; undefined where it cannot be read. */
export function readLinkText(absolute: string): string | undefined {
  try {
    return fs.readlinkSync(absolute);
  } catch (error) {
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

async function orNull<T>(errno: string, task: () => Promise<T>): Promise<T | null> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof Error && 'errno' in error && error.errno === errno) return null;
    throw error;
  }
}

function kindOf(stat: fs.Stats): FsStat['kind'] {
  return stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'other';
}

/** Undefined where the file system does not tell the kind with the name. */
function entryKind(entry: fs.Dirent): FsStat['kind'] | undefined {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'directory';
  const known = entry.isSymbolicLink() || entry.isFIFO() || entry.isSocket() || entry.isBlockDevice();
  return known || entry.isCharacterDevice() ? 'other' : undefined;
}
