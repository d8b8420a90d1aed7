import { expect, test } from 'vitest';
import { filePath } from '../../src/format/file-names.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { LogHistory } from '../../src/log/log-history.ts';
import { codeOf } from '../engine/engine-kit.ts';
import { dbUuid, LogSession } from '../log/log-session.ts';

async function fourFiles(): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem();
  await fs.mkdir('wal');
  for (let i = 0; i < 4; i++) {
    const session = await LogSession.open(fs);
    await session.append(2);
    await session.sync();
    await session.log.close();
  }
  return fs;
}

// A writer lets go of old log files at any time: a reader of changes that had listed them and looked at them
// later was told VARVE_IO (ENOENT).
test('log files that go away between the listing and the look are not missed', async () => {
  const disk = await fourFiles();
  let isFirst = true;
  const fs = alteredPort(disk, {
    async open(path, mode) {
      if (isFirst) for (const no of [1, 2]) await disk.unlink(filePath('wal', no));
      isFirst = false;
      return await disk.open(path, mode);
    },
  });
  expect((await new LogHistory(fs, dbUuid, 0).spans()).map(({ no }) => no)).toEqual([3, 4]);
});

test('a log file that is listed and never there ends the search', async () => {
  const disk = await fourFiles();
  const fs = alteredPort(disk, {
    async list(path) {
      return [...(await disk.list(path)), { name: filePath('wal', 9).slice('wal/'.length), kind: 'file' }];
    },
  });
  const history = new LogHistory(fs, dbUuid, 0);
  expect(await codeOf(history.spans())).toBe('VARVE_IO');
});

// The writer's own checkpoint waited for that look, and failed with it.
test('a history that cannot be found does not keep old files from going', async () => {
  const disk = await fourFiles();
  const fs = alteredPort(disk, { list: () => Promise.reject(new Error('list')) });
  const history = new LogHistory(fs, dbUuid, 0);
  const finding = history.spans().catch((error: Error) => error.message);
  const going = await history.mayGo([1, 2], (error) => {
    throw error;
  });
  expect(going).toEqual([2, 1]);
  expect(await finding).toBe('list');
});
