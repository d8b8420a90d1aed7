/** Batches whose keys the disk must be asked for. */
import { expect, test } from 'vitest';
import type { BatchOperation } from '../../src/engine/types.ts';
import { codeOf, newStore, turn } from './engine-kit.ts';

const count = 3000;
const key = (n: number): string => `${String(n).padStart(5, '0')}${'k'.repeat(200)}`;

/** A store of many blocks of which memory has few, on a disk whose reads take 5 ms each. */
async function coldStore() {
  const { engine, disk, clock } = await newStore({ memory: { blockCacheBytes: 0 } });
  const puts = Array.from({ length: count }, (_, n): BatchOperation => {
    return { type: 'put', key: key(n), value: String(n) };
  });
  await engine.batch(puts);
  await engine.flush();
  const reads = { now: 0, most: 0, all: 0 };
  disk.faults = ({ kind, path }) => {
    if (kind === 'read' && path.startsWith('tab/')) clock.ms += 5;
    return undefined;
  };
  disk.schedule = async ({ kind, path }) => {
    if (kind !== 'read' || !path.startsWith('tab/')) return;
    reads.now++;
    reads.all++;
    reads.most = Math.max(reads.most, reads.now);
    await turn();
    reads.now--;
  };
  return { engine, disk, reads };
}

const deletes = Array.from({ length: 100 }, (_, n): BatchOperation => ({ type: 'delete', key: key(30 * n) }));

test('keys of a batch are looked up side by side, within a bound', async () => {
  const { engine, reads } = await coldStore();
  await engine.batch(deletes);
  expect(reads.all).toBeGreaterThan(50);
  expect(reads.most).toBeGreaterThan(4);
  expect(reads.most).toBeLessThanOrEqual(16);
  expect(await engine.get(key(30))).toBeUndefined();
  expect(await engine.get(key(31))).toBeDefined();
});

test('a batch whose lookup fails does nothing, and reads nothing any more when it says so', async () => {
  const { engine, disk, reads } = await coldStore();
  const slow = disk.faults!;
  let isBroken = true;
  disk.faults = (op) => {
    slow(op);
    const fails = isBroken && op.kind === 'read' && op.path.startsWith('tab/') && reads.all > 40;
    return fails ? { errno: 'EIO' } : undefined;
  };
  const { seq } = engine.stats();
  expect(await codeOf(() => engine.batch(deletes))).toBe('VARVE_IO');
  expect(reads.now).toBe(0);
  expect(engine.stats().seq).toBe(seq);
  isBroken = false;
  await engine.batch(deletes);
  expect(await engine.get(key(30))).toBeUndefined();
});
