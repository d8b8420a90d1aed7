/**
 * One stream cut and hashed on threads, exactly, against the same threads hashing alone: the share of the
 * hash rate that is left when chunks are found and stitched as well.
 */
import { MiB } from '../src/base/limits.ts';
import { Prng } from '../src/base/prng.ts';
import { systemClock } from '../src/fs/system-clock.ts';
import { ChunkerPool } from '../src/kernels/chunker/chunker.ts';
import { solveParams } from '../src/kernels/chunker/params.ts';
import { ringFor } from '../src/pool/buffer-ring.ts';
import { Jobs } from '../src/pool/jobs.ts';
import { PiscinaPool } from '../src/pool/piscina-pool.ts';
import { StreamCutter } from '../src/value/stream-cutter.ts';
import { type Spread, spreadOf } from './tools/rounds.ts';

/** Bytes a second, and the share of each round, as both are measured in turn. */
export interface ThreadRates {
  readonly threads: number;
  readonly hashOnly: Spread;
  readonly cutAndHash: Spread;
  readonly share: Spread;
}

const streamBytes = 64 * MiB;
const differentBytes = 16 * MiB;
const pieceBytes = 16 * 1024;
const taskBytes = 2 * MiB;

/** Takes part itself, as `put` does, where it would else wait for threads. */
export async function measureThreads(threads: number, rounds: number): Promise<ThreadRates> {
  const shared = new SharedArrayBuffer(streamBytes);
  const data = new Uint8Array(shared);
  const different = new Prng(1).bytes(differentBytes);
  for (let at = 0; at < streamBytes; at += differentBytes) data.set(different, at);
  const params = solveParams({ algorithm: 'sieve', min: 4096, avg: 16_384, max: 65_536 });
  const chunkers = new ChunkerPool(params);
  const ring = ringFor(params.max, threads)!;
  const failures: unknown[] = [];
  const jobs = new Jobs({
    pool: new PiscinaPool(threads),
    clock: systemClock,
    onFailure: (error) => failures.push(error),
    startBytes: 0,
  });
  const cut = async (): Promise<void> => {
    let ended = 0;
    const cutter = new StreamCutter({
      chunkers,
      threads: { jobs, ring },
      turn: () => systemClock.turn(),
      take: (_buffer, from, to) => {
        ended += to - from;
      },
    });
    let read = 0;
    const next = async (into: Uint8Array): Promise<number> => {
      const taken = Math.min(into.length, streamBytes - read);
      into.set(data.subarray(read, read + taken));
      read += taken;
      return taken;
    };
    while ((await cutter.pull(next, streamBytes - read)) > 0);
    await cutter.finish();
    cutter.release();
    if (ended !== streamBytes) throw new Error(`chunks of ${ended} bytes in all`);
  };
  try {
    // The first of each starts the threads and warms them up.
    await hashAll(jobs, shared);
    await cut();
    const found: { readonly hash: number; readonly cut: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      const hash = await rateOf(() => hashAll(jobs, shared));
      found.push({ hash, cut: await rateOf(cut) });
    }
    if (failures.length > 0) throw failures[0];
    return {
      threads,
      hashOnly: spreadOf(found.map(({ hash }) => hash)),
      cutAndHash: spreadOf(found.map((one) => one.cut)),
      share: spreadOf(found.map((one) => one.cut / one.hash)),
    };
  } finally {
    await jobs.close();
  }
}

/** SHA-256 of pieces, as many tasks under way as there are threads and one more. */
async function hashAll(jobs: Jobs, shared: SharedArrayBuffer): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < streamBytes) {
      const from = next;
      next += taskBytes;
      const ranges = Uint32Array.from({ length: (2 * taskBytes) / pieceBytes }, (_, i) => {
        return from + Math.ceil(i / 2) * pieceBytes;
      });
      await jobs.submit({ kind: 'hash', shared, ranges }).ended;
    }
  };
  await Promise.all(Array.from({ length: jobs.size + 1 }, lane));
}

async function rateOf(work: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await work();
  return (streamBytes * 1000) / (performance.now() - begun);
}
