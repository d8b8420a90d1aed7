import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { RangeChecker } from '../../src/pool/range-checker.ts';
import { TestClock } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from './fake-pool.ts';

test('says what a single thread would, whatever becomes of threads', async () => {
  const faults = fc.constantFrom<Faults | undefined>(
    undefined,
    {},
    { dies: 30 },
    { lies: 30 },
    { dies: 100 },
  );
  const batches = fc.array(fc.array(fc.nat(900), { minLength: 1, maxLength: 4 }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.nat(4),
      faults,
      batches,
      fc.nat(30),
      async (seed, buffers, given, all, wrong) => {
        const pool = new FakePool(2, new Prng(seed), given ?? {});
        const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
        const ring = new BufferRing(4096, buffers);
        const prng = new Prng(seed);
        const checker = new RangeChecker(given === undefined ? undefined : { jobs, ring });
        for (const [k, lengths] of all.entries()) {
          const bytes = await checker.buffer(lengths.reduce((sum, length) => sum + length, 0));
          const ranges: number[] = [];
          const ids = new Uint8Array(32 * lengths.length);
          let pos = 0;
          for (const [i, length] of lengths.entries()) {
            const chunk = prng.bytes(length);
            bytes!.set(chunk, pos);
            ids.set(sha256(chunk), 32 * i);
            ranges.push(pos, pos + length);
            pos += length;
          }
          if (k === wrong) ids[ids.length - 1]! ^= 1;
          checker.send(bytes!, Uint32Array.from(ranges), ids);
        }
        expect(await checker.finish()).toBe(wrong >= all.length);
        checker.release();
        checker.release();
        expect([ring.out, ring.users]).toEqual([0, 0]);
        if (given !== undefined) expect(await checker.buffer(4097)).toBeUndefined();
      },
    ),
    { numRuns: 60 },
  );
});

test('gives its buffers back where it is given up', async () => {
  const jobs = new Jobs({
    pool: new FakePool(1, new Prng(1)),
    clock: new TestClock(),
    onFailure: () => undefined,
  });
  const ring = new BufferRing(4096, 3);
  const checker = new RangeChecker({ jobs, ring });
  for (let i = 0; i < 2; i++)
    checker.send((await checker.buffer(100))!, Uint32Array.of(0, 100), new Uint8Array(32));
  await checker.buffer(7);
  expect(ring.out).toBe(3);
  checker.release();
  expect([ring.out, ring.users]).toEqual([0, 0]);
});
