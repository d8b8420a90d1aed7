import { describe, expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import type { MemoryOptions } from '../../src/engine/memory-options.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import {
  bytesOf,
  codeOf,
  failure,
  keysOf,
  killed,
  newStore,
  openOn,
  smallChunks,
  TestClock,
  turn,
} from './engine-kit.ts';

describe('options', () => {
  const bad: [string, object][] = [
    ['an unknown name', { lockWait: 5 }],
    ['history of fewer than no versions', { history: { versions: -1 } }],
    ['history for a time that is no number', { history: { ms: '1d' } }],
    ['an unknown part of history', { history: { days: 1 } }],
    ['a negative age of views', { maxViewAgeMs: -1 }],
    ['an unknown durability', { durability: 'none' }],
    ['a groupMs of 0', { durability: { groupMs: 0 } }],
    ['an unknown part of durability', { durability: { groupMs: 5, ms: 1 } }],
    ['an unknown chunking name', { chunking: { size: 5 } }],
    ['an unknown algorithm', { chunking: { algorithm: 'rabin' } }],
    ['chunk sizes out of order', { chunking: { min: 9000, avg: 2000, max: 10_000 } }],
    ['a chunk max above 16 MiB', { chunking: { max: 32 * 1024 * 1024 } }],
    ['an inlineMax above its bound', { inlineMax: 65_537 }],
    ['an unknown keyEncoding', { keyEncoding: 'utf16' }],
    ['more workers than there may be', { workers: 65 }],
    ['a part of a worker', { workers: 1.5 }],
    ['unknown workers', { workers: 'all' }],
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
    const { openWithEnv } = await import('../../src/engine/opening/open.ts');
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

  test('breakLock is what the lock is asked with', async () => {
    const { openWithEnv } = await import('../../src/engine/opening/open.ts');
    const { memoryLock } = await import('../../src/fs/memory-lock.ts');
    const disk = new MemoryFileSystem();
    const clock = new TestClock();
    const asked: unknown[] = [];
    const lock = memoryLock(disk, clock);
    const acquire: typeof lock.acquire = (request) => {
      asked.push(request.breakLock);
      return lock.acquire(request);
    };
    const env = { fs: disk, lock: { ...lock, acquire }, clock, random: (n: number) => bytesOf(1, n) };
    await (await openWithEnv(env, {})).close();
    await (await openWithEnv(env, { breakLock: true })).close();
    expect(asked).toEqual([false, true]);
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

  test('memory budgets hold: memtables are flushed, caches stay small, commits wait', async () => {
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
    // As many as merges have left.
    expect(stats.tables.keys).toBeGreaterThan(0);
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

  test('blocks use what filters and indexes have free, unless they have a budget of their own', async () => {
    const budget = async (memory: MemoryOptions): Promise<number> => {
      const { engine } = await newStore({ memory });
      return engine.stats().memory.blockCache.budget / MiB;
    };
    expect(await budget({})).toBe(160);
    expect(await budget({ tableFilterBytes: 8 * MiB })).toBe(40);
    expect(await budget({ tableFilterBytes: 1024 * MiB })).toBe(160);
    expect(await budget({ blockCacheBytes: 4 * MiB })).toBe(4);
    expect(await budget({ blockCacheBytes: 0 })).toBe(0);
  });
});
