import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { deriveChunkerKey } from '../../src/kernels/chunker/key.ts';
import { solveParams } from '../../src/kernels/chunker/params.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { PiscinaPool } from '../../src/pool/piscina-pool.ts';
import type { CutTask, HashTask, WorkPool } from '../../src/pool/port.ts';
import { runTask } from '../../src/pool/run-task.ts';
import { ThreadPool } from '../../src/pool/thread-pool.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'varve-pool-'));
afterAll(() => rmSync(folder, { recursive: true }));
const never = new AbortController().signal;

/** A thread that does with a task what its `shared` says: dies, hangs, runs out of memory, or its length. */
const badThread = `
  import { parentPort } from 'node:worker_threads';
  export const runTask = (task) => {
    const [what] = new Uint8Array(task.shared);
    if (what === 1) process.exit(3);
    if (what === 2) for (;;);
    if (what === 3) throw new Error('broken');
    if (what === 4) { const held = []; for (;;) held.push(new Array(1e4).fill(held.length)); }
    return { ids: new Uint8Array([what]) };
  };
`;
const plain = `parentPort.on('message', (task) => {
    try {
      parentPort.postMessage({ result: runTask(task) });
    } catch (error) {
      parentPort.postMessage({ error });
    }
  });`;
const badPiscina = path.join(folder, 'bad-worker.mjs');
const badPlain = path.join(folder, 'bad-thread-worker.mjs');
writeFileSync(badPiscina, badThread);
writeFileSync(badPlain, badThread + plain);

const kinds: [string, (size: number) => WorkPool, (size: number, entry: URL) => WorkPool, string][] = [
  [
    'piscina',
    (size) => new PiscinaPool(size),
    (size, entry) => new PiscinaPool(size, { entry, heapMiB: 16 }),
    badPiscina,
  ],
  [
    'plain threads',
    (size) => new ThreadPool(size, { sha256: 'node' }),
    (size, entry) => new ThreadPool(size, { sha256: 'node', entry, heapMiB: 16 }),
    badPlain,
  ],
  [
    'plain threads without node:crypto',
    (size) => new ThreadPool(size, { sha256: 'javascript' }),
    (size, entry) => new ThreadPool(size, { sha256: 'javascript', entry, heapMiB: 16 }),
    badPlain,
  ],
];

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(bytes.length);
  new Uint8Array(memory).set(bytes);
  return memory;
}

function cutTask(seed: number, length: number, algorithm: 'fastcdc' | 'sieve'): CutTask {
  return {
    kind: 'cut',
    shared: shared(new Prng(seed).bytes(length)),
    length,
    atEnd: seed % 2 === 0,
    params: solveParams({ algorithm, min: 1024, avg: 4096, max: 16_384 }),
    key: deriveChunkerKey(algorithm),
  };
}

const act = (what: number): HashTask => ({
  kind: 'hash',
  shared: shared(new Uint8Array([what])),
  ranges: new Uint32Array([0, 1]),
});

describe.each(kinds)('%s', (_name, open, openAt, badEntry) => {
  const opened = (pool: WorkPool): WorkPool => {
    onTestFinished(() => pool.close());
    return pool;
  };
  const openBad = (size: number): WorkPool => opened(openAt(size, pathToFileURL(badEntry)));

  test('threads give the results of the calling thread', async () => {
    const pool = opened(open(2));
    const tasks = [1, 2, 3, 4].flatMap((seed) => [
      cutTask(seed, 300_000, 'fastcdc'),
      cutTask(seed, 300_000, 'sieve'),
    ]);
    for (let i = 0; i < tasks.length; i += 2) {
      const pair = tasks.slice(i, i + 2);
      const results = await Promise.all(pair.map((task) => pool.run(task, never)));
      for (const [k, { ends, ids }] of results.entries()) {
        const here = runTask(pair[k]!);
        expect([Buffer.compare(ids, here.ids), ends]).toEqual([0, here.ends]);
      }
    }
    const bytes = new Prng(1).bytes(1000);
    const ranges = new Uint32Array([0, 1000, 5, 5, 17, 400]);
    const { ids } = await pool.run({ kind: 'hash', shared: shared(bytes), ranges }, never);
    expect(Buffer.from(ids.subarray(64)).toString('hex')).toBe(
      Buffer.from(sha256(bytes.subarray(17, 400))).toString('hex'),
    );
  });

  test.each([
    ['exits', 1],
    ['throws', 3],
    ['runs out of memory', 4],
  ])('a thread that %s fails its task, and the next task has another thread', async (_how, what) => {
    const pool = openBad(1);
    await expect(pool.run(act(what), never)).rejects.toBeInstanceOf(Error);
    expect((await pool.run(act(9), never)).ids).toEqual(new Uint8Array([9]));
  });

  test('a thread that hangs is ended by the signal', async () => {
    const pool = openBad(1);
    await pool.run(act(9), never);
    const stop = new AbortController();
    const hung = pool.run(act(2), stop.signal);
    setTimeout(() => stop.abort(new Error('hung')), 20);
    await expect(hung).rejects.toBeInstanceOf(Error);
    expect((await pool.run(act(8), never)).ids).toEqual(new Uint8Array([8]));
  });

  test('a pool whose threads cannot start fails its tasks', async () => {
    const pool = opened(openAt(2, pathToFileURL(path.join(folder, 'missing.mjs'))));
    const outcomes = await Promise.allSettled([1, 2].map((n) => pool.run(act(n), never)));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(pool.run(act(9), never)).rejects.toBeInstanceOf(Error);
  });

  test('tasks under way when the pool is closed are rejected, and so are later ones', async () => {
    const pool = openBad(2);
    await pool.run(act(9), never);
    const outcomes = Promise.allSettled([pool.run(act(2), never), pool.run(act(2), never)]);
    await pool.close();
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(pool.run(act(9), never)).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
    await pool.close();
  });
});
