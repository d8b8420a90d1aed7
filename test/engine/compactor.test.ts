import { describe, expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import type { Entry } from '../../src/engine/types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import type { CompactionLimits } from '../../src/tree/compaction-planner.ts';
import { simulatedClock } from '../crash/machine.ts';
import { smallOptions, text } from './engine-kit.ts';

/** Small enough that a few flushes fill levels. */
const small: Partial<CompactionLimits> = {
  level0Tables: 2,
  tableBytes: 4096,
  level1Bytes: 8192,
  levelRatio: 2,
  tombstonesMin: 8,
};

async function storeOn(
  disk: MemoryFileSystem,
  options: EngineOptions = {},
  more: { compaction?: Partial<CompactionLimits>; flushMerges?: boolean } = {},
): Promise<Engine> {
  const clock = simulatedClock();
  const prng = new Prng(disk.opCount + 1);
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
  const bounds = { segmentBytes: 16 * 1024, compaction: small, flushMerges: true, ...more };
  const engine = await openWithEnv(env, { ...smallOptions, inlineMax: 200, ...options }, bounds);
  onTestFinished(() => engine.close().catch(() => undefined));
  return engine;
}

async function contentsOf(entries: AsyncIterable<Entry>): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const entry of entries) found.set(entry.key!, text((entry as { value: Uint8Array }).value)!);
  return found;
}

async function expectAll(engine: Engine, model: ReadonlyMap<string, string>): Promise<void> {
  expect(await contentsOf(engine.scan())).toEqual(new Map([...model].sort(([a], [b]) => (a < b ? -1 : 1))));
  for (const [key, value] of model) expect(text(await engine.get(key))).toBe(value);
}

/** Random puts and deletes, some values in chunks. */
async function work(engine: Engine, model: Map<string, string>, prng: Prng, calls: number): Promise<void> {
  for (let i = 0; i < calls; i++) {
    const key = `key${prng.below(300)}`;
    if (prng.chance(0.3)) {
      await engine.delete(key);
      model.delete(key);
    } else {
      const value = `${prng.below(1e9)}`.padEnd(prng.chance(0.1) ? 900 : prng.below(120), '.');
      await engine.put(key, value);
      model.set(key, value);
    }
  }
}

const tableFiles = async (disk: MemoryFileSystem): Promise<number> =>
  (await disk.list('tab/00/00')).filter(({ kind }) => kind === 'file').length;

