import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { LoadedCatalogs } from '../../src/catalog/catalog-load.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { fileDir, filePath, superName } from '../../src/format/file-names.ts';
import { slotCount } from '../../src/format/superblock.ts';
import { ensureDir, writeNewFile } from '../../src/fs/dirs.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { zeroSlot } from '../crash/fallback.ts';
import { identity, newTable, nextOf, openOptions, randomOf } from './catalog-fixtures.ts';

async function until(step: Promise<unknown>): Promise<boolean> {
  try {
    await step;
    return true;
  } catch (error) {
    if (error instanceof CrashNow) return false;
    throw error;
  }
}

/** Checkpoint numbers of installs that were acknowledged: the newest must be found again. */
interface Acked {
  created: boolean;
  checkpointSeq: number;
}

async function openStore(fs: MemoryFileSystem): Promise<CatalogStore> {
  const loaded = await CatalogStore.load(fs);
  const store = await CatalogStore.openForWrite(fs, loaded, openOptions(fs.opCount));
  for (const kind of ['cat', 'tab', 'wal'] as const) {
    for (const path of fs.files()) {
      if (path.startsWith(`${kind}/`)) store.raiseFileNo(Number.parseInt(path.slice(-20, -4), 16) + 1);
    }
  }
  return store;
}

/** Every install writes one table and drops the oldest when there are more than two. */
async function installOne(fs: MemoryFileSystem, store: CatalogStore): Promise<number> {
  const no = store.takeFileNo();
  await ensureDir(fs, fileDir('tab', no));
  await writeNewFile(fs, filePath('tab', no), new Uint8Array([no]));
  const before = store.catalog;
  const tables = [...before.tables, newTable(no)];
  const dropped =
    tables.length > 2 ? tables.splice(0, 1).map((table) => ({ kind: 'tab' as const, no: table.no })) : [];
  const checkpointSeq = before.checkpointSeq + 1;
  const { unlinkable } = await store.install({ ...nextOf(before), tables, dropped, checkpointSeq });
  await store.cleanUp(unlinkable, (error) => {
    throw error;
  });
  return checkpointSeq;
}

async function script(fs: MemoryFileSystem, acked: Acked): Promise<void> {
  await CatalogStore.create(fs, identity, randomOf(1));
  acked.created = true;
  for (let session = 0; session < 2; session++) {
    const store = await openStore(fs);
    for (let i = 0; i < 3; i++) acked.checkpointSeq = await installOne(fs, store);
    await store.markClean();
    await store.close();
  }
}

function everythingNamedIsThere(fs: MemoryFileSystem, { catalog, previous, problems }: LoadedCatalogs): void {
  const files = fs.files();
  const kept = problems.length === 0 ? [catalog, previous?.catalog] : [catalog];
  for (const each of kept) {
    for (const { no } of each?.tables ?? []) expect(files).toContain(filePath('tab', no));
  }
}

async function expectWhole(fs: MemoryFileSystem, acked: Acked): Promise<void> {
  if (fs.files().includes(superName)) {
    const loaded = await CatalogStore.load(fs);
    expect(loaded.problems.filter(({ file }) => file !== superName)).toEqual([]);
    expect([acked.checkpointSeq, acked.checkpointSeq + 1]).toContain(loaded.catalog.checkpointSeq);
    everythingNamedIsThere(fs, loaded);
    return;
  }
  expect(acked.created).toBe(false);
  const again = fs.fork();
  await CatalogStore.create(again, identity, randomOf(2));
  expect((await CatalogStore.load(again)).catalog.checkpointSeq).toBe(0);
}

/** The newest slot or catalog is destroyed: the one before is found and all it names is there. */
async function expectFallback(fs: MemoryFileSystem, acked: Acked): Promise<void> {
  if (!acked.created) return;
  const { slot, catalog, problems } = await CatalogStore.load(fs);
  const least = catalog.checkpointSeq - 1;
  const noSlot = fs.fork();
  zeroSlot(noSlot, slot.slotIndex);
  const noCatalog = fs.fork();
  if (catalog.checkpointSeq > 0) noCatalog.corrupt(filePath('cat', catalog.no), () => new Uint8Array(0));
  for (const damaged of [noSlot, noCatalog]) {
    const loaded = await CatalogStore.load(damaged);
    expect(loaded.catalog.checkpointSeq).toBeGreaterThanOrEqual(least);
    everythingNamedIsThere(damaged, loaded);
    if (catalog.checkpointSeq > 0) expect(loaded.problems.length).toBeGreaterThan(problems.length);
  }
}

describe('catalog under crashes', () => {
  test('a crash at any operation finds a whole catalog, the last one or the one under way', async () => {
    const whole = new MemoryFileSystem();
    await script(whole, { created: false, checkpointSeq: 0 });
    for (let at = 0; at < whole.opCount; at++) {
      for (const choose of ['none', 'all', new Prng(at)] as const) {
        const fs = new MemoryFileSystem();
        fs.failAt(at, 'crash');
        const acked: Acked = { created: false, checkpointSeq: 0 };
        expect(await until(script(fs, acked))).toBe(false);
        const rebooted = fs.crash(choose);
        await expectWhole(rebooted, acked);
        await expectFallback(rebooted, acked);
        if (acked.created && at % 3 === 0) await openAgainAndAgain(rebooted, acked, at);
      }
    }
  });

  /** Opens that crash write slots; the catalog of the one before must stay reachable through them. */
  async function openAgainAndAgain(disk: MemoryFileSystem, acked: Acked, seed: number): Promise<void> {
    let fs = disk;
    for (let i = 0; i < slotCount + 1; i++) {
      await openStore(fs);
      fs = fs.crash(new Prng(seed * 10 + i));
      await expectWhole(fs, acked);
    }
    await expectFallback(fs, acked);
    const store = await openStore(fs);
    const checkpointSeq = await installOne(fs, store);
    await expectWhole(fs.crash('none'), { created: true, checkpointSeq });
  }

  test('a failed write or sync poisons; a reopen in the same boot finds a whole catalog', async () => {
    const base = new MemoryFileSystem();
    await CatalogStore.create(base, identity, randomOf(1));
    const probe = base.fork();
    const ops = await openStore(probe).then(async (store) => {
      await installOne(probe, store);
      return probe.opCount;
    });
    for (let at = 0; at < ops; at++) {
      const fs = base.fork();
      fs.failAt(at, { errno: 'EIO' });
      const store = await openStore(fs).catch((error: { code: string }) => {
        expect(error.code).toBe('VARVE_IO');
        return undefined;
      });
      const failed =
        store === undefined ||
        (await installOne(fs, store).then(
          () => false,
          () => true,
        ));
      expect(failed).toBe(true);
      for (const choose of ['none', 'all', new Prng(at)] as const) {
        const again = fs.fork();
        const reopened = await openStore(again);
        const checkpointSeq = await installOne(again, reopened);
        await expectWhole(again.crash(choose), { created: true, checkpointSeq });
      }
    }
  });
});
