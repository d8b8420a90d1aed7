import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Store } from '../../src/engine/store.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf, filesIn } from './engine-kit.ts';

/** Entries of the chunk tree, by a scan. */
async function entriesOf(store: Store): Promise<number> {
  let entries = 0;
  await store.forest.chunks.scanAll(() => {
    entries++;
  });
  return entries;
}

test('deleting everything and compacting leaves no segment and an empty chunk tree', async () => {
  const disk = new MemoryFileSystem();
  const { engine, store } = await openParts(disk);
  for (let i = 0; i < 60; i++) await engine.put(`k${i}`, bytesOf(i, i % 5 === 0 ? 50_000 : 4000));
  for (let i = 0; i < 30; i++) await engine.put(`k${i}`, bytesOf(1000 + i, 5000));
  for (let i = 0; i < 30; i++) await engine.delete(`k${i}`);
  await engine.clear();
  const report = await engine.compact();
  expect(report).toMatchObject({ ok: true, segmentsAfter: 0, pinned: [] });
  expect(filesIn(disk, 'seg')).toEqual([]);
  expect(await entriesOf(store)).toBe(0);
  await engine.close();
});

test('twenty rounds of overwriting a random half stay under 1.25 of what is live', async () => {
  const { engine } = await openParts(new MemoryFileSystem());
  const prng = new Prng(7);
  for (let i = 0; i < 30; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
  for (let round = 1; round <= 20; round++) {
    for (let i = 0; i < 30; i++)
      if (prng.chance(0.5)) await engine.put(`k${i}`, bytesOf(round * 100 + i, 4000));
    await engine.compact({ amplification: 1.2 });
    const { dataBytes, liveBytes } = engine.stats().space;
    expect(dataBytes / liveBytes).toBeLessThan(1.25);
  }
  await engine.close();
});

test('a queue stays flat in size, however many keys go through it', async () => {
  const disk = new MemoryFileSystem();
  const { engine } = await openParts(disk);
  const sizes: number[] = [];
  for (let i = 0; i < 300; i++) {
    await engine.put(`q${String(i).padStart(6, '0')}`, bytesOf(i, 3000));
    if (i >= 20) await engine.delete(`q${String(i - 20).padStart(6, '0')}`);
    if (i % 50 !== 49) continue;
    await engine.compact();
    sizes.push(disk.files().reduce((sum, file) => sum + disk.bytesOf(file).length, 0));
  }
  expect(Math.max(...sizes.slice(1))).toBeLessThan(sizes[0]! * 1.25);
  await engine.close();
});
