import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { deferred } from '../../src/base/sync.ts';
import { ChunkerPool, chunkAll } from '../../src/kernels/chunker/chunker.ts';
import { deriveChunkerKey } from '../../src/kernels/chunker/key.ts';
import { solveParams } from '../../src/kernels/chunker/params.ts';
import { sha256Hex } from '../../src/kernels/hash/sha256.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { type CutThreads, StreamCutter } from '../../src/value/stream-cutter.ts';
import { TestClock, turn } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';

const algorithms = ['fastcdc', 'sieve'] as const;
const pools = algorithms.map(
  (algorithm) =>
    new ChunkerPool(solveParams({ algorithm, min: 256, avg: 1024, max: 4096 }), {
      key: deriveChunkerKey(algorithm),
    }),
);

/** Time that hurries a hung thread along. */
class HastyClock extends TestClock {
  override async sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    for (let i = 0; i < 40; i++) await turn();
    signal?.throwIfAborted();
  }
}

interface Setup {
  readonly seed: number;
  readonly threads: number;
  readonly bufferBytes: number;
  readonly buffers: number;
  readonly faults: Faults;
}

function threadsOf({ seed, threads, bufferBytes, buffers, faults }: Setup): CutThreads & { jobs: Jobs } {
  const pool = new FakePool(threads, new Prng(seed), faults);
  // Of some values the first bytes are cut here, before threads pay.
  pool.isWarm = seed % 3 !== 0;
  const clock = new HastyClock();
  const jobs = new Jobs({ pool, clock, onFailure: () => undefined, startBytes: 15_000 });
  return { jobs, ring: new BufferRing(bufferBytes, buffers), bytesMin: 1 };
}

/** Each chunk as text, in the order taken. */
async function chunksOf(
  chunkers: ChunkerPool,
  value: Uint8Array,
  pieces: Prng,
  threads: CutThreads | undefined,
): Promise<string[]> {
  const taken: string[] = [];
  const cutter = new StreamCutter({
    chunkers,
    threads,
    turn,
    take: (buffer, from, to, ids, idAt) => {
      const id = Buffer.from(ids.subarray(idAt, idAt + 32)).toString('hex');
      const line = `${to - from} ${id}`;
      if (id !== sha256Hex(buffer.slice(from, to))) throw new Error('the digest is of other bytes');
      if (pieces.below(3) > 0) taken.push(line);
      else return turn().then(() => void taken.push(line));
    },
  });
  const longest = 1 + pieces.below(20_000);
  const isPulled = pieces.below(2) === 0;
  let at = 0;
  const read = async (into: Uint8Array): Promise<number> => {
    const from = at;
    at = Math.min(value.length, from + into.length, from + 1 + pieces.below(longest));
    if (pieces.below(2) === 0) await turn();
    into.set(value.subarray(from, at));
    return at - from;
  };
  for (let got = -1; isPulled && got !== 0; )
    got = await cutter.pull(read, pieces.below(2) * (value.length - at));
  while (at < value.length) {
    const end = Math.min(value.length, at + pieces.below(longest) + (pieces.below(4) === 0 ? 0 : 1));
    const piece = value.slice(at, end);
    await cutter.write(piece);
    piece.fill(0);
    at = end;
  }
  await cutter.finish();
  cutter.release();
  return taken;
}

function oracle(chunkers: ChunkerPool, value: Uint8Array): string[] {
  const chunker = chunkers.open();
  const lines: string[] = [];
  let from = 0;
  for (const end of chunkAll(chunker, value)) {
    lines.push(`${end - from} ${sha256Hex(value.slice(from, end))}`);
    from = end;
  }
  chunker.release();
  return lines;
}

/** Random bytes, text, constant runs and repeats, in stretches. */
function mixedValue(prng: Prng, length: number): Uint8Array {
  const value = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const end = Math.min(length, at + 1 + prng.below(30_000));
    const kind = prng.below(4);
    if (kind === 0) value.fill(prng.below(256), at, end);
    else if (kind === 1 && at > 100)
      value.copyWithin(at, prng.below(at), Math.min(at, prng.below(at) + end - at));
    else value.set(prng.bytes(end - at), at);
    at = end;
  }
  return value;
}

