/** Budgets that are options: each test fails where the budget is not kept. */
import { expect, test } from 'vitest';
import { bytesOf, codeOf, newStore, openOn, smallOptions } from './engine-kit.ts';

const KiB = 1024;
const withMemory = (memory: object): object => ({
  ...smallOptions,
  memory: { ...smallOptions.memory, ...memory },
});

test('a checkpoint begins when the log reaches its budget, long before memtables are full', async () => {
  const options = { ...withMemory({ memtableBytes: 64 * KiB * KiB }), checkpointLogBytes: 64 * KiB };
  const { engine } = await newStore(options);
  for (let i = 0; i < 400; i++) {
    await engine.put(`key ${i}`, bytesOf(i, 1500));
    const { log } = engine.stats();
    expect(log.budget).toBe(64 * KiB);
    // The commit that reaches it is in that log file, and those made while the next one begins.
    expect(log.used).toBeLessThan(log.budget + 8 * KiB);
  }
  expect(engine.stats().checkpointSeq).toBeGreaterThan(100);
  await engine.close();
});

test('a value is read ahead no further than the budget', async () => {
  const store = await newStore(smallOptions, 8 * KiB * KiB);
  const value = bytesOf(7, 1500 * KiB);
  await store.engine.put('big', value);
  await store.engine.close();
  const mostRead = async (readAheadBytes: number): Promise<number> => {
    const engine = await openOn(store.disk, withMemory({ readAheadBytes }));
    let most = 0;
    store.disk.faults = ({ kind, path, length = 0 }) => {
      if (kind === 'read' && path.startsWith('seg/')) most = Math.max(most, length);
      return undefined;
    };
    expect(Buffer.compare((await engine.get('big'))!, value)).toBe(0);
    const parts: Uint8Array[] = [];
    for await (const part of engine.stream('big')) parts.push(part);
    expect(Buffer.compare(Buffer.concat(parts), value)).toBe(0);
    store.disk.faults = undefined;
    await engine.close();
    return most;
  };
  // A list node is read alone, whatever its length.
  expect(await mostRead(64 * KiB)).toBeLessThanOrEqual(32 * KiB);
  expect(await mostRead(2 * KiB * KiB)).toBeGreaterThan(128 * KiB);
});

test('a query that would sort more than its budget is refused, and one that fits is answered', async () => {
  const options = withMemory({ sortBytes: 64 * KiB });
  const { engine } = await newStore(options);
  for (let i = 0; i < 300; i++) await engine.put(`key ${i}`, bytesOf(i, i));
  const take = async (limit: number): Promise<number> => {
    const answer = engine.query({ orderBy: 'size', limit });
    let n = 0;
    for await (const _ of answer) n++;
    return n;
  };
  expect(await take(100)).toBe(100);
  expect(await codeOf(take(300))).toBe('VARVE_INVALID_ARGUMENT');
  await engine.close();
});

test('filters, indexes and blocks stay within their budgets, and answers stay the same', async () => {
  const store = await newStore(smallOptions);
  const count = 3000;
  for (let from = 0; from < count; from += 500) {
    const ops = Array.from({ length: 500 }, (_, i) => ({
      type: 'put' as const,
      key: `key ${String(from + i).padStart(6, '0')}`,
      value: bytesOf(from + i, 30),
    }));
    await store.engine.batch(ops);
    await store.engine.flush();
  }
  await store.engine.close();
  for (const budget of [0, 3 * KiB, 1024 * KiB]) {
    const memory = { tableFilterBytes: budget, tableIndexBytes: budget, blockCacheBytes: budget };
    const engine = await openOn(store.disk, withMemory(memory));
    for (let i = 0; i < count; i += 13) {
      const key = `key ${String(i).padStart(6, '0')}`;
      const got = i % 2 === 0 ? engine.getSync(key) : await engine.get(key);
      expect(Buffer.compare(got!, bytesOf(i, 30))).toBe(0);
      const { tableFilters, tableIndexes, blockCache } = engine.stats().memory;
      for (const { used, budget: bound } of [tableFilters, tableIndexes, blockCache]) {
        expect(bound).toBe(budget);
        expect(used).toBeLessThanOrEqual(budget);
      }
    }
    engine.dropCaches();
    const { tableFilters, tableIndexes } = engine.stats().memory;
    expect([tableFilters.used, tableIndexes.used]).toEqual([0, 0]);
    expect(Buffer.compare(engine.getSync('key 000007')!, bytesOf(7, 30))).toBe(0);
    await engine.close();
  }
});
