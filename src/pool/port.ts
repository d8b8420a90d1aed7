/**
 * Threads that compute: bytes in shared memory go in, small results come out. They own no file and no state.
 */
import type { ChunkerKey } from '../kernels/chunker/key.ts';
import type { ChunkerParams } from '../kernels/chunker/params.ts';

/** Cut shared[0..length) as if a chunk began at 0, and hash every chunk that is certain to end in it. */
export interface CutTask {
  readonly kind: 'cut';
  readonly shared: SharedArrayBuffer;
  readonly length: number;
  /** The stream ends at `length`: what is left there is its last chunk. */
  readonly atEnd: boolean;
  readonly params: ChunkerParams;
  readonly key: ChunkerKey;
}

/** The chunks of a CutTask. */
export interface CutResult {
  /** Where each chunk ends, ascending; the first begins at 0, each other where the one before ends. */
  readonly ends: Uint32Array;
  /** SHA-256 of each, 32 bytes apiece. */
  readonly ids: Uint8Array;
}

/** Hash ranges of shared memory. */
export interface HashTask {
  readonly kind: 'hash';
  readonly shared: SharedArrayBuffer;
  /** Pairs of from and to, bytes. */
  readonly ranges: Uint32Array;
}

/** The digests of a HashTask. */
export interface HashResult {
  /** SHA-256 of each range, 32 bytes apiece. */
  readonly ids: Uint8Array;
}

export type PoolTask = CutTask | HashTask;
export type ResultOf<T extends PoolTask> = T extends CutTask ? CutResult : HashResult;

/** A pool of threads. Starts none before the first task; idle ones do not keep the process alive. */
export interface WorkPool {
  /** Tasks it works on at the same time; it is given no more. */
  readonly size: number;
  /** Threads have been started and not all have ended: a task begins at once. */
  readonly isWarm: boolean;
  /**
   * Runs one task on a thread; the bytes it names must not change before it settles. Rejects when the thread
   * dies, cannot be started, or `signal` fires, which ends the thread. A rejection says nothing about bytes.
   */
  run<T extends PoolTask>(task: T, signal: AbortSignal): Promise<ResultOf<T>>;
  /** Ends all threads; tasks under way are rejected. */
  close(): Promise<void>;
}

/** What an entry point offers for `workers`. */
export interface PoolProvider {
  /** Threads the machine runs at the same time. */
  readonly cores: number;
  open(size: number): WorkPool;
}
