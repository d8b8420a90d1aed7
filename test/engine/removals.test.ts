import { expect, test } from 'vitest';
import { removeFiles } from '../../src/catalog/catalog-cleanup.ts';
import { Removals } from '../../src/engine/background/removals.ts';
import type { NumberedFile } from '../../src/format/catalog.ts';
import { filePath } from '../../src/format/file-names.ts';
import { createFile } from '../../src/fs/dirs.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { filesIn, restingClock } from './engine-kit.ts';

const unlinkMs = 100;

/** A disk on which an unlink takes a while, and a clock that only this and rests move. */
async function newWorld(count: number) {
  const disk = new MemoryFileSystem();
  const files: NumberedFile[] = [];
  for (let no = 1; no <= count; no++) {
    await (await createFile(disk, filePath('seg', no))).close();
    files.push({ kind: 'seg', no });
  }
  const world = {
    ms: 0,
    slept: 0,
    told: [] as string[],
    othersCommit: false,
    onSleep: (): void => undefined,
  };
  const clock = restingClock(world);
  const removals = new Removals({
    clock,
    othersCommit: () => world.othersCommit,
    remove: (some, around) =>
      removeFiles(
        disk,
        some,
        10_000,
        (_, path) => world.told.push(path),
        (unlink) =>
          around(async () => {
            world.ms += unlinkMs;
            await unlink();
          }),
      ),
  });
  return { disk, files, world, removals };
}

test('files go beside other work, and done waits for them', async () => {
  const { disk, files, world, removals } = await newWorld(20);
  removals.add(files.slice(0, 12));
  expect(filesIn(disk, 'seg')).toHaveLength(20);
  removals.add(files.slice(12));
  await removals.done();
  expect(filesIn(disk, 'seg')).toEqual([]);
  expect(world.slept).toBe(0);
  // Nothing to do is done.
  removals.add([]);
  await removals.done();
});

test('it rests behind each file while others commit, and not when the store is closed', async () => {
  const { disk, files, world, removals } = await newWorld(20);
  world.othersCommit = true;
  removals.add(files.slice(0, 10));
  await removals.done();
  expect(world.slept).toBe(10 * 7 * unlinkMs);
  removals.add(files.slice(10));
  let ended: Promise<void> | undefined;
  world.onSleep = () => {
    ended ??= removals.end();
  };
  await removals.done();
  await ended;
  expect(filesIn(disk, 'seg')).toEqual([]);
  expect(world.slept).toBe(10 * 7 * unlinkMs + 50);
});

test('a file that stays is told, and the others go', async () => {
  const { disk, files, world, removals } = await newWorld(10);
  const stays = filePath('seg', 4);
  disk.faults = (op) => (op.kind === 'unlink' && op.path === stays ? { errno: 'EBUSY' } : undefined);
  removals.add(files);
  await removals.done();
  expect(world.told).toEqual([stays]);
  expect(filesIn(disk, 'seg')).toEqual([stays]);
});
