import { describe, expect, test } from 'vitest';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { writeChecksum } from '../../src/codec/checksum.ts';
import { fileDir, filePath, superName } from '../../src/format/file-names.ts';
import { slotBytes, slotCount, superSlot } from '../../src/format/superblock.ts';
import { ensureDir, writeNewFile } from '../../src/fs/dirs.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { identity, newTable, nextOf, openOptions, randomOf } from './catalog-fixtures.ts';

async function emptyStore(): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem();
  await CatalogStore.create(fs, identity, randomOf(1));
  return fs;
}

async function opened(fs: MemoryFileSystem, floor = 0): Promise<CatalogStore> {
  return CatalogStore.openForWrite(fs, await CatalogStore.load(fs), openOptions(3, floor));
}

async function put(fs: MemoryFileSystem, kind: 'tab' | 'wal' | 'seg', no: number): Promise<void> {
  await ensureDir(fs, fileDir(kind, no));
  await writeNewFile(fs, filePath(kind, no), Uint8Array.of(1));
}

const refuse = (error: unknown): void => {
  throw error;
};

describe('catalog store', () => {
  test('a new store has all slots, catalog 1 and no log', async () => {
    const fs = await emptyStore();
    const loaded = await CatalogStore.load(fs);
    expect(loaded.problems).toEqual([]);
    expect(loaded.slot).toMatchObject({
      ...identity,
      generation: 4,
      catalogNo: 1,
      previousCatalogNo: 0,
      writerEpoch: 0,
    });
    expect(loaded.catalog).toMatchObject({
      no: 1,
      checkpointSeq: 0,
      walFirstNo: 0,
      nextFileNo: 2,
      tables: [],
    });
    for (let i = 0; i < slotCount; i++) {
      const one = fs.fork();
      one.corrupt(superName, (bytes) =>
        bytes.map((byte, at) => (Math.floor(at / slotBytes) === i ? byte : 0)),
      );
      expect((await CatalogStore.load(one)).catalog.no).toBe(1);
    }
    await expect(CatalogStore.create(fs, identity, randomOf(1))).rejects.toMatchObject({
      code: 'VARVE_INVALID_ARGUMENT',
    });
  });

  test('creation never overwrites the files of a store whose SUPER is gone', async () => {
    for (const kind of ['wal', 'tab', 'seg'] as const) {
      const fs = await emptyStore();
      await put(fs, kind, 5);
      await fs.unlink(superName);
      await expect(CatalogStore.create(fs, identity, randomOf(1))).rejects.toMatchObject({
        code: 'VARVE_CORRUPT',
      });
    }
  });

  test('no SUPER, no valid slot and no whole catalog are told apart', async () => {
    await expect(CatalogStore.load(new MemoryFileSystem())).rejects.toMatchObject({
      code: 'VARVE_NOT_FOUND',
    });
    const noSlots = await emptyStore();
    noSlots.corrupt(superName, (bytes) => bytes.slice(0, 100));
    await expect(CatalogStore.load(noSlots)).rejects.toMatchObject({
      code: 'VARVE_CORRUPT',
      file: superName,
    });
    const noCatalog = await emptyStore();
    await noCatalog.unlink(filePath('cat', 1));
    await expect(CatalogStore.load(noCatalog)).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
  });

  test('one slot of a newer format refuses the store, though older slots are readable', async () => {
    const fs = await emptyStore();
    fs.corrupt(superName, (bytes) => {
      bytes[superSlot.at.formatVersion + 1] = 2;
      writeChecksum(bytes, superSlot.at.checksum, 0, superSlot.at.checksum, 0n);
      return bytes;
    });
    await expect(CatalogStore.load(fs)).rejects.toMatchObject({ code: 'VARVE_FORMAT_VERSION' });
  });

  test('each open raises the writer epoch above every one known', async () => {
    const fs = await emptyStore();
    expect((await opened(fs)).writerEpoch).toBe(1);
    expect((await opened(fs, 40)).writerEpoch).toBe(41);
    expect((await opened(fs, 7)).writerEpoch).toBe(42);
  });

  test('a store that changed since it was loaded is not taken', async () => {
    const fs = await emptyStore();
    const loaded = await CatalogStore.load(fs);
    await opened(fs);
    const late = CatalogStore.openForWrite(fs, loaded, openOptions(1));
    await expect(late).rejects.toMatchObject({ code: 'VARVE_CONFLICT' });
  });

  test('dropped files go one install later, with old catalogs and logs', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    const [a, b, w1, w2] = Array.from({ length: 4 }, () => store.takeFileNo()) as [
      number,
      number,
      number,
      number,
    ];
    for (const no of [a, b]) await put(fs, 'tab', no);
    for (const no of [w1, w2]) await put(fs, 'wal', no);
    const first = await store.install({ ...nextOf(store.catalog), tables: [newTable(a)], walFirstNo: w1 });
    expect(first.unlinkable).toEqual([]);
    const dropped = [{ kind: 'tab' as const, no: a }];
    const second = await store.install({
      ...nextOf(store.catalog),
      tables: [newTable(b)],
      dropped,
      walFirstNo: w2,
      checkpointSeq: 9,
    });
    expect(second.unlinkable).toEqual([{ kind: 'cat', no: 1 }]);
    await store.cleanUp(second.unlinkable, refuse);
    const third = await store.install(nextOf(store.catalog));
    expect(third.unlinkable).toEqual([
      { kind: 'tab', no: a },
      { kind: 'cat', no: first.catalog.no },
      { kind: 'wal', no: w1 },
    ]);
    await store.cleanUp(third.unlinkable, refuse);
    await store.cleanUp(third.unlinkable, refuse);
    const kept = [
      superName,
      filePath('cat', second.catalog.no),
      filePath('cat', third.catalog.no),
      filePath('tab', b),
      filePath('wal', w2),
    ];
    expect(fs.files()).toEqual(kept.sort());
    expect((await CatalogStore.load(fs)).catalog).toEqual(third.catalog);
    expect(store.previous).toEqual(second.catalog);
  });

  test('what one open dropped the next one removes', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    const no = store.takeFileNo();
    await put(fs, 'tab', no);
    await store.install({ ...nextOf(store.catalog), tables: [newTable(no)] });
    await store.install({ ...nextOf(store.catalog), tables: [], dropped: [{ kind: 'tab', no }] });
    const next = await opened(fs);
    const { unlinkable } = await next.install(nextOf(next.catalog));
    expect(unlinkable).toContainEqual({ kind: 'tab', no });
  });

  test('empty leaf directories go, except where new files are about to be made', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    const far = 0x123456;
    const files = [
      { kind: 'seg' as const, no: far },
      { kind: 'tab' as const, no: 5 },
    ];
    for (const { kind, no } of files) await put(fs, kind, no);
    await store.cleanUp(files, refuse);
    expect(await fs.stat(fileDir('seg', far))).toBeNull();
    expect(await fs.stat('seg/12')).toBeNull();
    expect(await fs.stat(fileDir('tab', 5))).not.toBeNull();
    store.raiseFileNo(far + 300);
    await put(fs, 'seg', far);
    await store.cleanUp(files, refuse);
    expect(await fs.stat(fileDir('seg', far))).not.toBeNull();
  });

  test('a file that cannot be unlinked is reported and the rest goes', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    const files = [7, 8].map((no) => ({ kind: 'wal' as const, no }));
    for (const { no } of files) await put(fs, 'wal', no);
    fs.failAt(fs.opCount, { errno: 'EACCES' });
    const failures: string[] = [];
    await store.cleanUp(files, (_, path) => failures.push(path));
    expect(failures).toEqual([filePath('wal', 7)]);
    expect(fs.files()).not.toContain(filePath('wal', 8));
    await store.install(nextOf(store.catalog));
  });

  test('a clean close is noted until the next open', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    await store.markClean();
    await store.close();
    expect((await CatalogStore.load(fs)).slot.cleanShutdown).toBe(true);
    await opened(fs);
    expect((await CatalogStore.load(fs)).slot.cleanShutdown).toBe(false);
  });

  test('numbers are never taken twice and step over files that are there', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    store.raiseFileNo(50);
    store.raiseFileNo(20);
    expect([store.takeFileNo(), store.takeFileNo()]).toEqual([50, 51]);
    await writeNewFile(fs, filePath('cat', 52), new Uint8Array(3));
    const { catalog } = await store.install(nextOf(store.catalog));
    expect(catalog).toMatchObject({ no: 53, nextFileNo: 54 });
    expect((await opened(fs)).nextFileNo).toBe(54);
  });

  test('a failed install poisons the store and leaves the set before it', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    fs.faults = (op) => (op.kind === 'sync' && op.path === superName ? { errno: 'EIO' } : undefined);
    await expect(store.install(nextOf(store.catalog))).rejects.toMatchObject({ code: 'VARVE_IO' });
    fs.faults = undefined;
    await expect(store.install(nextOf(store.catalog))).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    await expect(store.markClean()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    expect((await CatalogStore.load(fs.crash('none'))).catalog.no).toBe(1);
  });

  test('a damaged body is read from its twin; a lost catalog falls back to the one before', async () => {
    const fs = await emptyStore();
    const store = await opened(fs);
    const first = await store.install({ ...nextOf(store.catalog), checkpointSeq: 5 });
    const second = await store.install({ ...nextOf(store.catalog), checkpointSeq: 6 });
    const path = filePath('cat', second.catalog.no);
    const twin = fs.fork();
    twin.flipBit(path, 100 * 8);
    const read = await CatalogStore.load(twin);
    expect(read.catalog).toEqual(second.catalog);
    expect(read.problems).toMatchObject([{ code: 'VARVE_CORRUPT', file: path }]);
    fs.corrupt(path, (bytes) => bytes.fill(0));
    const back = await CatalogStore.load(fs);
    expect(back.catalog).toEqual(first.catalog);
    expect(back.previous?.catalog.no).toBe(1);
    const again = await CatalogStore.openForWrite(fs, back, openOptions(1));
    const third = await again.install(nextOf(again.catalog));
    expect(third.catalog).toMatchObject({ checkpointSeq: 5, previousCatalogNo: first.catalog.no });
    expect((await CatalogStore.load(fs)).problems).toEqual([]);
  });
});
