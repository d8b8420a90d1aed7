import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import {
  bytesOf,
  codeOf,
  failure,
  filesIn,
  keysOf,
  killed,
  newStore,
  openOn,
  same,
  smallChunks,
  TestClock,
  text,
  turn,
} from './engine-kit.ts';

describe('options', () => {
  const bad: [string, object][] = [
    ['an unknown name', { lockWait: 5 }],
    ['history, which this version has not', { history: { versions: 1 } }],
    ['an unknown durability', { durability: 'none' }],
    ['a groupMs of 0', { durability: { groupMs: 0 } }],
    ['an unknown part of durability', { durability: { groupMs: 5, ms: 1 } }],
    ['an unknown chunking name', { chunking: { size: 5 } }],
    ['an unknown algorithm', { chunking: { algorithm: 'rabin' } }],
    ['chunk sizes out of order', { chunking: { min: 9000, avg: 2000, max: 10_000 } }],
    ['a chunk max above 16 MiB', { chunking: { max: 32 * 1024 * 1024 } }],
    ['an inlineMax above its bound', { inlineMax: 65_537 }],
    ['an unknown keyEncoding', { keyEncoding: 'utf16' }],
    ['worker threads', { workers: 4 }],
    ['an unknown memory budget', { memory: { cacheBytes: 5 } }],
    ['a memtable below its bound', { memory: { memtableBytes: 100 } }],
    ['a readOnly that is no flag', { readOnly: 1 }],
    ['a broken lockWaitMs', { lockWaitMs: -1 }],
    ['an unknown onDegraded', { onDegraded: 'ignore' }],
    ['no object', 5 as unknown as object],
  ];
  test.each(bad)('%s is VARVE_INVALID_ARGUMENT and touches nothing', async (_name, options) => {
    const disk = new MemoryFileSystem();
    const given = options as EngineOptions;
    const { openWithEnv } = await import('../../src/engine/open.ts');
    const { memoryLock } = await import('../../src/fs/memory-lock.ts');
    const clock = new TestClock();
    const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => bytesOf(1, n) };
    expect(await codeOf(openWithEnv(env, given))).toBe('VARVE_INVALID_ARGUMENT');
    expect([disk.files(), await disk.list('')]).toEqual([[], []]);
  });

  test('errorIfExists refuses a store, createIfMissing: false its absence', async () => {
    const disk = new MemoryFileSystem();
    expect(await codeOf(openOn(disk, { createIfMissing: false }))).toBe('VARVE_NOT_FOUND');
    expect(await codeOf(openOn(disk, { readOnly: true }))).toBe('VARVE_NOT_FOUND');
    expect(disk.opCount).toBe(0);
    await (await openOn(disk, { errorIfExists: true })).close();
    expect(await codeOf(openOn(disk, { errorIfExists: true }))).toBe('VARVE_CONFLICT');
    await (await openOn(disk, { createIfMissing: false })).close();
  });

  test('what is fixed at creation is kept, and asking for something else is refused', async () => {
    const disk = new MemoryFileSystem();
    await (await openOn(disk, { inlineMax: 50, chunking: { ...smallChunks, algorithm: 'sieve' } })).close();
    const again = await openOn(disk, { inlineMax: undefined, chunking: undefined });
    expect(again.stats().chunking).toEqual({ ...smallChunks, algorithm: 'sieve' });
    expect(await again.put('k', bytesOf(1, 50))).toMatchObject({ chunks: 0 });
    expect(await again.put('k', bytesOf(1, 51))).toMatchObject({ chunks: 1 });
    await again.close();
    for (const other of [
      { inlineMax: 51 },
      { inlineMax: 50, chunking: { algorithm: 'fastcdc' } },
    ] as EngineOptions[]) {
      expect(await codeOf(openOn(disk, other))).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(await codeOf(openOn(disk, { inlineMax: 50, chunking: { max: 4096 } }))).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
    await (await openOn(disk, { inlineMax: 50, chunking: { max: 2048 } })).close();
  });

  test('a second writer is VARVE_LOCKED with the owner, and lockWaitMs waits for it', async () => {
    const { disk, engine, clock } = await newStore();
    const error = await failure(openOn(disk, {}, undefined, clock));
    expect([error.code, error.retryable]).toEqual(['VARVE_LOCKED', true]);
    expect(error.actual).toMatchObject({ pid: expect.any(Number), host: expect.any(String) });
    const waiting = openOn(disk, { lockWaitMs: 1000 }, undefined, clock);
    for (let i = 0; i < 5; i++) await clock.advance(10);
    await engine.close();
    await clock.advance(10);
    const second = await waiting;
    await second.put('k', 'v');
    const late = codeOf(openOn(disk, { lockWaitMs: 100 }, undefined, clock));
    for (let i = 0; i < 15; i++) await clock.advance(10);
    expect(await late).toBe('VARVE_LOCKED');
    await second.close();
  });

  test('signal gives an open up', async () => {
    const abort = new AbortController();
    abort.abort();
    expect(await codeOf(openOn(new MemoryFileSystem(), { signal: abort.signal }))).toBe('VARVE_ABORTED');
  });

  test('clock is the one that times commits', async () => {
    const clock = new TestClock();
    clock.ms = 1_800_000_000_000;
    const { engine } = await newStore({ clock });
    await engine.put('k', 'v');
    expect((await engine.stat('k'))?.modified.getTime()).toBe(1_800_000_000_000);
  });

  test('logger hears of checkpoints and failures, and none is fine', async () => {
    const lines: string[] = [];
    const logger = {
      debug: (m: string) => lines.push(`debug ${m}`),
      error: (m: string) => lines.push(`error ${m}`),
    };
    const { engine, disk } = await newStore({ logger });
    await engine.flush();
    expect(lines).toContain('debug checkpoint');
    disk.faults = (op) => (op.kind === 'dataSync' ? { errno: 'EIO' } : undefined);
    await engine.put('k', 'v').catch(() => undefined);
    expect(lines.filter((line) => line.startsWith('error'))).toHaveLength(1);
  });

  test('durability is told by stats and decides what a power cut may take', async () => {
    for (const durability of ['full', 'os', { groupMs: 20 }] as const) {
      const { engine, disk, clock } = await newStore({ durability });
      expect(engine.stats().durability).toEqual(durability);
      await engine.put('a', bytesOf(1, 3000));
      await engine.put('b', 'inline');
      const kept = async (): Promise<string[]> => {
        const after = await openOn(disk.crash('none'));
        const keys = await keysOf(after);
        expect(after.health().ok).toBe(true);
        await after.close();
        return keys;
      };
      if (durability === 'full') expect(await kept()).toEqual(['a', 'b']);
      else expect(await kept()).toEqual([]);
      const alive = await openOn(killed(disk));
      expect(await keysOf(alive)).toEqual(['a', 'b']);
      await alive.close();
      await clock.advance(20);
      if (typeof durability === 'object') expect(await kept()).toEqual(['a', 'b']);
      await engine.flush();
      expect(await kept()).toEqual(['a', 'b']);
    }
  });

  test('memory budgets hold: memtables are flushed, caches stay below their bytes, commits wait', async () => {
    const memory = {
      memtableBytes: 64 * 1024,
      blockCacheBytes: 16 * 1024,
      trailerCacheBytes: 8 * 1024,
      pendingCommitBytes: 64 * 1024,
    };
    const { engine } = await newStore({ memory, inlineMax: 1000 });
    let pending = 0;
    let memtable = 0;
    const puts: Promise<unknown>[] = [];
    for (let i = 0; i < 600; i++) {
      puts.push(engine.put(`key ${i % 300}`, bytesOf(i, 900)));
      puts.push(engine.put(`big ${i % 50}`, bytesOf(i, 1200)));
      if (i % 10 === 0) await turn();
      const { memory: now } = engine.stats();
      pending = Math.max(pending, now.pendingCommits.used);
      memtable = Math.max(memtable, now.memtable.used);
    }
    await Promise.all(puts);
    for (let i = 0; i < 300; i++) await engine.get(`key ${i}`);
    const stats = engine.stats();
    expect(stats.tables.keys).toBeGreaterThan(1);
    expect(stats.memory.blockCache.used).toBeLessThanOrEqual(memory.blockCacheBytes + 8192);
    expect(stats.memory.trailerCache.used).toBeLessThanOrEqual(memory.trailerCacheBytes + 61 * 400);
    expect(pending).toBeLessThan(memory.pendingCommitBytes * 3);
    expect(memtable).toBeLessThan(memory.memtableBytes * 6);
    for (const budget of ['memtable', 'blockCache', 'trailerCache', 'pendingCommits'] as const) {
      expect(stats.memory[budget].budget).toBe(
        memory[`${budget === 'pendingCommits' ? 'pendingCommit' : budget}Bytes`],
      );
    }
  });
});

