/** Threads of an open store, as `workers` asks for: none where the entry point has none to offer. */
import type { VaultThreads } from '../backup/vault-state.ts';
import type { Clock } from '../base/clock.ts';
import { MiB } from '../base/limits.ts';
import type { ChunkerParams } from '../kernels/chunker/params.ts';
import { BufferRing, ringFor } from '../pool/buffer-ring.ts';
import { Jobs } from '../pool/jobs.ts';
import type { PoolProvider } from '../pool/port.ts';
import type { Env } from './env.ts';
import type { CheckedOptions } from './options.ts';

/** Threads and the memory they are given their bytes in. */
export interface Threads {
  readonly jobs: Jobs;
  readonly ring: BufferRing;
  /** Values and reads shorter than this stay on the calling thread; left out: about 1 MiB. */
  readonly bytesMin?: number | undefined;
}

/** Smaller in tests. */
export interface ThreadBounds {
  readonly bytesMin?: number;
  /** Bytes and number of the buffers of the ring; both or none. */
  readonly bufferBytes?: number;
  readonly buffers?: number;
  /** Bytes for which threads are started; 0 where not given. */
  readonly startBytes?: number;
}

/** More than this gain nothing: the calling thread has to store what they hand back. */
const autoThreadsMax = 4;
/** Chunks up to this size share buffers of 2 MiB; threads hash no chunk that is larger than a buffer. */
const vaultPieceBytes: number = MiB / 2;
/** Threads are started for the one call, which costs as much as hashing some 50 MiB. */
const vaultStartBytes: number = 192 * MiB;

/**
 * No thread is started before there is work for it. Undefined: everything on the calling thread. `bounds` are
 * for tests.
 */
export function threadsFor(
  env: Env,
  options: CheckedOptions,
  params: ChunkerParams,
  bounds: ThreadBounds | undefined,
): Threads | undefined {
  const { pool, clock } = env;
  if (pool === undefined) return undefined;
  const { workers, logger } = options;
  const size = workers === 'auto' ? autoThreads(pool.cores) : workers;
  if (size === 0) return undefined;
  const { bufferBytes, buffers } = bounds ?? {};
  const given = bufferBytes !== undefined && buffers !== undefined;
  const ring = given ? new BufferRing(bufferBytes, buffers) : ringFor(params.max, size);
  if (ring === undefined) return undefined;
  const onFailure = (error: unknown, last: boolean): void => {
    logger.warn?.(
      last
        ? 'worker threads keep failing: from now on everything is computed on the calling thread'
        : 'a worker thread failed: its work was done on the calling thread',
      { error },
    );
  };
  const startBytes = bounds === undefined ? undefined : (bounds.startBytes ?? 0);
  const jobs = new Jobs({ pool: pool.open(size), clock, onFailure, startBytes });
  return { jobs, ring, bytesMin: bounds?.bytesMin };
}

/** Threads for one call on a vault, or one repair. What they fail to do the calling thread does. */
export function vaultThreads(pool: PoolProvider, clock: Clock): VaultThreads | undefined {
  const size = autoThreads(pool.cores);
  const ring = size === 0 ? undefined : ringFor(vaultPieceBytes, size);
  if (ring === undefined) return undefined;
  const startBytes = vaultStartBytes;
  const jobs = new Jobs({ pool: pool.open(size), clock, onFailure: () => undefined, startBytes });
  return { jobs, ring, close: () => jobs.close() };
}

function autoThreads(cores: number): number {
  return cores <= 1 ? 0 : Math.min(cores, autoThreadsMax);
}
