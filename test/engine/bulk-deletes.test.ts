/** Deletes of ranges and spaces of any size: one small commit, and nothing left behind them. */
import { expect, test } from 'vitest';
import { tombstonesWorthMerging } from '../../src/base/limits.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { keysOf, newStore, turn } from './engine-kit.ts';

const keyOf = (n: number): string => `key/${String(n).padStart(6, '0')}`;
const perBatch = 500;
/** Delete markers that are let be, with the few rows of the system's own. */
const skippedMax = tombstonesWorthMerging + 64;

async function fill(engine: Engine, count: number): Promise<void> {
  for (let from = 0; from < count; from += perBatch) {
    await engine.batch(
      Array.from({ length: perBatch }, (_, i) => ({ type: 'put', key: keyOf(from + i), value: 'v' })),
    );
  }
}

async function settled(engine: Engine): Promise<void> {
  await engine.flush();
  for (let i = 0; i < 10_000; i++) {
    const { compaction, ranges } = engine.stats();
    if (!compaction.running && ranges.pending === 0) return;
    await turn();
  }
  throw new Error('merges do not end');
}

test('a range delete is one commit of a few bytes, however much it covers', async () => {
  const sizes: number[] = [];
  for (const count of [perBatch, 8 * perBatch]) {
    const { engine } = await newStore();
    await fill(engine, count);
    await engine.flush();
    const before = engine.stats().commits;
    const { seq } = await engine.deleteRange({ prefix: 'key/' });
    const after = engine.stats().commits;
    expect(after.count - before.count).toBe(1);
    expect(await keysOf(engine)).toEqual([]);
    expect(engine.stats().seq).toBeGreaterThanOrEqual(seq);
    sizes.push(after.logBytes - before.logBytes);
    await settled(engine);
    expect(engine.stats().tables.entries).toBeLessThan(skippedMax);
  }
  expect(Math.max(...sizes)).toBeLessThan(256);
});

test('a space of any size is dropped in one commit, and its rows go behind it', async () => {
  const { engine } = await newStore();
  const space = engine.space('crowd');
  await fill(space, 8 * perBatch);
  await engine.flush();
  const before = engine.stats().commits;
  await engine.spaces.drop('crowd');
  const after = engine.stats().commits;
  expect(after.count - before.count).toBe(1);
  expect(after.logBytes - before.logBytes).toBeLessThan(512);
  await settled(engine);
  expect(engine.stats().tables.entries).toBeLessThan(skippedMax);
});
