import { describe, expect, test } from 'vitest';
import type { BatchOperation } from '../../src/engine/types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, codeOf, newStore, openOn, same, turn } from './engine-kit.ts';

/** One value of every form a put can give: inline, one chunk, several, and a tree. */
const sizes = [0, 1, 40, 41, 64, 65, 900, 1024, 1025, 20_000];

describe('a put that is sequenced in the turn of its call', () => {
  test('answers and stores what a put with options does', async () => {
    const now = await newStore();
    const later = await newStore();
    for (const round of [0, 1]) {
      for (const [i, size] of sizes.entries()) {
        const value = bytesOf(i + round * 3, size);
        const key = round === 0 ? `k${i}` : Buffer.from(`k${i}`);
        expect(await now.engine.put(key, value)).toEqual(await later.engine.put(key, value, {}));
        expect(same((await now.engine.get(key))!, value)).toBe(true);
        expect(await now.engine.stat(key)).toEqual(await later.engine.stat(key));
      }
    }
    await now.engine.delete('k1');
    await later.engine.delete('k1');
    now.clock.ms += 50;
    later.clock.ms += 50;
    for (const key of ['k1', 'k2']) {
      await now.engine.put(key, 'text');
      await later.engine.put(key, 'text', {});
      expect(await now.engine.stat(key)).toEqual(await later.engine.stat(key));
    }
    const { lookups, ...chunks } = later.engine.stats().chunks;
    // The first put looked for its chunks before it found no segment open.
    expect(now.engine.stats().chunks).toEqual({ ...chunks, lookups: lookups + 1 });
  });

  test('takes the bytes before it returns', async () => {
    const { engine } = await newStore();
    for (const size of [30, 1000]) {
      const value = bytesOf(size, size);
      const copy = value.slice();
      const key = Buffer.from('changing');
      const put = engine.put(key, value);
      value.fill(0);
      key.fill(0x78);
      await put;
      expect(same((await engine.get('changing'))!, copy)).toBe(true);
    }
  });

  test('close waits for puts nobody awaits', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openOn(disk);
    const puts = Array.from({ length: 100 }, (_, i) => engine.put(`k${i}`, bytesOf(i, (i * 13) % 1200)));
    await engine.close();
    await Promise.all(puts);
    expect(await codeOf(() => engine.put('k', 'x'))).toBe('VARVE_CLOSED');
    const again = await openOn(disk);
    for (let i = 0; i < 100; i++) {
      expect(same((await again.get(`k${i}`))!, bytesOf(i, (i * 13) % 1200))).toBe(true);
    }
    await again.close();
  });

  test('waits when more than pendingCommitBytes is on its way, which stays bounded', async () => {
    const pendingCommitBytes = 64 * 1024;
    const { engine } = await newStore({ memory: { pendingCommitBytes }, inlineMax: 4096 });
    const value = bytesOf(1, 1000);
    const puts: Promise<unknown>[] = [];
    let highest = 0;
    for (let i = 0; i < 600; i++) {
      puts.push(engine.put(`k${i}`, value));
      highest = Math.max(highest, engine.stats().memory.pendingCommits.used);
      if (i % 50 === 0) await turn();
    }
    await Promise.all(puts);
    expect(highest).toBeGreaterThan(pendingCommitBytes / 2);
    expect(highest).toBeLessThan(pendingCommitBytes + 2048);
    for (let i = 0; i < 600; i++) expect(engine.getSync(`k${i}`)).toBeDefined();
  });

  test('a put that had to wait stores what it was given', async () => {
    const pendingCommitBytes = 64 * 1024;
    const { engine } = await newStore({ memory: { pendingCommitBytes }, inlineMax: 4096 });
    const space = engine.space('other');
    const buffer = new Uint8Array(1000);
    const puts: Promise<{ seq: number; size: number; digest: string }>[] = [];
    for (let i = 0; i < 200; i++) {
      buffer.fill(i);
      // Every third goes the long way all the same.
      const options = i % 3 === 0 ? { tags: ['x'] } : {};
      puts.push(i % 2 === 0 ? engine.put(`k${i}`, buffer, options) : space.put(`k${i}`, buffer));
    }
    buffer.fill(255);
    const results = await Promise.all(puts);
    expect(new Set(results.map(({ seq }) => seq)).size).toBe(200);
    for (let i = 0; i < 200; i++) {
      const { seq, size, digest } = results[i]!;
      const owner = i % 2 === 0 ? engine : space;
      expect(same(owner.getSync(`k${i}`)!, new Uint8Array(1000).fill(i))).toBe(true);
      expect(await owner.stat(`k${i}`)).toMatchObject({ seq, size, digest });
    }
    const signal = AbortSignal.abort();
    expect(await codeOf(() => engine.put('k', 'x', { signal }))).toBe('VARVE_ABORTED');
  });

  test('rejects a key and a value that cannot be, without throwing', async () => {
    const { engine } = await newStore();
    for (const [key, value] of [
      ['\ud800', 'x'],
      ['k', '\udc00'],
      ['k'.repeat(70_000), 'x'],
    ] as const) {
      const put = engine.put(key, value);
      expect(await codeOf(() => put)).toBe('VARVE_INVALID_ARGUMENT');
    }
  });
});

test('a batch in one turn stores what the same operations one by one do, the last of each key', async () => {
  const { engine } = await newStore();
  await engine.batch([
    { type: 'put', key: 'gone', value: 'x' },
    { type: 'put', key: Buffer.from('kept'), value: 'x' },
  ]);
  const operations: BatchOperation[] = [];
  const model = new Map<string, Uint8Array | undefined>([['kept', Buffer.from('x')]]);
  for (let i = 0; i < 500; i++) {
    const key = i % 97 === 0 ? 'gone' : `k${(i * 7) % 120}`;
    const value = i % 5 === 0 ? undefined : bytesOf(i, i % 40);
    model.set(key, value);
    const given = i % 3 === 0 ? Buffer.from(key) : key;
    if (value === undefined) operations.push({ type: 'delete', key: given });
    else operations.push({ type: 'put', key: given, value });
  }
  const before = engine.stats().commits.count;
  await engine.batch(operations);
  expect(engine.stats().commits.count).toBe(before + 1);
  for (const [key, value] of model) {
    const got = engine.getSync(key);
    expect(got === undefined || value === undefined ? got === value : same(got, value), key).toBe(true);
  }
});
