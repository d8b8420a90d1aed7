/** What the engine needs from outside, for a disk in memory: its own time, randomness from a seed. */
import type { Clock } from '../../src/base/clock.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Env } from '../../src/engine/env.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import type { PoolProvider, WorkPool } from '../../src/pool/port.ts';
import { FakePool } from '../pool/fake-pool.ts';
import { bulkWrites } from '../segment/support.ts';

/** How the stores of one run are opened. */
export interface StoreShape {
  readonly durability: 'full' | 'os' | { groupMs: number };
  readonly algorithm: 'fastcdc' | 'sieve';
  readonly inlineMax: number;
  readonly segmentBytes: number;
  /** Chunks a value names before it stages them; the engine's own bound when not given. */
  readonly stageBirthsMax?: number;
  /** Tables are merged as soon as there are two; they never are when not given. */
  readonly merges?: boolean;
  /** Late rows that a step of the reaper writes; the engine's own bound when not given. */
  readonly reapDeletes?: number;
  /** Newest superseded versions that are kept of each key; none when not given. */
  readonly historyVersions?: number;
  /** Values of a few chunks go to two threads that answer in any order, die, hang and lie. */
  readonly threads?: boolean;
}

/** So small that a few rows fill a level. */
const mergeLimits = {
  level0Tables: 2,
  tableBytes: 1024,
  level1Bytes: 2048,
  levelRatio: 2,
  tombstonesMin: 4,
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const startMs = 1_700_000_000_000;
/** After all that a workload does: what is brief has expired. */
const laterMs = startMs + 1_000_000_000;
/** Virtual ms between the lives of a recorded run. */
const lifeMs = 1_000_000;

/** A clock that moves a little whenever it is read and jumps over every wait. */
export function simulatedClock(start: number = laterMs): Clock {
  let now = start;
  return {
    now: () => now++,
    monotonic: () => now++,
    async sleep(ms) {
      await turn();
      now += ms;
    },
    turn,
    keepAlive: () => () => undefined,
  };
}

/** `life`: it is that one of a recorded run, from 0; else it is later than all of them. */
export function envOf(disk: MemoryFileSystem, seed: number, life?: number): Env {
  const clock = simulatedClock(life === undefined ? laterMs : startMs + life * lifeMs);
  const prng = new Prng(seed);
  return { fs: disk, lock: memoryLock(disk, clock), clock, random: (n) => prng.bytes(n) };
}

/**
 * Opens the store of `shape` on `disk`; `seed` makes its random bytes. `still`: nothing goes on in the
 * background, so that the files hold still.
 */
export function openOn(
  disk: MemoryFileSystem,
  shape: StoreShape,
  seed: number,
  more: EngineOptions = {},
  still = false,
): Promise<Engine> {
  return openEnv(envOf(disk, seed), shape, more, still);
}

/** The store of `shape` as life `life` of a recorded run opens it. */
export function openLife(
  disk: MemoryFileSystem,
  shape: StoreShape,
  seed: number,
  life: number,
): Promise<Engine> {
  const { historyVersions: versions } = shape;
  const more = versions === undefined ? {} : { history: { versions } };
  return openEnv(envOf(disk, seed, life), shape, more, false);
}

function unreliableThreads(env: Env): PoolProvider {
  const [seed] = env.random(1);
  const open = (size: number): WorkPool =>
    new FakePool(size, new Prng(seed!), { dies: 8, hangs: 4, lies: 4 });
  return { cores: 2, open };
}

/** The store of `shape` in `env`. */
export function openEnv(env: Env, shape: StoreShape, more: EngineOptions, still: boolean): Promise<Engine> {
  const merges = !still && shape.merges === true;
  const options: EngineOptions = {
    durability: shape.durability,
    chunking: { algorithm: shape.algorithm, min: 64, avg: 1024, max: 2048 },
    inlineMax: shape.inlineMax,
    memory: {
      memtableBytes: 64 * 1024,
      trailerCacheBytes: 4096 * 16,
      blockCacheBytes: 256 * 1024,
      foundRowBytes: 8 * 1024,
    },
    // What is left over is told from what is kept.
    changesRetention: { bytes: 0 },
    ...more,
  };
  const { segmentBytes, stageBirthsMax, reapDeletes, threads } = shape;
  return openWithEnv(threads === true ? { ...env, pool: unreliableThreads(env) } : env, options, {
    segmentBytes,
    threads: { bytesMin: 1500, bufferBytes: 8192, buffers: 3 },
    // Small segments are written in blocks, those of other sizes are not.
    ...(segmentBytes === 8192 ? { bulk: bulkWrites(1500, 3072) } : {}),
    ...(stageBirthsMax === undefined ? {} : { stageBirthsMax }),
    ...(reapDeletes === undefined ? {} : { reaping: { deletes: reapDeletes } }),
    compaction: merges ? mergeLimits : 'off',
    flushMerges: merges,
    ...(still ? { purging: 'off' as const } : {}),
  });
}
