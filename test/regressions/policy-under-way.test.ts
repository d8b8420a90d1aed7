import { expect, onTestFinished, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { codeOf, newStore, openOn, turn } from '../engine/engine-kit.ts';

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

/** From now on syncs of files wait until the returned call lets them go. */
function holdSyncs(disk: MemoryFileSystem): () => void {
  let letGo: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  disk.schedule = ({ kind }) => (kind === 'dataSync' || kind === 'sync' ? held : Promise.resolve());
  onTestFinished(letGo);
  return () => {
    disk.schedule = undefined;
    letGo();
  };
}

async function ttlAfterPowerCut(disk: MemoryFileSystem): Promise<number | undefined> {
  const again = await openOn(disk.crash('none'));
  const { ttlMs } = again.policy();
  await again.close();
  return ttlMs;
}

/** The store knows policies already: setting one needs nothing but the log. */
async function storeWithTtl(
  durability: 'full' | 'os',
  ttlMs: number,
): Promise<{ disk: MemoryFileSystem; engine: Engine }> {
  const { disk, engine } = await newStore({ durability });
  await engine.setPolicy({ ttlMs });
  return { disk, engine };
}

for (const durability of ['full', 'os'] as const) {
  test(`a policy that another call is setting is durable when either resolves (${durability})`, async () => {
    const { disk, engine } = await storeWithTtl(durability, 1000);
    const letGo = holdSyncs(disk);
    const resolved: number[] = [];
    const first = engine.setPolicy({ ttlMs: 2000 }).then(() => resolved.push(1));
    await turns();
    expect(engine.policy().ttlMs).toBe(2000);
    const second = engine.setPolicy({ ttlMs: 2000 }).then(() => resolved.push(2));
    await turns();
    expect(await ttlAfterPowerCut(disk)).toBe(1000);
    expect(resolved).toEqual([]);
    letGo();
    await Promise.all([first, second]);
    expect(await ttlAfterPowerCut(disk)).toBe(2000);
  });
}

test('a policy whose sync failed is not said to be durable by a later call', async () => {
  const { disk, engine } = await storeWithTtl('full', 1000);
  disk.faults = ({ kind }) => (kind === 'dataSync' ? { errno: 'EIO' } : undefined);
  expect(await codeOf(engine.setPolicy({ ttlMs: 2000 }))).toBe('VARVE_POISONED');
  disk.faults = undefined;
  expect(await codeOf(engine.setPolicy({ ttlMs: 2000 }))).toBe('VARVE_POISONED');
});

test('of two policies the one asked for last holds, also where it is the one from before both', async () => {
  const { disk, engine } = await newStore();
  // The first policy of a store waits for a catalog before it is sequenced.
  const letGo = holdSyncs(disk);
  const first = engine.setPolicy({ ttlMs: 2000 });
  const second = engine.setPolicy({ ttlMs: null });
  engine.space('s', { ttlMs: 3000 });
  engine.space('s', { ttlMs: null });
  await turns();
  letGo();
  await Promise.all([first, second]);
  await engine.flush();
  expect(engine.policy().ttlMs).toBeUndefined();
  expect(engine.space('s').policy().ttlMs).toBeUndefined();
  await engine.close();
  expect(await ttlAfterPowerCut(disk)).toBeUndefined();
});

test('a policy that must wait for the store to know of it is not set behind a later one', async () => {
  const { disk, engine } = await storeWithTtl('full', 1000);
  const letGo = holdSyncs(disk);
  // Quotas are new to the store: that waits for a catalog.
  const first = engine.setPolicy({ ttlMs: 2000, quotaBytes: 500 });
  const second = engine.setPolicy({ ttlMs: 3000 });
  await turns();
  letGo();
  await Promise.all([first, second]);
  expect(engine.policy()).toMatchObject({ ttlMs: 3000, quotaBytes: 500 });
});