describe('directories', () => {
  test("someone else's files are left alone", async () => {
    const disk = new MemoryFileSystem();
    const file = await disk.open('thesis.doc', 'create');
    await file.close();
    const error = await failure(openOn(disk));
    expect([error.code, error.file]).toEqual(['VARVE_INVALID_ARGUMENT', 'thesis.doc']);
    expect(disk.files()).toEqual(['thesis.doc']);
  });

  test('a creation that crashed at any step is completed by the next', async () => {
    const disk = new MemoryFileSystem();
    const copies: MemoryFileSystem[] = [];
    disk.faults = (op) => {
      if (op.index === copies.length) copies.push(disk.fork());
      return undefined;
    };
    await (await openOn(disk)).close();
    for (const copy of copies) {
      for (const crashed of [copy.crash('none'), copy.crash('all'), copy]) {
        const engine = await openOn(crashed);
        await engine.put('k', 'v');
        await engine.close();
      }
    }
  });
});

describe('readers', () => {
  test('see the store as of their open, beside a writer, and write nothing', async () => {
    const { engine, disk } = await newStore();
    const value = bytesOf(1, 100_000);
    await engine.put('k', value);
    const before = disk.opCount;
    const reader = await openOn(disk, { readOnly: true });
    expect(disk.opCount).toBe(before);
    await engine.put('later', 'x');
    await engine.delete('k');
    await engine.flush();
    await engine.flush();
    expect(same(await reader.get('k'), value)).toBe(true);
    expect(await reader.has('later')).toBe(false);
    for (const call of [
      () => reader.put('k', 'v'),
      () => reader.delete('k'),
      () => reader.batch([]),
      () => reader.flush(),
    ]) {
      expect(await codeOf(call)).toBe('VARVE_READ_ONLY');
    }
    expect(reader.health()).toMatchObject({ ok: true, readOnly: true, status: 'healthy' });
    const second = await openOn(disk, { readOnly: true });
    expect(text(await second.get('later'))).toBe('x');
    await Promise.all([reader.close(), second.close()]);
    await engine.put('still', 'writing');
  });

  test('open while a writer installs one set of files after another', async () => {
    const { engine, disk } = await newStore();
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing && i < 200; i++) {
        await engine.put(`k${i % 7}`, bytesOf(i, 3000));
        await engine.flush();
      }
    })();
    for (let i = 0; i < 10; i++) {
      const reader = await openOn(disk, { readOnly: true });
      expect(reader.health().damage).toEqual([]);
      for await (const entry of reader.scan()) expect(entry.key).toMatch(/^k/);
      await reader.close();
      await turn();
    }
    writing = false;
    await writer;
  });
});

