/**
 * Space set aside against a full disk: a file of random bytes, freed when the disk refuses a write, so that
 * the store can be opened, things deleted and space reclaimed. Nothing in it is ever read.
 *
 * It grows with the store, at checkpoints: a 64th of it, at least a MiB and at most 64 MiB. Stores below 4
 * MiB have none, so that it is never more than a quarter. A disk without ample room gets none.
 *
 * Invariants (test/engine/reserve.test.ts)
 * - Nothing fails for want of it ("a reserve that cannot be written is none").
 * - A store on a full disk can be opened and emptied with it ("a full store is opened, emptied and
 *   compacted").
 */
import { isVarveError } from '../../base/errors.ts';
import { KiB, MiB } from '../../base/limits.ts';
import { reserveName } from '../../format/file-names.ts';
import type { FsPort } from '../../fs/port.ts';
import type { Logger } from '../options.ts';

const reserveBytesMax = 64 * MiB;
const reserveBytesMin = MiB;
/** Smaller stores have none. */
const storeBytesMin = 4 * MiB;
/** The file grows by whole steps, as many bytes as the system gives random ones of at a time. */
const stepBytes = 64 * KiB;
/** Bytes of a write: a whole number of steps. */
const pieceBytes = MiB;
/** Free space that must be left for each byte set aside. */
const spare = 4;

/** Bytes to set aside for a store of `storeBytes`. */
export function reserveBytes(storeBytes: number): number {
  if (storeBytes < storeBytesMin) return 0;
  const wanted = Math.min(reserveBytesMax, Math.max(reserveBytesMin, storeBytes / 64));
  return Math.floor(wanted / stepBytes) * stepBytes;
}

/**
 * Brings the reserve to the size for `storeBytes` when it is smaller and the disk has ample room. Never
 * throws: a store without a reserve is as sound as one with it.
 */
export async function growReserve(
  fs: FsPort,
  storeBytes: number,
  random: (n: number) => Uint8Array,
  logger: Logger,
): Promise<void> {
  const wanted = reserveBytes(storeBytes);
  if (wanted === 0) return;
  try {
    const there = await fs.stat(reserveName);
    const size = there?.size ?? 0;
    if (size >= wanted) return;
    const free = await fs.free();
    if (free !== undefined && free < (wanted - size) * spare) return;
    const file = await fs.open(reserveName, there === null ? 'create' : 'rw');
    try {
      for (let at = size; at < wanted; at += pieceBytes) {
        await file.write(randomPiece(Math.min(pieceBytes, wanted - at), random), at);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (there === null) await fs.syncDir('');
  } catch (error) {
    logger.warn?.('space could not be set aside', { error });
  }
}

/** Zeros, or bytes that repeat, take no room on some disks. */
function randomPiece(length: number, random: (n: number) => Uint8Array): Uint8Array {
  const piece = new Uint8Array(length);
  for (let at = 0; at < length; at += stepBytes) piece.set(random(Math.min(stepBytes, length - at)), at);
  return piece;
}

/** Frees what was set aside; false when there was nothing. VARVE_IO. */
export async function releaseReserve(fs: FsPort): Promise<boolean> {
  if (!(await fs.unlink(reserveName))) return false;
  await fs.syncDir('');
  return true;
}

/**
 * Runs `task`; when the disk is too full for it the reserve is freed and it is run once more. Rejects with
 * what the last run rejects with.
 */
export async function withReserve<T>(fs: FsPort, logger: Logger, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (!isVarveError(error, 'VARVE_NO_SPACE') || !(await releaseReserve(fs))) throw error;
    logger.warn?.('the disk is full: space that was set aside for this is used', { error });
    return await task();
  }
}
