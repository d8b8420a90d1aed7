/** Reading files that may change, vanish or turn out to be something else while they are read. */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { emptyBytes } from '../../base/bytes.ts';
import { VarveError } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { DirectSource } from '../../value/direct-source.ts';
import type { CallPace } from './call-pace.ts';

// A link put in the file's place is refused, and a pipe cannot hang the open. Windows has neither flag.
const openFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Bytes of which the contents of many small files are parts. */
const slabBytes: number = MiB;

/** An open regular file with its state when it was opened. The caller closes it. */
export interface OpenedFile {
  readonly handle: FileHandle;
  readonly stat: BigIntStats;
}

/** A small file as it was at one moment. */
export interface WholeFile {
  readonly bytes: Uint8Array;
  readonly stat: BigIntStats;
}

/** Opens a regular file without following links. VARVE_IO when something else lies there. */
export async function openRegular(path: Buffer): Promise<OpenedFile> {
  const handle = await open(path, openFlags);
  try {
    const stat = await handle.stat({ bigint: true });
    requireRegular(stat);
    return { handle, stat };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Thrown when a file was not the same at the end of reading. */
export function changedError(): VarveError {
  return new VarveError('VARVE_IO', 'changed while it was read', { retryable: true });
}

/**
 * The whole of a regular file of up to `bytesMax` bytes, which looked like `seen` before. Throws
 * `changedError` when it changed meanwhile or is longer; errors as openRegular.
 */
export function readWholeFile(
  path: Buffer,
  seen: BigIntStats,
  bytesMax: number,
  pace: CallPace,
  room: FileRoom = new FileRoom(),
): WholeFile | Promise<WholeFile> {
  return pace.run(
    () => readHere(path, seen, bytesMax, room),
    () => readThere(path, bytesMax),
  );
}

/** Memory for the contents of small files, a slab for many of them. */
export class FileRoom {
  #slab: Uint8Array = emptyBytes;
  #used = 0;

  /** `length` bytes, the caller's. */
  take(length: number): Uint8Array {
    if (length > slabBytes / 4) return new Uint8Array(length);
    if (this.#used + length > this.#slab.length) {
      this.#slab = new Uint8Array(slabBytes);
      this.#used = 0;
    }
    const from = this.#used;
    this.#used += length;
    return this.#slab.subarray(from, this.#used);
  }
}

function readHere(path: Buffer, seen: BigIntStats, bytesMax: number, room: FileRoom): WholeFile {
  const fd = openSync(path, openFlags);
  try {
    const expected = readSoMuch(fd, room.take(neededFor(seen, bytesMax)));
    const after = fstatSync(fd, { bigint: true });
    // The file that was seen, and as it was then: one look at it is enough.
    if (expected !== undefined && isSame(seen, after) && seen.ino === after.ino && seen.dev === after.dev)
      return { bytes: expected, stat: after };
    const bytes = readSoMuch(fd, room.take(neededFor(after, bytesMax)));
    if (bytes === undefined || !isSame(after, fstatSync(fd, { bigint: true }))) throw changedError();
    return { bytes, stat: after };
  } finally {
    closeSync(fd);
  }
}

/** Undefined when there are more or fewer bytes than `buf` has room for but one. */
function readSoMuch(fd: number, buf: Uint8Array): Uint8Array | undefined {
  let got = 0;
  let read: number;
  do {
    read = readSync(fd, buf, got, buf.length - got, got);
    got += read;
  } while (read > 0 && got < buf.length - 1);
  return got === buf.length - 1 ? buf.subarray(0, got) : undefined;
}

async function readThere(path: Buffer, bytesMax: number): Promise<WholeFile> {
  const { handle, stat } = await openRegular(path);
  try {
    const buf = new Uint8Array(neededFor(stat, bytesMax));
    let got = 0;
    let read: number;
    do {
      read = (await handle.read(buf, got, buf.length - got, got)).bytesRead;
      got += read;
    } while (read > 0 && got < buf.length - 1);
    if (got !== buf.length - 1 || !isSame(stat, await handle.stat({ bigint: true }))) throw changedError();
    return { bytes: buf.subarray(0, got), stat };
  } finally {
    await handle.close();
  }
}

/** One byte more than expected, to see growth. */
function neededFor(stat: BigIntStats, bytesMax: number): number {
  requireRegular(stat);
  if (stat.size > BigInt(bytesMax)) throw changedError();
  return Number(stat.size) + 1;
}

function requireRegular(stat: BigIntStats): void {
  if (!stat.isFile()) throw new VarveError('VARVE_IO', 'is no longer a regular file');
}

/**
 * The file as a value that is read into the memory it is cut in. Throws `changedError` at its end when it
 * changed meanwhile, so that a put of it does not commit a mix of two states. `onError` is told what reading
 * failed with.
 */
export function directFile(
  { handle, stat }: OpenedFile,
  onBytes: (bytes: number) => void,
  onError: (error: unknown) => void,
): DirectSource {
  const size = Number(stat.size);
  let got = 0;
  const read = async (into: Uint8Array): Promise<number> => {
    if (got === size) {
      // One byte more than expected, to see growth.
      const { bytesRead } = await handle.read(new Uint8Array(1), 0, 1, size);
      if (bytesRead > 0) throw changedError();
      await throwIfChanged(handle, stat);
      return 0;
    }
    const { bytesRead } = await handle.read(into, 0, Math.min(into.length, size - got), got);
    if (bytesRead === 0) throw changedError();
    got += bytesRead;
    onBytes(bytesRead);
    return bytesRead;
  };
  return new DirectSource(size, async (into) => {
    try {
      return await read(into);
    } catch (error) {
      onError(error);
      throw error;
    }
  });
}

async function throwIfChanged(handle: FileHandle, before: BigIntStats): Promise<void> {
  if (!isSame(before, await handle.stat({ bigint: true }))) throw changedError();
}

function isSame(before: BigIntStats, after: BigIntStats): boolean {
  return after.size === before.size && after.mtimeNs === before.mtimeNs && after.ctimeNs === before.ctimeNs;
}