describe('damage at open', () => {
  async function store(): Promise<{
    closed: MemoryFileSystem;
    dead: MemoryFileSystem;
    values: Map<string, Uint8Array>;
  }> {
    const { engine, disk } = await newStore({}, 8192);
    const values = new Map(
      Array.from({ length: 12 }, (_, i) => [`k${i}`, bytesOf(i, i % 3 === 0 ? 30 : 5000)] as const),
    );
    for (const [key, value] of values) {
      await engine.put(key, value);
      if (key === 'k5') await engine.flush();
    }
    const dead = killed(disk);
    await engine.close();
    return { closed: disk, dead, values };
  }

  /** Opens a damaged store: right bytes or an error that names a file, nothing else. */
  async function judge(
    disk: MemoryFileSystem,
    values: ReadonlyMap<string, Uint8Array>,
    file: string,
  ): Promise<string> {
    let engine: Awaited<ReturnType<typeof openOn>>;
    try {
      engine = await openOn(disk, {}, 8192);
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      expect(['VARVE_CORRUPT', 'VARVE_FORMAT_VERSION', 'VARVE_NOT_FOUND']).toContain(error.code);
      return `refused ${error.code}`;
    }
    const lost: boolean[] = [];
    for (const [key, value] of values) {
      try {
        const got = await engine.get(key);
        if (got !== undefined) expect(same(got, value), `${key} after damage of ${file}`).toBe(true);
        lost.push(got === undefined);
      } catch (error) {
        if (!(error instanceof VarveError)) throw error;
        expect([error.code, error.file === undefined]).toEqual(['VARVE_CORRUPT', false]);
        lost.push(true);
      }
    }
    const health = engine.health();
    // The end of the log of a killed writer may be torn: what is lost then are the last commits.
    const isTorn = file.startsWith('wal/') && lost.indexOf(true) > lost.lastIndexOf(false);
    if (lost.includes(true) && !isTorn)
      expect(health.ok, `${file}: values are gone, health says nothing`).toBe(false);
    for (const damage of health.damage) expect(damage.file).not.toBe('');
    if (health.readOnly) {
      const error = await failure(engine.put('x', 'y'));
      expect([error.code, (error.cause as VarveError).code]).toEqual(['VARVE_READ_ONLY', 'VARVE_CORRUPT']);
    } else await engine.put('x', 'y');
    await engine.close();
    return health.status;
  }

  test('a flipped bit anywhere gives right bytes or an error with file and offset', async () => {
    const { closed, dead, values } = await store();
    for (const disk of [closed, dead]) {
      for (const file of disk.files().filter((one) => one !== 'LOCK')) {
        const { length } = disk.bytesOf(file);
        for (const share of [0, 0.01, 0.3, 0.6, 0.999]) {
          const copy = disk.fork();
          copy.flipBit(file, Math.floor(length * 8 * share));
          await judge(copy, values, file);
        }
      }
    }
  });

  test('a file that is cut off, empty, gone or full of noise is found', async () => {
    const { closed, dead, values } = await store();
    for (const disk of [closed, dead]) {
      for (const file of disk.files().filter((one) => one !== 'LOCK')) {
        const { length } = disk.bytesOf(file);
        for (const change of [
          () => new Uint8Array(0),
          (bytes: Uint8Array) => bytes.slice(0, length >> 1),
          (bytes: Uint8Array) => bytes.slice(0, length - 1),
          () => bytesOf(1, length),
          () => new Uint8Array(length).fill(0xff),
        ]) {
          const copy = disk.fork();
          copy.corrupt(file, change);
          await judge(copy, values, file);
        }
        const copy = disk.fork();
        await copy.unlink(file);
        if (file !== 'SUPER') await judge(copy, values, file);
        else expect(await codeOf(openOn(copy))).toBe('VARVE_CORRUPT');
      }
    }
  });

  test('a lost table opens degraded; onDegraded: throw refuses; the rest is served', async () => {
    const { closed, values } = await store();
    const tables = filesIn(closed, 'tab');
    const copy = closed.fork();
    copy.corrupt(tables.at(-1)!, () => new Uint8Array(10));
    const engine = await openOn(copy);
    expect(engine.health()).toMatchObject({ status: 'degraded', readOnly: true, reason: expect.any(String) });
    expect(engine.health().damage[0]).toMatchObject({ file: tables.at(-1), kind: 'VARVE_CORRUPT' });
    let served = 0;
    for (const key of values.keys()) if (await engine.has(key)) served++;
    expect(served).toBeGreaterThan(0);
    await engine.close();
    const refused = await failure(openOn(copy, { onDegraded: 'throw' }));
    expect([refused.code, refused.file]).toEqual(['VARVE_CORRUPT', tables.at(-1)]);
    await (await openOn(closed, { onDegraded: 'throw' })).close();
  });

  test('a hole in the log names the numbers that are missing and keeps what lies behind', async () => {
    const { engine, disk } = await newStore();
    const seqs: number[] = [];
    for (let i = 0; i < 6; i++) seqs.push((await engine.put(`k${i}`, `v${i}`)).seq);
    const dead = killed(disk);
    const wal = filesIn(dead, 'wal').at(-1)!;
    const text3 = new TextEncoder().encode('v2');
    const at = Buffer.from(dead.bytesOf(wal)).indexOf(Buffer.from(text3));
    dead.flipBit(wal, at * 8);
    const again = await openOn(dead);
    expect(await keysOf(again)).toEqual(['k0', 'k1', 'k3', 'k4', 'k5']);
    expect(again.health()).toMatchObject({ status: 'degraded', missing: [{ from: seqs[2], to: seqs[2] }] });
    expect(again.health().damage[0]).toMatchObject({ file: wal });
    expect(await codeOf(again.put('x', 'y'))).toBe('VARVE_READ_ONLY');
    await again.close();
  });

  test('a segment that is gone is known at open, however old it is', async () => {
    const { closed } = await store();
    await (await openOn(closed, {}, 8192)).close();
    await (await openOn(closed, {}, 8192)).close();
    const file = filesIn(closed, 'seg')[0]!;
    await closed.unlink(file);
    const engine = await openOn(closed);
    expect(engine.health()).toMatchObject({ status: 'degraded', damage: [{ file }] });
    await engine.close();
  });

  test('a store of a newer format is refused as such', async () => {
    const { closed } = await store();
    const { newerSuper } = await import('./newer-format.ts');
    closed.corrupt('SUPER', newerSuper);
    const before = closed.digest();
    expect(await codeOf(openOn(closed))).toBe('VARVE_FORMAT_VERSION');
    expect(await codeOf(openOn(closed, { readOnly: true }))).toBe('VARVE_FORMAT_VERSION');
    expect(closed.digest()).toBe(before);
  });
});
