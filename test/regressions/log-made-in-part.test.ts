import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = {
  durability: 'full',
  algorithm: 'fastcdc',
  inlineMax: 64,
  segmentBytes: 64 * 1024,
};

// The disk filled up within the first frame of a new log file. The part of it that was written looked like a
// frame that had been whole and was damaged, so the store opened read-only although nothing was lost.
test('a log file of which only a part could be written does not count, wherever it was cut off', async () => {
  for (let written = 0; written <= 168; written += 4) {
    const disk = new MemoryFileSystem();
    const engine = await openOn(disk, shape, 1);
    await engine.put('key', 'value');
    let logs = 0;
    disk.faults = ({ kind, path }) => {
      if (kind === 'create' && path.startsWith('wal/')) logs++;
      return kind === 'write' && path.startsWith('wal/') && logs === 1
        ? { errno: 'ENOSPC', written }
        : undefined;
    };
    await expect(engine.flush()).rejects.toMatchObject({ code: 'VARVE_NO_SPACE' });
    disk.faults = undefined;
    await expect(engine.close()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    const again = await openOn(disk, shape, 2);
    expect({ written, ...again.health() }).toMatchObject({ written, status: 'healthy' });
    expect(Buffer.from((await again.get('key'))!).toString()).toBe('value');
    await again.close();
  }
});
