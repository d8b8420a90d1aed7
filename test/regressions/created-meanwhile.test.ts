import { expect, test } from 'vitest';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { bytesOf, TestClock } from '../engine/engine-kit.ts';

// Two processes making one store: SUPER could appear between the look for it and the look at what else is in
// the directory, and was then taken for somebody else's file.
test('a store that another process makes while this one opens is no foreign directory', async () => {
  const disk = new MemoryFileSystem();
  const clock = new TestClock();
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => bytesOf(1, n) };
  const first = await openWithEnv(env, {});
  await first.put('k', 'v');
  await first.close();
  const { stat } = disk;
  let looks = 0;
  disk.stat = async (path) => (path === 'SUPER' && looks++ === 0 ? null : await stat.call(disk, path));
  const second = await openWithEnv(env, {});
  expect(new TextDecoder().decode(await second.get('k'))).toBe('v');
  expect(looks).toBeGreaterThan(1);
  await second.close();
});
