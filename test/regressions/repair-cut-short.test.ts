import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { fileDir } from '../../src/format/file-names.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { withoutNewest } from '../crash/fallback.ts';
import { envOf, openOn, type StoreShape } from '../crash/machine.ts';
import { loseNewestSlot, mend } from '../crash/mended.ts';

const shape: StoreShape = { durability: 'full', algorithm: 'fastcdc', inlineMax: 800, segmentBytes: 2 ** 20 };
const value = (n: number): Uint8Array => new Prng(n).bytes(3000);

/** A store of two lives, the second one killed after commit `seq`. */
async function killed(): Promise<{ disk: MemoryFileSystem; seq: number }> {
  const disk = new MemoryFileSystem();
  const first = await openOn(disk, shape, 1);
  await first.put('a', value(1));
  await first.close();
  const second = await openOn(disk, shape, 2);
  await second.put('b', value(2));
  await second.flush();
  const { seq } = await second.put('c', value(3));
  disk.faults = () => 'crash';
  return { disk: disk.crash('all'), seq };
}

/** The disk just before the last operation of a repair of it that `n` says. */
async function stoppedBefore(
  disk: MemoryFileSystem,
  n: (kind: string, path: string) => boolean,
): Promise<MemoryFileSystem> {
  let stopped: MemoryFileSystem | undefined;
  disk.faults = ({ kind, path }) => {
    if (n(kind, path)) stopped = disk.fork();
    return undefined;
  };
  await mend(envOf(disk, 9), shape);
  return stopped!;
}

// A repaired store named no log to begin at. When the power went while the old log files were being removed
// and one of them was there again, the next open took it for the log: it counted from its last number, below
// the checkpoint, and gave numbers of commits a second time.
test('an old log that a power cut brings back is not taken for the log of a repaired store', async () => {
  const { disk, seq } = await killed();
  await loseNewestSlot(disk);
  const stopped = await stoppedBefore(disk, (kind, path) => kind === 'syncDir' && path === fileDir('wal', 1));
  const pending = stopped.pending();
  expect(pending.filter(({ path }) => path.startsWith('wal/')).length).toBeGreaterThan(0);
  for (const lost of pending) {
    const engine = await openOn(stopped.crash({ keep: ({ index }) => index !== lost.index }), shape, 4);
    expect([lost.path, engine.stats().seq >= seq]).toEqual([lost.path, true]);
    expect((await engine.put('next', 'x')).seq).toBeGreaterThan(seq);
    expect(engine.health().ok).toBe(true);
    await engine.close();
  }
});

// A file that nothing names gets its second name in quarantine/ early in a repair. When that stopped
// then, the next open moved the file there too, and a rename of a file over another name of it does nothing.
test('a file that a stopped repair has linked to quarantine/ does not stay where it was', async () => {
  const { disk } = await killed();
  const named = disk.files().find((path) => path.startsWith('tab/'))!;
  const [stray, kept] = ['tab/00/00/00000000000000f0.tab', 'quarantine/00000000000000f0.tab'];
  const file = await disk.open(stray, 'create');
  await file.write(disk.bytesOf(named), 0);
  await file.sync();
  await file.close();
  await disk.syncDir('tab/00/00');
  const [, [, damaged]] = (await withoutNewest(disk, 0)) as [unknown, [string, MemoryFileSystem]];
  const stopped = await stoppedBefore(damaged, (kind) => kind === 'rename');
  expect(stopped.files()).toEqual(expect.arrayContaining([stray, kept]));
  const again = stopped.crash('all');
  const engine = await openOn(again, shape, 4);
  expect(again.files()).not.toContain(stray);
  expect(again.files()).toContain(kept);
  await engine.close();
});

