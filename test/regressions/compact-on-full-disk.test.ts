import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openParts } from '../engine/cleaner-kit.ts';
import { bytesOf, same } from '../engine/engine-kit.ts';

/**
 * One cycle of cleaning took every segment worth it, and was refused as a whole where the disk had no room
 * for all copies at once, although a segment at a time would have made room.
 */
test('a store half dead is compacted on a disk with room for a few segments', async () => {
  const disk = new MemoryFileSystem();
  const { engine } = await openParts(disk, { segmentBytes: 16 * 1024 });
  const values = Array.from({ length: 60 }, (_, i) => bytesOf(i, 6000));
  for (const [i, value] of values.entries()) await engine.put(`k${i}`, value);
  for (let i = 0; i < values.length; i += 2) await engine.delete(`k${i}`);
  await engine.flush();
  const used = disk.files().reduce((sum, file) => sum + disk.bytesOf(file).length, 0);
  disk.capacity = used + 160_000;
  const { copiedBytes, complete, segmentBytes } = await engine.compact().then((report) => ({
    ...report,
    segmentBytes: engine.stats().disk.segmentBytes,
  }));
  expect(complete).toBe(true);
  expect(copiedBytes).toBeGreaterThan(60_000);
  expect(segmentBytes).toBeLessThan(30 * 6000 * 1.25);
  for (const [i, value] of values.entries()) {
    expect(same(await engine.get(`k${i}`), i % 2 === 0 ? undefined : value)).toBe(true);
  }
  await engine.close();
});
