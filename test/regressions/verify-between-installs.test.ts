import { expect, test } from 'vitest';
import { isSuperseded, loadCatalogs, loadCatalogsBeside } from '../../src/catalog/catalog-load.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsPort } from '../../src/fs/port.ts';
import { openOn } from '../engine/engine-kit.ts';

// Found by the simulation (seeds 200050 and 200066): a check that met a file which cleaning had removed read
// SUPER, and the catalogs it named were gone when it came to them.
test('a check beside a writer reads catalogs again that were removed while it read them', async () => {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk);
  await engine.put('key', 'value');
  await engine.flush();
  const old = disk.fork();
  for (let n = 0; n < 6; n++) {
    await engine.put(`key ${n}`, 'value');
    await engine.flush();
  }
  await engine.close();

  /** SUPER is the old one, so many times. */
  const behind = (times: number): FsPort => {
    let left = times;
    return alteredPort(disk, {
      open: (path, mode) => (path === 'SUPER' && left-- > 0 ? old.open(path, mode) : disk.open(path, mode)),
    });
  };
  await expect(loadCatalogs(behind(1))).rejects.toThrow('no catalog is whole');
  const { slot } = await loadCatalogs(disk);
  for (const times of [0, 1, 2]) {
    const loaded = await loadCatalogsBeside(behind(times));
    expect(loaded.slot.generation).toBe(slot.generation);
  }
  const before = (await loadCatalogs(old)).slot;
  expect([await isSuperseded(disk, before), await isSuperseded(disk, slot)]).toEqual([true, false]);

  // What stays gone is damage.
  const lost = disk.fork();
  for (const name of await lost.list('cat')) await lost.unlink(`cat/${name.name}`);
  await expect(loadCatalogsBeside(lost)).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });

  // What cannot be read now may be whole (seed 221076).
  const refused = disk.fork();
  refused.faults = ({ kind, path }) =>
    kind === 'open' && path.startsWith('cat/') ? { errno: 'EIO' } : undefined;
  await expect(loadCatalogsBeside(refused)).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EIO' });
});