describe('compactor', () => {
  test('reads equal a map while tables are merged, and after a reopen', async () => {
    const disk = new MemoryFileSystem();
    const prng = new Prng(11);
    const model = new Map<string, string>();
    let engine = await storeOn(disk);
    for (let round = 0; round < 10; round++) {
      await work(engine, model, prng, 60);
      await engine.flush();
      await expectAll(engine, model);
      if (round % 4 === 3) {
        await engine.close();
        engine = await storeOn(disk);
        await expectAll(engine, model);
      }
    }
    const { compaction, tables } = engine.stats();
    expect(compaction.levels.keys.length).toBeGreaterThan(2);
    expect(compaction.levels.keys[0]).toBeLessThan(2);
    expect(compaction.merges).toBeGreaterThan(3);
    expect(compaction.rowsDropped).toBeGreaterThan(0);
    expect(compaction.writeAmplification).toBeGreaterThan(1);
    expect(compaction).toMatchObject({ failures: 0, running: false, debtBytes: 0, waitedMs: 0 });
    expect(engine.health().ok).toBe(true);
    const count = tables.keys + tables.chunks + tables.system + tables.indexes;
    await engine.close();
    expect(await tableFiles(disk)).toBeLessThanOrEqual(count + 6);
  }, 30_000);

  test('opens do not collect tables', async () => {
    const disk = new MemoryFileSystem();
    for (let i = 0; i < 12; i++) {
      const engine = await storeOn(disk);
      await engine.put(`key${i}`, `${i}`);
      await engine.close();
    }
    const engine = await storeOn(disk);
    await engine.flush();
    expect(engine.stats().tables.keys).toBeLessThan(4);
    expect((await contentsOf(engine.scan())).size).toBe(12);
  });

  test('a scan sees its view while tables are merged under it', async () => {
    const engine = await storeOn(new MemoryFileSystem());
    for (let i = 100; i < 200; i++) await engine.put(`k${i}`, 'old');
    await engine.flush();
    const notBegun = engine.scan();
    const stream = engine.stream('k100');
    const begun = engine.scan()[Symbol.asyncIterator]();
    expect(text((await begun.next()).value.value)).toBe('old');
    for (let round = 0; round < 3; round++) {
      for (let i = 100; i < 200; i++) {
        if (i % 2 === 0) await engine.delete(`k${i}`);
        else await engine.put(`k${i}`, `new${round}`);
      }
      await engine.flush();
    }
    expect(engine.stats().compaction.merges).toBeGreaterThan(0);
    let count = 1;
    for (let step = await begun.next(); step.done !== true; step = await begun.next()) {
      expect(text(step.value.value)).toBe('old');
      count++;
    }
    expect(count).toBe(100);
    const all = await contentsOf(notBegun);
    expect([all.size, new Set(all.values())]).toEqual([100, new Set(['old'])]);
    expect(await new Response(stream).text()).toBe('old');
    expect((await contentsOf(notBegun)).size).toBe(50);
  });

  test('keys deleted in bulk leave nothing to skip', async () => {
    const engine = await storeOn(new MemoryFileSystem(), {}, { compaction: { ...small, level0Tables: 99 } });
    await Promise.all(Array.from({ length: 1500 }, (_, i) => engine.put(`key${i}`, 'x')));
    await engine.flush();
    await Promise.all(Array.from({ length: 1490 }, (_, i) => engine.delete(`key${i}`)));
    await engine.flush();
    expect((await contentsOf(engine.scan())).size).toBe(10);
    await engine.put('last', 'x');
    await engine.flush();
    expect(engine.stats().tables.entries).toBeLessThan(100);
  });

  test('versions that are kept, and what hides them, outlive every merge', async () => {
    const engine = await storeOn(new MemoryFileSystem(), { history: { versions: 12 } });
    const large = 'x'.repeat(1000);
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 10; i++) await engine.put(`k${i}`, `${large}${round}${i}`);
      if (round % 2 === 1) for (let i = 0; i < 10; i++) await engine.delete(`k${i}`);
      await engine.flush();
    }
    expect((await contentsOf(engine.scan())).size).toBe(0);
    for (let i = 0; i < 10; i++) expect(await engine.get(`k${i}`)).toBe(undefined);
    expect(engine.stats().compaction.merges).toBeGreaterThan(0);
    expect(engine.stats().tables.entries).toBeGreaterThan(60);
  });

  test('a damaged table is left alone and listed', async () => {
    const disk = new MemoryFileSystem();
    const engine = await storeOn(disk, {}, { compaction: { ...small, level0Tables: 3 } });
    await engine.put('a', 'first'.padEnd(100));
    await engine.flush();
    const [name] = (await disk.list('tab/00/00')).map((entry) => entry.name);
    const file = await disk.open(`tab/00/00/${name}`, 'rw');
    await file.write(Uint8Array.of(255), 120);
    await file.close();
    for (const key of ['b', 'c', 'd', 'e']) {
      await engine.put(key, key);
      await engine.flush();
    }
    const { compaction } = engine.stats();
    expect(compaction).toMatchObject({ merges: 0, failures: 1, level0Tables: 0 });
    expect(engine.health()).toMatchObject({ status: 'warning', damage: [{ kind: 'VARVE_CORRUPT' }] });
    for (const key of ['b', 'c', 'd', 'e']) expect(text(await engine.get(key))).toBe(key);
    await expect(engine.get('a')).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
  });

  test('a full disk leaves the store as it was', async () => {
    const disk = new MemoryFileSystem();
    const engine = await storeOn(disk, {}, { flushMerges: false });
    const model = new Map<string, string>();
    await work(engine, model, new Prng(3), 80);
    await engine.flush();
    let full = true;
    disk.faults = (op) =>
      full && op.kind === 'create' && op.path.startsWith('tab/') && engine.stats().compaction.running
        ? { errno: 'ENOSPC' }
        : undefined;
    await work(engine, model, new Prng(4), 40);
    await engine.flush();
    for (let i = 0; i < 100 && engine.stats().compaction.running; i++) await new Promise(setImmediate);
    expect(engine.stats().compaction).toMatchObject({ merges: 0, failures: 1 });
    expect(engine.health().ok).toBe(true);
    await expectAll(engine, model);
    full = false;
    for (let i = 0; i < 3; i++) await work(engine, model, new Prng(5 + i), 400).then(() => engine.flush());
    for (let i = 0; i < 1000 && engine.stats().compaction.running; i++) await new Promise(setImmediate);
    expect(engine.stats().compaction.merges).toBeGreaterThan(0);
    await expectAll(engine, model);
  });

  test('close ends a merge that is under way, and the next open does it', async () => {
    const disk = new MemoryFileSystem();
    const options = { flushMerges: false };
    const engine = await storeOn(disk, {}, options);
    const model = new Map<string, string>();
    for (let i = 0; i < 4; i++) {
      await work(engine, model, new Prng(i), 30);
      await engine.flush();
    }
    await engine.close();
    const again = await storeOn(disk, {}, options);
    for (let i = 0; i < 1000 && again.stats().compaction.running; i++) await new Promise(setImmediate);
    await expectAll(again, model);
    expect(again.stats().compaction.level0Tables).toBeLessThan(2);
    const reader = await storeOn(disk, { readOnly: true });
    expect(reader.stats().compaction).toMatchObject({ merges: 0, running: false });
    await expectAll(reader, model);
  });
});
