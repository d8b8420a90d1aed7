/** Reads with a full, an empty and no block cache give the same. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, newStore, openOn, smallOptions } from './engine-kit.ts';

const noCache = { ...smallOptions, memory: { ...smallOptions.memory, blockCacheBytes: 0 } };

async function listed(engine: Engine, reverse: boolean): Promise<string[]> {
  const found: string[] = [];
  for await (const { key, value } of engine.scan({ reverse }))
    found.push(`${key} ${Buffer.from(value!).toString('hex')}`);
  return found;
}

test('scan equals a model, with a block cache and without one', async () => {
  const write = fc.record({ key: fc.nat({ max: 60 }), size: fc.nat({ max: 400 }), isDelete: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 80 }), async (writes) => {
      const store = await newStore(smallOptions);
      const model = new Map<string, string>();
      for (const [i, { key, size, isDelete }] of writes.entries()) {
        const name = `key ${String(key).padStart(3, '0')}`;
        const value = bytesOf(i, size);
        if (isDelete) await store.engine.delete(name);
        else await store.engine.put(name, value);
        if (isDelete) model.delete(name);
        else model.set(name, Buffer.from(value).toString('hex'));
        if (i % 25 === 24) await store.engine.flush();
      }
      const expected = [...model].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, hex]) => `${key} ${hex}`);
      await store.engine.close();
      for (const options of [smallOptions, noCache]) {
        const engine = await openOn(store.disk, options);
        expect(await listed(engine, false)).toEqual(expected);
        expect(await listed(engine, true)).toEqual([...expected].reverse());
        await engine.close();
      }
    }),
    { numRuns: 15 },
  );
});

test('calls of next that are not awaited are answered in order', async () => {
  const store = await newStore(smallOptions);
  const names = Array.from({ length: 40 }, (_, i) => `key ${100 + i}`);
  // Short values lie in their rows, long ones in chunks that must be read.
  for (const [i, name] of names.entries()) await store.engine.put(name, bytesOf(i, i % 3 === 0 ? 300 : 10));
  await store.engine.close();
  const engine = await openOn(store.disk, noCache);
  const entries = engine.scan()[Symbol.asyncIterator]();
  const results = await Promise.all(Array.from({ length: 42 }, () => entries.next()));
  expect(results.slice(0, 40).map(({ value }) => value.key)).toEqual(names);
  expect(results.slice(40).map(({ done }) => done)).toEqual([true, true]);
  await engine.close();
});

test('a kept chunk is read once, and what callers do to their copies changes nothing', async () => {
  const store = await newStore(smallOptions);
  const value = bytesOf(1, 3000);
  await store.engine.put('k', value);
  await store.engine.close();
  const engine = await openOn(store.disk, smallOptions);
  const read = async (): Promise<void> => {
    for (const got of [engine.getSync('k'), await engine.get('k'), (await engine.getMany(['k']))[0]]) {
      expect(Buffer.compare(got!, value)).toBe(0);
      got!.fill(0);
    }
  };
  await read();
  const { misses } = engine.stats().memory.blockCache;
  await read();
  expect(engine.stats().memory.blockCache.misses).toBe(misses);
  engine.dropCaches();
  expect(engine.stats().memory.blockCache.used).toBe(0);
  await read();
  expect(engine.stats().memory.blockCache.misses).toBeGreaterThan(misses);
  await engine.close();
});
