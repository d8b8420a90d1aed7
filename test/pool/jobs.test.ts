import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { deriveChunkerKey } from '../../src/kernels/chunker/key.ts';
import { solveParams } from '../../src/kernels/chunker/params.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import type { CutResult, HashResult, PoolTask } from '../../src/pool/port.ts';
import { runTask } from '../../src/pool/run-task.ts';
import { TestClock, turn } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from './fake-pool.ts';

const params = solveParams({ algorithm: 'sieve', min: 256, avg: 1024, max: 4096 });
const key = deriveChunkerKey('sieve');

function taskOf(seed: number): PoolTask {
  const prng = new Prng(seed);
  const length = 1 + prng.below(20_000);
  const shared = new SharedArrayBuffer(20_000);
  new Uint8Array(shared).set(prng.bytes(length));
  if (seed % 3 === 0) return { kind: 'hash', shared, ranges: new Uint32Array([0, length, length, length]) };
  return { kind: 'cut', shared, length, atEnd: seed % 2 === 0, params, key };
}

const textOf = (result: CutResult | HashResult): string =>
  `${'ends' in result ? result.ends : ''} ${Buffer.from(result.ids).toString('hex')}`;

/** Lets hung threads time out as soon as nothing else happens. */
async function until(clock: TestClock, all: Promise<unknown>): Promise<void> {
  let done = false;
  void all.finally(() => {
    done = true;
  });
  while (!done) {
    for (let i = 0; i < 10; i++) await turn();
    await clock.advance(1000);
  }
}

test('results depend neither on the order of completion nor on threads that die, hang or lie', async () => {
  const faults = fc.constantFrom<Faults>({}, { dies: 30 }, { hangs: 30 }, { lies: 30 }, { dies: 100 });
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 4 }), faults, async (seed, size, given) => {
      const clock = new TestClock();
      const pool = new FakePool(size, new Prng(seed), given);
      const jobs = new Jobs({ pool, clock, taskMsMax: 1000, onFailure: () => undefined });
      const tasks = Array.from({ length: 12 }, (_, i) => taskOf(seed + i));
      const calls = tasks.map((task) => jobs.result(jobs.submit(task)));
      await until(clock, Promise.all(calls));
      for (const [i, call] of calls.entries()) expect(textOf(await call)).toBe(textOf(runTask(tasks[i]!)));
      const { tasks: threaded, helped, failures } = jobs.counters;
      expect(threaded + helped + failures).toBeLessThanOrEqual(tasks.length);
    }),
    { numRuns: 40 },
  );
});

test('no more tasks are under way than there are threads', async () => {
  const pool = new FakePool(3, new Prng(1));
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
  const waiting = Array.from({ length: 20 }, (_, i) => jobs.submit(taskOf(i)));
  await Promise.all(waiting.map((job) => job.ended));
  expect([pool.underWayMax, pool.runs, jobs.counters.tasks]).toEqual([3, 20, 20]);
});

test('after failures in a row no thread is asked any more', async () => {
  const pool = new FakePool(1, new Prng(1), { dies: 100 });
  const told: boolean[] = [];
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: (_error, last) => told.push(last) });
  for (let i = 0; i < 6; i++) {
    const job = jobs.submit(taskOf(i));
    await job.ended;
    expect(textOf(job.result())).toBe(textOf(runTask(taskOf(i))));
  }
  expect([pool.runs, told, jobs.usable]).toEqual([3, [false, false, true], false]);
});

test('a job that is cancelled before a thread has it is never run', async () => {
  const pool = new FakePool(1, new Prng(1));
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
  const [first, second] = [jobs.submit(taskOf(1)), jobs.submit(taskOf(2))];
  first.cancel();
  second.cancel();
  await first.ended;
  for (let i = 0; i < 10; i++) await turn();
  expect([pool.runs, second.hasEnded]).toEqual([1, true]);
  expect(() => second.result()).toThrow('given up');
});

test('a task that is none fails for the caller, whoever runs it', async () => {
  const jobs = new Jobs({
    pool: new FakePool(1, new Prng(1)),
    clock: new TestClock(),
    onFailure: () => undefined,
  });
  const beyond = jobs.hashMany(new SharedArrayBuffer(10), new Uint32Array([0, 11]));
  await expect(beyond).rejects.toThrow('hashed range');
  await jobs.close();
});

test('hashMany gives the digests in the order of the ranges', async () => {
  const jobs = new Jobs({
    pool: new FakePool(2, new Prng(1)),
    clock: new TestClock(),
    onFailure: () => undefined,
  });
  const task = {
    kind: 'hash',
    shared: new SharedArrayBuffer(100),
    ranges: new Uint32Array([0, 7, 3, 100]),
  } as const;
  expect(await jobs.hashMany(task.shared, task.ranges)).toEqual(runTask(task).ids);
});

test('threads are started once their start pays', async () => {
  const pool = new FakePool(2, new Prng(1));
  pool.isWarm = false;
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined, startBytes: 1000 });
  expect([jobs.pays(1000), jobs.pays(1001)]).toEqual([false, true]);
  jobs.passed(600);
  expect([jobs.pays(400), jobs.pays(401)]).toEqual([false, true]);
  jobs.passed(400);
  expect(jobs.pays(0)).toBe(true);
  await jobs.result(jobs.submit(taskOf(1)));
  // The threads have ended since: it begins anew.
  expect(jobs.pays(1000)).toBe(false);
  pool.isWarm = true;
  expect(jobs.pays(1)).toBe(true);
});
