import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = {
  durability: 'full',
  algorithm: 'fastcdc',
  inlineMax: 64,
  segmentBytes: 64 * 1024,
};

// A crash right behind a checkpoint leaves nothing to replay, so the table that recovery writes holds moved
// locations only. It bore number 0, was taken for the oldest at the next open, and the chunks pointed into a
// segment that was gone.
test('chunks that only recovery has moved are found again at the opens after it', async () => {
  const value = new Prng(1).bytes(20_000);
  const disk = new MemoryFileSystem();
  const first = await openOn(disk, shape, 1);
  await first.put('key', value);
  await first.flush();
  const after = disk.crash('none');
  for (let round = 0; round < 3; round++) {
    const engine = await openOn(after, shape, 2 + round);
    expect(engine.health().status).toBe('healthy');
    expect(Buffer.compare((await engine.get('key'))!, value)).toBe(0);
    expect((await auditDisk(after)).problems).toEqual([]);
    await engine.close();
  }
});
