/** Reading files that may change, vanish or turn out to be something else while they are read. */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { VarveError } from '../../base/errors.ts';
import { DirectSource } from '../../value/direct-source.ts';

// A link put in the file's place is refused, and a pipe cannot hang the open. Windows has neither flag.
const openFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

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
  const after = await handle.stat({ bigint: true });
  const same =
    after.size === before.size && after.mtimeNs === before.mtimeNs && after.ctimeNs === before.ctimeNs;
  if (!same) throw changedError();
}
