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

// Removing the part failed as well, so it was still there at the next open.
test.each([
  ['can be emptied', false],
  ['cannot be changed at all', true],
])('a part of a log file that cannot be removed and %s does not count either', async (_, stuck) => {
  for (let written = 0; written < 168; written += 4) {
    const disk = new MemoryFileSystem();
    const engine = await openOn(disk, shape, 1);
    await engine.put('key', 'value');
    let path = 'none';
    disk.faults = (op) => {
      if (op.kind === 'create' && op.path.startsWith('wal/')) path = op.path;
      if (op.path !== path || op.kind === 'create' || op.kind === 'close') return undefined;
      if (op.kind === 'write') return { errno: 'EIO', written };
      return op.kind === 'unlink' || stuck ? { errno: 'EIO' } : undefined;
    };
    await expect(engine.flush()).rejects.toMatchObject({ code: 'VARVE_COMMIT_UNKNOWN' });
    disk.faults = undefined;
    await expect(engine.close()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    expect(disk.files()).toContain(path);
    expect(disk.bytesOf(path).length).toBe(stuck ? written : 0);
    const again = await openOn(disk, shape, 2);
    expect({ written, ...again.health() }).toMatchObject({ written, status: 'healthy' });
    expect(Buffer.from((await again.get('key'))!).toString()).toBe('value');
    await again.close();
  }
});
