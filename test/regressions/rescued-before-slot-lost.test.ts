import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { withoutNewest } from '../crash/fallback.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = { durability: 'os', algorithm: 'fastcdc', inlineMax: 0, segmentBytes: 2 ** 20 };
const value = (n: number): Uint8Array => new Prng(n).bytes(3000);

/** A disk on which a process put a and b, whose chunks nobody synced, and ended. */
async function killed(
  end?: (disk: MemoryFileSystem, engine: Engine) => Promise<void>,
): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, shape, 1);
  await engine.put('a', value(1));
  await engine.put('b', value(2));
  await end?.(disk, engine);
  const next = disk.fork();
  disk.faults = () => 'crash';
  return next;
}

/** Opens without the newest slot, and without the newest catalog, and finds both keys; how many it opened. */
async function checkWithoutNewest(disk: MemoryFileSystem): Promise<number> {
  const all = await withoutNewest(disk, 0);
  for (const [what, damaged] of all) {
    const engine = await openOn(damaged, shape, 3);
    expect([what, engine.health().status]).not.toContain('degraded');
    for (const [n, key] of ['a', 'b'].entries()) {
      const found = (await engine.get(key)) ?? new Uint8Array();
      expect([what, key, Buffer.compare(found, value(n + 1))]).toEqual([what, key, 0]);
    }
    await engine.put('c', value(3));
    await engine.close();
  }
  return all.length;
}

// A writer copies the chunks of a killed one into segments of its own and syncs those. The log it repeated
// still named the old segments, which nobody had synced. With the newest slot or catalog lost after a power
// cut, recovery goes from the catalog before it through that log: commits were lost, or the store was
// degraded.
test('what recovery made durable is found without the newest slot or catalog', async () => {
  const disk = await killed();
  const again = await openOn(disk, shape, 2);
  expect(again.stats().durableSeq).toBeGreaterThanOrEqual(2);
  const unsynced = disk.pending().filter(({ path }) => path.startsWith('seg/'));
  expect(unsynced.length).toBeGreaterThan(1);
  let checked = 0;
  for (const missing of [undefined, ...unsynced.map(({ index }) => index)]) {
    const keep = ({ index }: { index: number }): boolean => missing !== undefined && index !== missing;
    checked += await checkWithoutNewest(disk.crash({ keep }));
  }
  expect(checked).toBeGreaterThan(5);
});

test('the same where a sync of the old segment failed and a later one would succeed', async () => {
  const disk = await killed(async (first, engine) => {
    first.faults = ({ kind, path }) =>
      path.startsWith('seg/') && (kind === 'sync' || kind === 'dataSync')
        ? { errno: 'EIO', lost: 'dropped' }
        : undefined;
    await expect(engine.flush()).rejects.toThrow();
    first.faults = undefined;
  });
  await openOn(disk, shape, 2);
  expect(await checkWithoutNewest(disk.crash('all'))).toBe(2);
});
