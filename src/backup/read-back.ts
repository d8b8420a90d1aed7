/** What a run has put is read back before anything relies on it. */
import { alignedBytes } from '../base/aligned-bytes.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { type BlobReader, type BlobStore, openBlob } from './blob-store.ts';

/** Bytes of one read. */
const pieceBytes: number = 2 * MiB;

/**
 * Whether the target has these very bytes under the name, which costs no hash; undefined: it has no such
 * object. Read in pieces, one behind the other: neither memory nor the thread is held for a whole pack, and
 * disks read ahead of one reader best.
 */
export async function isGivenBack(
  store: BlobStore,
  name: string,
  bytes: Uint8Array,
): Promise<boolean | undefined> {
  // A file of this machine can be read into memory in blocks from the disk itself.
  const memory = bytes.length < pieceBytes ? new Uint8Array(bytes.length) : alignedBytes(pieceBytes);
  let blob: BlobReader | undefined;
  try {
    blob = await openBlob(store, name);
    for (let from = 0; from < bytes.length; from += pieceBytes) {
      const length = Math.min(pieceBytes, bytes.length - from);
      const got = await blob.readBack(from, memory.subarray(0, length));
      if (Buffer.compare(got, bytes.subarray(from, from + length)) !== 0) return false;
    }
    return true;
  } catch (error) {
    if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
    throw error;
  } finally {
    await blob?.close();
  }
}

/** For an object that the target has lost or changed. */
export function notGivenBack(name: string): VarveError {
  return new VarveError('VARVE_IO', `${name}: the target does not give back what was put`, { file: name });
}
