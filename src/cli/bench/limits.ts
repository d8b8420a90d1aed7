/** What the machine could do at most: the bounds that the figures of a benchmark are held against. */
import { type FileHandle, open } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { KiB, MiB } from '../../base/limits.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import { systemClock } from '../../fs/system-clock.ts';
import { setSha256 } from '../../kernels/hash/sha256.ts';
import { nodeSha256 } from '../../kernels/hash/sha256-node.ts';
import { Jobs } from '../../pool/jobs.ts';
import { PiscinaPool } from '../../pool/piscina-pool.ts';

/** Bytes a second, but `syncs`: small durable writes a second, one behind the other. */
export interface Limits {
  /** SHA-256 on all cores, pieces of 16 KiB. */
  readonly sha256: number;
  readonly memoryCopy: number;
  /** Into a new file, made durable at the end. */
  readonly diskWrite: number;
  /** The same file again, which the system may still hold in memory. */
  readonly diskRead: number;
  readonly syncs: number;
}

const pieceBytes = 16 * KiB;
const taskBytes = 4 * MiB;
const writeBytes = MiB;
const syncedBytes = 4 * KiB;

/** Bytes a second of `bytes` in `ms`. */
export function rateOf(bytes: number, ms: number): number {
  return (bytes * 1000) / Math.max(0.001, ms);
}

/**
 * SHA-256 rate of all cores over `data` (copied first), and how many took part: one where threads cannot be
 * started.
 */
export async function hashLimit(data: Uint8Array): Promise<{ rate: number; cores: number }> {
  setSha256(nodeSha256);
  const cores = availableParallelism();
  const shared = new SharedArrayBuffer(data.length);
  new Uint8Array(shared).set(data);
  let failed = 0;
  const onFailure = (): void => {
    failed++;
  };
  const jobs = new Jobs({ pool: new PiscinaPool(cores), clock: systemClock, onFailure });
  try {
    const pass = async (): Promise<number> => {
      const begun = performance.now();
      let next = 0;
      const lane = async (): Promise<void> => {
        while (next < data.length) {
          const from = next;
          next += taskBytes;
          const ranges = rangesOf(from, Math.min(data.length, next));
          await jobs.submit({ kind: 'hash', shared, ranges }).ended;
        }
      };
      await Promise.all(Array.from({ length: cores }, lane));
      return performance.now() - begun;
    };
    // The first pass starts the threads.
    await pass();
    return { rate: rateOf(data.length, await pass()), cores: failed === 0 ? cores : 1 };
  } finally {
    await jobs.close();
  }
}

function rangesOf(from: number, to: number): Uint32Array {
  const ranges: number[] = [];
  for (let at = from; at < to; at += pieceBytes) ranges.push(at, Math.min(to, at + pieceBytes));
  return Uint32Array.from(ranges);
}

/** Copy rate of one thread. */
export function copyLimit(data: Uint8Array): number {
  const target = new Uint8Array(writeBytes);
  const begun = performance.now();
  for (let at = 0; at < data.length; at += target.length)
    target.set(data.subarray(at, Math.min(data.length, at + target.length)));
  return rateOf(data.length, performance.now() - begun);
}

/** Writes `data` to a new file in `dir`, makes it durable, reads it back. The file stays. */
export async function diskLimits(
  data: Uint8Array,
  dir: string,
  signal: AbortSignal,
): Promise<{ write: number; read: number }> {
  const file = await open(path.join(dir, 'plain'), 'wx+');
  try {
    let begun = performance.now();
    for (let at = 0; at < data.length; at += writeBytes) {
      throwIfAborted(signal);
      await writeAll(file, data.subarray(at, Math.min(data.length, at + writeBytes)), at);
    }
    await file.datasync();
    const write = rateOf(data.length, performance.now() - begun);
    begun = performance.now();
    const piece = new Uint8Array(writeBytes);
    let read = 0;
    for (let got = -1; got !== 0; read += got) {
      throwIfAborted(signal);
      got = (await file.read(piece, 0, piece.length, read)).bytesRead;
    }
    return { write, read: rateOf(read, performance.now() - begun) };
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}

/** Durable appends of 4 KiB a second, one behind the other, over `ms`. */
export async function syncLimit(dir: string, ms: number, signal: AbortSignal): Promise<number> {
  const file = await open(path.join(dir, 'syncs'), 'wx');
  try {
    const bytes = new Uint8Array(syncedBytes).fill(1);
    const begun = performance.now();
    let count = 0;
    for (; performance.now() - begun < ms || count === 0; count++) {
      throwIfAborted(signal);
      await writeAll(file, bytes, count * syncedBytes);
      await file.datasync();
    }
    return rateOf(count, performance.now() - begun);
  } finally {
    await file.close();
  }
}
