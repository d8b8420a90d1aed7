import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { LastingThreads } from '../../src/engine/lasting-threads.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';
import { TestClock } from './engine-kit.ts';

function lasting(faults: Faults = {}) {
  const clock = new TestClock();
  const pools: FakePool[] = [];
  const start = () => {
    const pool = new FakePool(2, new Prng(pools.length), faults);
    pools.push(pool);
    const jobs = new Jobs({ pool, clock, onFailure: () => undefined });
    return { jobs, ring: new BufferRing(1024, 2), close: () => jobs.close() };
  };
  return { clock, pools, threads: new LastingThreads(start, clock) };
}

test('threads are kept for the next call, and ended where none comes', async () => {
  const { clock, pools, threads } = lasting();
  const first = threads.take()!;
  const second = threads.take()!;
  expect(second.jobs).toBe(first.jobs);
  await first.close();
  await first.close();
  await clock.advance(60_000);
  expect(pools[0]!.closed).toBe(false);
  await second.close();
  await clock.advance(9_000);
  const third = threads.take()!;
  expect(third.jobs).toBe(first.jobs);
  await clock.advance(60_000);
  expect(pools[0]!.closed).toBe(false);
  await third.close();
  await clock.advance(10_000);
  expect(pools[0]!.closed).toBe(true);
  expect(threads.take()!.jobs).not.toBe(first.jobs);
  expect(pools).toHaveLength(2);
});

test('threads that fail are not kept', async () => {
  const { pools, threads } = lasting({ dies: 100 });
  const call = threads.take()!;
  const shared = new SharedArrayBuffer(64);
  for (let i = 0; i < 3; i++) await call.jobs.hashMany(shared, Uint32Array.of(0, 64));
  expect(call.jobs.usable).toBe(false);
  await call.close();
  expect(pools[0]!.closed).toBe(true);
  const next = threads.take()!;
  expect(next.jobs.usable).toBe(true);
  await next.close();
});

test('where there are no threads to be had there are none', () => {
  expect(new LastingThreads(() => undefined, new TestClock()).take()).toBeUndefined();
});
