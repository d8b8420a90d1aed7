import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Env } from '../../src/engine/env.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { PiscinaPool, piscinaEntry } from '../../src/pool/piscina-pool.ts';
import type { PoolProvider, WorkPool } from '../../src/pool/port.ts';
import { ThreadPool, threadEntry } from '../../src/pool/thread-pool.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';
import { bytesOf, codeOf, same, TestClock } from './engine-kit.ts';

const MiB = 1024 * 1024;
const folder = mkdtempSync(path.join(tmpdir(), 'varve-threads-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A thread that does its work, but dies over its second task. */
function dyingEntry(real: URL): URL {
  const file = path.join(folder, `dying-${path.basename(real.pathname, '.js')}.mjs`);
  writeFileSync(
    file,
    `import { parentPort } from 'node:worker_threads';
     const real = await import(${JSON.stringify(real.href)});
     let tasks = 0;
     const die = () => { if (++tasks === 2) process.exit(1); };
     if (real.runTask === undefined) parentPort.prependListener('message', die);
     export const runTask = (task) => { die(); return real.runTask(task); };`,
  );
  return pathToFileURL(file);
}

interface Opened {
  readonly engine: Engine;
  readonly pools: WorkPool[];
  readonly disk: MemoryFileSystem;
}

async function openThreaded(
  open: ((size: number) => WorkPool) | undefined,
  options: EngineOptions = {},
  disk = new MemoryFileSystem(),
  startBytes = 0,
): Promise<Opened> {
  const pools: WorkPool[] = [];
  const pool: PoolProvider = {
    cores: 2,
    open: (size) => {
      const made = open!(size);
      pools.push(made);
      return made;
    },
  };
  const clock = new TestClock();
  const prng = new Prng(1);
  const env: Env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n) => prng.bytes(n), pool };
  const engine = await openWithEnv(open === undefined ? { ...env, pool: undefined } : env, options, {
    threads: { startBytes },
  });
  onTestFinished(() => engine.close());
  return { engine, pools, disk };
}

async function* inPieces(value: Uint8Array, prng: Prng): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < value.length; ) {
    const end = Math.min(value.length, at + 1 + prng.below(400_000));
    yield value.slice(at, end);
    at = end;
  }
}

/** Two values of which the second is the first with an edit, and the first again. */
function valuesOf(seed: number): Uint8Array[] {
  const first = bytesOf(seed, 2.5 * MiB);
  const edited = Buffer.concat([first.subarray(0, MiB), bytesOf(seed + 1, 777), first.subarray(MiB)]);
  return [first, new Uint8Array(edited), first];
}

async function putAll(engine: Engine, seed: number): Promise<string> {
  const lines: string[] = [];
  for (const [i, value] of valuesOf(seed).entries()) {
    const put = await engine.put(`k${i}`, i === 1 ? value : inPieces(value, new Prng(seed)), {
      sha256: true,
    });
    lines.push(`${put.digest} ${put.chunks} ${put.newChunks} ${put.newBytes}`);
  }
  return lines.join('\n');
}

async function readAll(engine: Engine, seed: number): Promise<void> {
  for (const [i, value] of valuesOf(seed).entries()) {
    expect(same(await engine.get(`k${i}`), value)).toBe(true);
    const parts: Uint8Array[] = [];
    for await (const part of engine.stream(`k${i}`, { start: 100, verify: true })) parts.push(part);
    expect(same(Buffer.concat(parts), value.subarray(100))).toBe(true);
  }
}

describe.each(['fastcdc', 'sieve'] as const)('threads of a store (%s)', (algorithm) => {
  const chunking = { algorithm, min: 4096, avg: 16_384, max: 65_536 };

  test('change nothing in what is stored', async () => {
    const alone = await openThreaded(undefined, { chunking });
    const stored = await putAll(alone.engine, 3);
    const pools: [string, (size: number) => WorkPool][] = [
      ['piscina', (size) => new PiscinaPool(size)],
      ['plain', (size) => new ThreadPool(size, { sha256: 'node' })],
      ['javascript', (size) => new ThreadPool(size, { sha256: 'javascript' })],
      ['dying', (size) => new FakePool(size, new Prng(1), { dies: 10, lies: 10 })],
    ];
    for (const [name, open] of pools) {
      const { engine } = await openThreaded(open, { chunking, workers: 2 });
      expect(await putAll(engine, 3), name).toBe(stored);
      await readAll(engine, 3);
      const { workers, threads } = engine.stats();
      expect([workers, threads.tasks > 0, threads.failures > 0]).toEqual([2, true, name === 'dying']);
    }
  });

  test.each([
    ['piscina', (size: number) => new PiscinaPool(size, { entry: dyingEntry(piscinaEntry) })],
    ['plain', (size: number) => new ThreadPool(size, { sha256: 'node', entry: dyingEntry(threadEntry) })],
  ])('real threads that die in the middle of a task lose nothing (%s)', async (_name, open) => {
    const alone = await openThreaded(undefined, { chunking });
    const { engine } = await openThreaded(open, { chunking, workers: 2 });
    expect(await putAll(engine, 5)).toBe(await putAll(alone.engine, 5));
    await readAll(engine, 5);
    expect(engine.stats().threads.failures).toBeGreaterThan(0);
  });

  test('several streams at a time come out right', async () => {
    const { engine } = await openThreaded((size) => new FakePool(size, new Prng(5), { dies: 5 }), {
      chunking,
    });
    const values = [1, 2, 3, 4].map((seed) => bytesOf(seed, 1.5 * MiB));
    await Promise.all(values.map((value, i) => engine.put(`k${i}`, inPieces(value, new Prng(i)))));
    for (const [i, value] of values.entries()) expect(same(await engine.get(`k${i}`), value)).toBe(true);
  });
});

