import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { type HashBatch, HashTurns } from '../../src/pool/hash-turns.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { TestClock, turn } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from './fake-pool.ts';

function jobsOf(pool: FakePool): Jobs {
  return new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
}

function memoryOf(prng: Prng, length: number): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(length);
  new Uint8Array(shared).set(prng.bytes(length));
  return shared;
}

test('each batch gets its digests, whatever becomes of threads', async () => {
  const faults = fc.constantFrom<Faults>({}, { dies: 30 }, { lies: 30 }, { dies: 100 });
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.integer({ min: 1, max: 4 }),
      faults,
      fc.nat(12),
      async (seed, size, bad, count) => {
        const prng = new Prng(seed);
        const turns = new HashTurns(jobsOf(new FakePool(size, prng, bad)));
        const open: HashBatch[] = [];
        const end = async (): Promise<void> => {
          const [batch] = open.splice(prng.below(open.length), 1);
          if (prng.below(5) === 0) return await turns.drop(batch!);
          const ids = await turns.result(batch!);
          const { ranges, shared } = batch!;
          const whole = new Uint8Array(shared).slice();
          const wanted = Array.from({ length: ranges.length / 2 }, (_, i) =>
            sha256(whole.subarray(ranges[2 * i], ranges[2 * i + 1])),
          );
          expect(Buffer.compare(ids, Buffer.concat(wanted))).toBe(0);
        };
        for (let i = 0; i < count; i++) {
          const ranges = Uint32Array.from([0, 10, 3, 3, 40, 100].slice(0, 2 * prng.below(4)));
          open.push(turns.offer(memoryOf(prng, 100), ranges));
          for (let n = prng.below(4); n > 0; n--) await turn();
          if (prng.below(2) === 0) await end();
        }
        while (open.length > 0) await end();
      },
    ),
    { numRuns: 60 },
  );
});

test('nothing waits for a thread that starts', async () => {
  const prng = new Prng(1);
  const pool = new FakePool(3, prng, { hangs: 100 });
  const turns = new HashTurns(jobsOf(pool));
  const batches = Array.from({ length: 5 }, () => turns.offer(memoryOf(prng, 50), Uint32Array.of(0, 50)));
  for (let i = 0; i < 20; i++) await turn();
  // One thread less than there could be is asked to start.
  expect([pool.runs, batches.filter(({ job }) => job !== undefined).length]).toEqual([2, 0]);
  for (const batch of batches) {
    const wanted = sha256(new Uint8Array(batch.shared).slice());
    expect(Buffer.compare(await turns.result(batch), wanted)).toBe(0);
  }
});

test('a busy thread asks for another only where batches wait although all have work', async () => {
  const prng = new Prng(1);
  const pool = new FakePool(3, prng);
  const turns = new HashTurns(jobsOf(pool), true);
  const offer = () => turns.offer(memoryOf(prng, 50), Uint32Array.of(0, 50));
  const batches = Array.from({ length: 8 }, offer);
  // While the first one starts nobody else is asked for, however much waits.
  expect(pool.runs).toBe(1);
  for (let i = 0; i < 40; i++) await turn();
  expect(batches.every(({ job }) => job !== undefined)).toBe(true);
  // All eight, and the starts of two threads: then little waits.
  expect(pool.runs).toBeGreaterThan(8 + 1);
  const calmPool = new FakePool(3, prng);
  const calm = new HashTurns(jobsOf(calmPool), true);
  for (let i = 0; i < 8; i++) {
    const batch = calm.offer(memoryOf(prng, 50), Uint32Array.of(0, 50));
    for (let k = 0; k < 20; k++) await turn();
    expect(batch.isHashed).toBe(true);
  }
  expect(calmPool.runs).toBe(8 + 1);
});

test('threads that work get what is offered, and this one helps while it would wait', async () => {
  const prng = new Prng(1);
  const pool = new FakePool(2, prng);
  const turns = new HashTurns(jobsOf(pool));
  const first = turns.offer(memoryOf(prng, 50), Uint32Array.of(0, 50));
  for (let i = 0; i < 20; i++) await turn();
  const rest = [1, 2, 3].map(() => turns.offer(memoryOf(prng, 50), Uint32Array.of(0, 50)));
  expect(first.job).toBeDefined();
  expect(rest.filter(({ job }) => job !== undefined).length).toBe(1);
  await turns.result(rest[0]!);
  expect(rest.filter(({ ids }) => ids !== undefined).length).toBeGreaterThan(0);
  for (const batch of rest) await turns.result(batch);
});