const setup = fc.record({
  seed: fc.nat(),
  threads: fc.integer({ min: 1, max: 4 }),
  bufferBytes: fc.constantFrom(5000, 8192, 20_000, 65_536),
  buffers: fc.integer({ min: 1, max: 6 }),
  faults: fc.constantFrom<Faults>(
    {},
    { dies: 20 },
    { hangs: 15 },
    { lies: 30 },
    { dies: 10, hangs: 10, lies: 10 },
  ),
});

describe('a stream cutter', () => {
  test.each([0, 1])('the chunks are those of one thread (algorithm %i)', async (algorithm) => {
    const chunkers = pools[algorithm]!;
    await fc.assert(
      fc.asyncProperty(setup, fc.nat(300_000), async (given, length) => {
        const value = mixedValue(new Prng(given.seed), length);
        const threads = threadsOf(given);
        const chunks = await chunksOf(chunkers, value, new Prng(given.seed + 1), threads);
        expect(chunks).toEqual(oracle(chunkers, value));
        expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
      }),
      { numRuns: 60 },
    );
  });

  test('several streams share threads and buffers, and none waits for another', async () => {
    const given = { seed: 7, threads: 2, bufferBytes: 8192, buffers: 3, faults: { dies: 10 } };
    const threads = threadsOf(given);
    const [chunkers] = pools;
    const values = [1, 2, 3, 4, 5].map((seed) => mixedValue(new Prng(seed), 150_000));
    const all = await Promise.all(values.map((value, i) => chunksOf(chunkers!, value, new Prng(i), threads)));
    for (const [i, value] of values.entries()) expect(all[i]).toEqual(oracle(chunkers!, value));
    // A stream that stands still with every buffer it may have does not stop the others.
    const still = new StreamCutter({ chunkers: chunkers!, threads, turn, take: () => undefined });
    await still.write(values[0]!.subarray(0, 20_000));
    expect(await chunksOf(chunkers!, values[1]!, new Prng(1), threads)).toEqual(all[1]);
    still.release();
    expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
  });

  test('a released cutter holds nothing', async () => {
    const threads = threadsOf({ seed: 1, threads: 2, bufferBytes: 8192, buffers: 4, faults: {} });
    const [chunkers] = pools;
    const idle = chunkers!.idle;
    for (const [length, fails] of [
      [10_000, false],
      [30_000, false],
      [100_000, true],
    ] as const) {
      let taken = 0;
      const take = (): void => {
        if (++taken === 20 && fails) throw new Error('the disk is full');
      };
      const cutter = new StreamCutter({ chunkers: chunkers!, threads, turn, take });
      const writing = cutter.write(mixedValue(new Prng(3), length));
      if (fails) await expect(writing).rejects.toThrow('the disk is full');
      else await writing;
      cutter.release();
      cutter.release();
      expect([threads.ring.out, threads.ring.users, chunkers!.idle]).toEqual([0, 0, Math.max(1, idle)]);
    }
  });

  test('a buffer that is being read to goes back when the read has ended', async () => {
    const threads = threadsOf({ seed: 1, threads: 2, bufferBytes: 8192, buffers: 4, faults: {} });
    const cutter = new StreamCutter({ chunkers: pools[0]!, threads, turn, take: () => undefined });
    const slow = deferred<number>();
    let reads = 0;
    const read = (into: Uint8Array): Promise<number> =>
      ++reads === 1 ? Promise.resolve(into.length) : slow.promise;
    expect(await cutter.pull(read, 100_000)).toBe(8192);
    expect(reads).toBe(2);
    cutter.release();
    expect(threads.ring.out).toBe(1);
    slow.resolve(10);
    await cutter.settle();
    await turn();
    expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
  });

  test('short values ask no thread', async () => {
    const pool = new FakePool(2, new Prng(1));
    const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
    const threads = { jobs, ring: new BufferRing(65_536, 4) };
    const value = new Prng(1).bytes(1024 * 1024);
    await chunksOf(pools[0]!, value.subarray(1), new Prng(1), threads);
    expect([pool.runs, threads.ring.bytes]).toEqual([0, 0]);
    await chunksOf(pools[0]!, value, new Prng(1), threads);
    expect(threads.ring.bytes).toBeGreaterThan(0);
  });
});