// The numbers of commits that were cut off, since their chunks had not reached the disk, stayed taken: the
// catalog of the repaired store said that they were in its tables.
test('a repair ends a log that nothing proves where an open does', async () => {
  const os: StoreShape = { ...shape, durability: 'os', inlineMax: 0 };
  const disk = new MemoryFileSystem();
  const first = await openOn(disk, os, 1);
  await first.put('a', value(1));
  await first.flush();
  const { seq } = await first.put('b', value(2));
  await first.put('c', value(3));
  const lost = disk.crash({ keep: ({ path }) => !path.startsWith('seg/') });
  disk.faults = () => 'crash';
  const opened = await openOn(lost.fork(), os, 2);
  expect(opened.stats().seq).toBeLessThanOrEqual(seq);
  await opened.close();
  await loseNewestSlot(lost);
  expect(await mend(envOf(lost, 9), os)).toMatchObject({ ok: true });
  const { catalog } = await CatalogStore.load(lost);
  expect(catalog.checkpointSeq).toBe(seq - 1);
  const again = await openOn(lost, os, 3);
  expect(await again.get('a')).toEqual(value(1));
  expect(await again.get('b')).toBeUndefined();
  await again.close();
});

// A repair that could not write its copy of SUPER, or sync it, went on without: SUPER was then replaced, and
// nothing had its bytes any more.
test('a repair that cannot keep the old SUPER ends, and SUPER is as it was', async () => {
  const { disk } = await killed();
  await loseNewestSlot(disk);
  const before = disk.bytesOf('SUPER');
  for (const failing of ['create', 'write', 'sync', 'syncDir']) {
    const at = disk.fork();
    const errno = failing === 'create' || failing === 'write' ? 'ENOSPC' : 'EIO';
    at.faults = ({ kind, path }) =>
      kind === failing && path.startsWith('quarantine') ? { errno } : undefined;
    const code = errno === 'EIO' ? 'VARVE_IO' : 'VARVE_NO_SPACE';
    await expect(mend(envOf(at, 9), shape)).rejects.toMatchObject({ code });
    at.faults = ({ kind, path }) =>
      kind === failing && path.startsWith('quarantine/SUPER') ? { errno: 'EIO' } : undefined;
    if (failing !== 'syncDir')
      await expect(mend(envOf(at, 9), shape)).rejects.toMatchObject({ code: 'VARVE_IO' });
    expect(at.bytesOf('SUPER')).toEqual(before);
    at.faults = undefined;
    expect(await mend(envOf(at, 9), shape)).toMatchObject({ ok: true });
  }
});

// The sync that seals a segment failed, and its bytes were in the cache of the kernel alone. A repair took
// it by its footer; the catalog named what the next power cut took away (simulation 261144).
test('a segment that no catalog calls sealed is written anew, whatever its footer says', async () => {
  const disk = new MemoryFileSystem();
  const small = { ...shape, segmentBytes: 2 ** 14 };
  const first = await openOn(disk, small, 1);
  await first.put('kept', value(0));
  await first.close();
  const second = await openOn(disk, small, 2);
  await second.put('also kept', value(100));
  let failed: string | undefined;
  disk.faults = ({ kind, path }) => {
    if (kind !== 'sync' || !path.startsWith('seg/') || failed !== undefined) return undefined;
    failed = path;
    return { errno: 'EIO', lost: 'dropped' };
  };
  let refused = false;
  for (let n = 1; n < 50 && !refused; n++)
    refused = await second.put(`k${n}`, value(n)).then(
      () => false,
      () => true,
    );
  expect([refused, failed]).toEqual([true, expect.any(String)]);
  const left = disk.fork();
  disk.faults = () => 'crash';
  await loseNewestSlot(left);
  await mend(envOf(left, 9), small);
  const engine = await openOn(left.crash('none'), small, 4);
  expect(engine.health()).toMatchObject({ status: 'healthy', damage: [] });
  for (const [key, n] of [
    ['kept', 0],
    ['also kept', 100],
  ] as const)
    expect(Buffer.compare((await engine.get(key))!, value(n))).toBe(0);
  await engine.close();
});