test('small values start no thread', async () => {
  const { engine, pools } = await openThreaded((size) => new FakePool(size, new Prng(1)));
  for (let i = 0; i < 20; i++) await engine.put(`k${i}`, bytesOf(i, 100_000));
  await engine.put('stream', inPieces(bytesOf(1, MiB - 1), new Prng(1)));
  expect(pools.map((pool) => (pool as FakePool).runs)).toEqual([0]);
  await engine.close();
  expect(pools.map((pool) => (pool as FakePool).closed)).toEqual([true]);
});

test('threads are started by many values as by one that is long', async () => {
  const pool = new FakePool(2, new Prng(1));
  pool.isWarm = false;
  const { engine } = await openThreaded(() => pool, {}, undefined, 8 * MiB);
  const runs: number[] = [];
  for (let i = 0; i < 5; i++) {
    await engine.put(`k${i}`, inPieces(bytesOf(i, 3 * MiB), new Prng(i)));
    runs.push(pool.runs);
  }
  // The first MiB of a value never goes to threads, so it is no reason to start them.
  expect([runs.slice(0, 3), runs[4]! > 0]).toEqual([[0, 0, 0], true]);
  for await (const _ of engine.stream('k1', { verify: true })) expect(pool.runs).toBeGreaterThan(0);
});

test('workers: 0, a machine of one core and chunks that are too large have no pool', async () => {
  for (const options of [{ workers: 0 }, { chunking: { min: MiB, avg: 4 * MiB, max: 16 * MiB } }]) {
    const { engine, pools } = await openThreaded((size) => new FakePool(size, new Prng(1)), options);
    await engine.put('k', bytesOf(1, 3 * MiB));
    expect([pools.length, engine.stats().workers]).toEqual([0, 0]);
  }
});

test('a stream that fails or is aborted leaves nothing behind with threads', async () => {
  const { engine } = await openThreaded((size) => new FakePool(size, new Prng(2)), { workers: 3 });
  const value = bytesOf(1, 6 * MiB);
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield value;
    throw new Error('source');
  }
  await expect(engine.put('k', failing())).rejects.toThrow('source');
  const stop = new AbortController();
  async function* aborting(): AsyncGenerator<Uint8Array> {
    yield value;
    stop.abort();
    yield value;
  }
  expect(await codeOf(engine.put('k', aborting(), { signal: stop.signal }))).toBe('VARVE_ABORTED');
  expect(await engine.has('k')).toBe(false);
  await engine.put('k', value);
  expect(same(await engine.get('k'), value)).toBe(true);
});

test('a verified stream that is left in the middle lets the store close', async () => {
  const { engine } = await openThreaded((size) => new FakePool(size, new Prng(2)));
  await engine.put('k', bytesOf(1, 5 * MiB));
  for (const reads of [0, 1, 30]) {
    const reader = engine.stream('k', { verify: true }).getReader();
    for (let i = 0; i < reads; i++) await reader.read();
    const last = reader.read();
    await reader.cancel();
    await last;
  }
  await engine.close();
});

test('what is stored with threads that die is what one thread stores, after a crash too', async () => {
  const faults = fc.constantFrom<Faults>({}, { dies: 20 }, { lies: 20 });
  await fc.assert(
    fc.asyncProperty(fc.nat(1000), fc.integer({ min: 1, max: 4 }), faults, async (seed, workers, given) => {
      const open = (size: number): WorkPool => new FakePool(size, new Prng(seed), given);
      const { engine, disk } = await openThreaded(open, { workers });
      const value = bytesOf(seed, 2 * MiB + seed);
      const put = engine.put('k', inPieces(value, new Prng(seed)));
      await put;
      const { engine: again } = await openThreaded(open, { workers }, disk.crash('none'));
      expect(same(await again.get('k'), value)).toBe(true);
      await again.close();
      await engine.close();
    }),
    { numRuns: 3 },
  );
});
