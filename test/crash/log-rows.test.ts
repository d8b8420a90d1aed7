import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { LogRows } from './log-rows.ts';
import { openOn, type StoreShape } from './machine.ts';

const shape: StoreShape = { durability: 'full', algorithm: 'fastcdc', inlineMax: 64, segmentBytes: 8192 };

test('a log file that is removed twice is read once, as it was before', async () => {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, shape, 1);
  await engine.put('a', 'x');
  const rows = new LogRows();
  const logs = disk.files().filter((path) => path.startsWith('wal/'));
  for (const path of logs) {
    rows.removed(disk, path);
    await disk.unlink(path);
    rows.removed(disk, path);
  }
  expect((await rows.all(disk)).map(({ key }) => key)).toEqual(['61']);
});
