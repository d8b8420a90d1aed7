/** Reading files that may change, vanish or turn out to be something else while they are read. */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { VarveError } from '../../base/errors.ts';

// A link put in the file's place is refused, and a pipe cannot hang the open. Windows has neither flag.
const openFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
const pieceBytes = 512 * 1024;

/** An open regular file with its state when it was opened. The caller closes it. */
export interface OpenedFile {
  readonly handle: FileHandle;
  readonly stat: BigIntStats;
}

/** Opens a regular file without following links. VARVE_IO when something else lies there. */
export async function openRegular(path: Buffer): Promise<OpenedFile> {
  const handle = await open(path, openFlags);
  try {
    const stat = await handle.stat({ bigint: true });
    if (!stat.isFile()) throw new VarveError('VARVE_IO', 'is no longer a regular file');
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

/** The whole file. Throws `changedError` when it changed meanwhile. */
export async function readWholeFile({ handle, stat }: OpenedFile): Promise<Uint8Array> {
  const size = Number(stat.size);
  // One byte more than expected, to see growth.
  const buf = Buffer.allocUnsafeSlow(size + 1);
  let got = 0;
  while (got <= size) {
    const { bytesRead } = await handle.read(buf, got, buf.length - got, got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  if (got !== size) throw changedError();
  await throwIfChanged(handle, stat);
  return buf.subarray(0, size);
}

/**
 * The file piece by piece. Throws `changedError` behind the last piece when it changed meanwhile, so that a
 * put of this stream does not commit a mix of two states.
 */
export async function* readPieces(
  { handle, stat }: OpenedFile,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const size = Number(stat.size);
  let got = 0;
  while (got <= size) {
    const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, size + 1 - got));
    const { bytesRead } = await handle.read(piece, 0, piece.length, got);
    if (bytesRead === 0) break;
    got += bytesRead;
    if (got > size) throw changedError();
    onBytes(bytesRead);
    yield piece.subarray(0, bytesRead);
  }
  if (got !== size) throw changedError();
  await throwIfChanged(handle, stat);
}

async function throwIfChanged(handle: FileHandle, before: BigIntStats): Promise<void> {
  const after = await handle.stat({ bigint: true });
  const same =
    after.size === before.size && after.mtimeNs === before.mtimeNs && after.ctimeNs === before.ctimeNs;
  if (!same) throw changedError();
}
