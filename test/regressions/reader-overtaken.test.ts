import { expect, test } from 'vitest';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { bytesOf, openOn, smallOptions, TestClock, text } from '../engine/engine-kit.ts';

/**
 * Found by simulations (seeds 410912 and 411690). A reader that a writer overtook in each of ten opens took
 * the segments that were gone by then for lost, and said that the store was damaged.
 */
test('a reader that is overtaken in many opens finds no damage', async () => {
  const disk = new MemoryFileSystem();
  const clock = new TestClock();
  const writer = await openOn(disk, { changesRetention: { bytes: 0 } }, undefined, clock);
  let version = 0;
  const churn = async (): Promise<void> => {
    await writer.put('k', bytesOf(++version, 9000));
    await writer.put('last', String(version));
    await writer.compact();
  };
  await churn();
  let overtaken = 0;
  const fs = new Proxy(disk, {
    get(target, name) {
      if (name === 'stat')
        return async (path: string) => {
          if (path.startsWith('seg/') && overtaken < 30) {
            overtaken++;
            await churn();
            await churn();
          }
          return await target.stat(path);
        };
      const member: unknown = Reflect.get(target, name);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  const env = { fs, lock: memoryLock(disk, clock), clock, random: (n: number) => new Uint8Array(n) };
  const reader = await openWithEnv(env, { ...smallOptions, readOnly: true });
  expect(overtaken).toBe(30);
  expect(reader.health().ok).toBe(true);
  expect(text(await reader.get('last'))).toBe(String(version));
  expect(await reader.get('k')).toEqual(bytesOf(version, 9000));
  await reader.close();
  await writer.close();
});
