import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import { type HashThreads, IdChecker } from '../../src/pool/id-checker.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { TestClock } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from './fake-pool.ts';

function threadsOf(seed: number, buffers: number, faults: Faults = {}): HashThreads & { ring: BufferRing } {
  const pool = new FakePool(2, new Prng(seed), faults);
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
  return { jobs, ring: new BufferRing(4096, buffers) };
}

/** An id and, behind it, its bytes, one of which is flipped where it is to be wrong. */
function entry(prng: Prng, length: number, isWrong: boolean): Uint8Array {
  const bytes = prng.bytes(length);
  const both = new Uint8Array(40 + length);
  both.set(sha256(bytes), 8);
  both.set(bytes, 40);
  if (isWrong) both[length > 0 ? 40 : 8]! ^= 1;
  return both;
}

function placed(memory: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  memory.set(bytes, at);
  return memory;
}

test('tells what a single thread would, in order, whatever becomes of threads', async () => {
  const faults = fc.constantFrom<Faults>({}, { dies: 30 }, { lies: 30 }, { dies: 100 });
  const ranges = fc.array(
    // Longer than a buffer, now and then.
    fc.record({ length: fc.oneof(fc.nat(2000), fc.nat(6000), fc.constant(0)), isWrong: fc.boolean() }),
    { maxLength: 60 },
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat(5), faults, ranges, async (seed, buffers, given, all) => {
      const threads = threadsOf(seed, buffers, given);
      const prng = new Prng(seed);
      const told: number[] = [];
      let lent: Uint8Array | undefined;
      let at = 0;
      const checker = new IdChecker(buffers === 5 ? undefined : threads, (tag, id, length) => {
        expect([id.length, length]).toEqual([32, all[tag]!.length]);
        told.push(tag);
      });
      for (const [i, { length, isWrong }] of all.entries()) {
        const buf = entry(prng, length, isWrong);
        // Some are read into memory that threads see, as many as it takes.
        if (prng.below(3) === 0) at = 0;
        if (at === 0) lent = await checker.memory();
        const more =
          lent === undefined || prng.below(8) === 0 || at + 40 + length > lent.length
            ? checker.add(buf, 8, 40, 40 + length, i)
            : checker.add(placed(lent, at, buf), at + 8, at + 40, at + 40 + length, i);
        at = lent === undefined ? 0 : at + 40 + length;
        if (more !== undefined) await more;
        buf.fill(0);
      }
      await checker.finish();
      expect(told).toEqual([...all.keys()].filter((i) => all[i]!.isWrong));
      expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
    }),
    { numRuns: 60 },
  );
});

test('takes more ranges than it has room for in the beginning', async () => {
  const threads = threadsOf(1, 3);
  const prng = new Prng(2);
  const told: number[] = [];
  const checker = new IdChecker({ ...threads, ring: new BufferRing(65_536, 3) }, (tag) => told.push(tag));
  for (let i = 0; i < 3000; i++) {
    const more = checker.add(entry(prng, 1, i % 1000 === 7), 8, 40, 41, i);
    if (more !== undefined) await more;
  }
  await checker.finish();
  expect(told).toEqual([7, 1007, 2007]);
});

test('gives its buffers back however it ends', async () => {
  const threads = threadsOf(1, 4);
  const prng = new Prng(1);
  const fill = async (checker: IdChecker): Promise<void> => {
    for (let i = 0; i < 9; i++) {
      const more = checker.add(entry(prng, 1500, true), 8, 40, 1540, i);
      if (more !== undefined) await more;
    }
  };
  const left = new IdChecker(threads, () => undefined);
  await fill(left);
  left.release();
  left.release();
  expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
  const failing = new IdChecker(threads, () => {
    throw new Error('told');
  });
  await expect(fill(failing).then(() => failing.finish())).rejects.toThrow('told');
  failing.release();
  expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
});
