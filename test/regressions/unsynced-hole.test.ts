import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

// Without a sync per commit a power cut may take the header of a segment, or a frame in it, and leave a later
// frame that the log names. The log was replayed up to there, the hole was then taken for damage, and the
// store opened read-only after an ordinary power cut.
test('a hole that a power cut leaves below an unsynced commit ends the log and is no damage', async () => {
  const shape: StoreShape = { durability: 'os', algorithm: 'fastcdc', inlineMax: 0, segmentBytes: 2 ** 20 };
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, shape, 1);
  await engine.put('synced', new Prng(1).bytes(3000));
  await engine.flush();
  for (let i = 0; i < 4; i++) await engine.put(`loose/${i}`, new Prng(10 + i).bytes(3000));
  const writes = disk.pending().filter(({ kind, path }) => kind === 'write' && path.startsWith('seg/'));
  expect(writes.length).toBeGreaterThan(2);
  for (const { index: missing } of writes) {
    const after = disk.crash({ keep: ({ index }) => index !== missing });
    const again = await openOn(after, shape, 2);
    expect(again.health().status).toBe('healthy');
    expect(await again.has('synced')).toBe(true);
    const kept = await Promise.all([0, 1, 2, 3].map((i) => again.has(`loose/${i}`)));
    expect(kept.indexOf(false)).toBeGreaterThanOrEqual(0);
    expect(kept.slice(kept.indexOf(false))).not.toContain(true);
    await again.put('after', 'x');
    await again.close();
  }
});
