import { describe, expect, test } from 'vitest';
import { checkBlobStore } from '../../src/backup/blob-check.ts';
import type { BlobStore } from '../../src/backup/blob-store.ts';
import { DirectoryBlobs } from '../../src/backup/directory-blobs.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { Prng } from '../../src/base/prng.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import { fsError } from '../../src/fs/fs-errors.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openNodeFileSystem } from '../../src/fs/node-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { codeOf } from '../engine/engine-kit.ts';
import { tempDir } from '../fs/temp-dir.ts';

const randomFrom = (seed: number) => {
  const prng = new Prng(seed);
  return (n: number) => prng.bytes(n);
};

describe('blob stores', () => {
  test.each<[string, () => Promise<BlobStore> | BlobStore]>([
    ['memory', () => new MemoryBlobs()],
    ['directory in memory', () => DirectoryBlobs.open(new MemoryFileSystem(), randomFrom(1))],
    ['directory', async () => DirectoryBlobs.open(await openNodeFileSystem(await tempDir()), randomFrom(2))],
    ['directory without links', () => DirectoryBlobs.open(withoutLinks(), randomFrom(3))],
  ])('%s passes the conformance suite', async (_name, make) => {
    const held: string[] = [];
    await checkBlobStore(make, (name) => held.push(name));
    expect(held.length).toBeGreaterThan(10);
  });

  test('the suite refuses a store whose conditional put replaces', async () => {
    const make = (): BlobStore => {
      const store = new MemoryBlobs();
      const put = store.put.bind(store);
      store.put = (name, data) => put(name, data);
      return store;
    };
    await expect(checkBlobStore(make)).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
  });

  test('the suite is given a function that makes stores', async () => {
    for (const make of [null, new MemoryBlobs(), () => null, async () => 'a bucket'])
      expect(await codeOf(checkBlobStore(make as never))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('a power cut at any operation leaves an object whole or not there', async () => {
    const work = async (disk: MemoryFileSystem, done: (name: string) => void): Promise<void> => {
      const store = await DirectoryBlobs.open(disk, randomFrom(4));
      await store.put('packs/aa/bb/1', new Uint8Array(3000).fill(1));
      done('packs/aa/bb/1');
      await store.put('snaps/2', new Uint8Array(500).fill(2), { ifAbsent: true });
      done('snaps/2');
      await store.delete('packs/aa/bb/1');
      done('-packs/aa/bb/1');
    };
    const dry = new MemoryFileSystem();
    await work(dry, () => undefined);
    const prng = new Prng(5);
    for (let at = 0; at <= dry.opCount; at++) {
      const disk = new MemoryFileSystem();
      disk.failAt(at, 'crash');
      const done: string[] = [];
      await work(disk, (name) => done.push(name)).catch((error: unknown) => {
        if (!(error instanceof CrashNow)) throw error;
      });
      for (const choose of ['none', 'all', prng] as const) {
        const store = await DirectoryBlobs.open(disk.crash(choose), randomFrom(6));
        const found = new Map<string, number>();
        for await (const { name, size } of store.list('')) found.set(name, size);
        for (const [name, size] of found) expect(size).toBe(name === 'snaps/2' ? 500 : 3000);
        if (done.includes('snaps/2')) expect(found.has('snaps/2')).toBe(true);
        if (done.includes('-packs/aa/bb/1')) expect(found.has('packs/aa/bb/1')).toBe(false);
        else if (done.length === 1) expect(found.has('packs/aa/bb/1')).toBe(true);
      }
    }
  });

  test('drafts of dead writers are removed once they are old', async () => {
    const fs = await openNodeFileSystem(await tempDir());
    const store = await DirectoryBlobs.open(fs, randomFrom(7));
    const draft = await fs.open('tmp/left', 'create');
    await draft.close();
    expect(await store.removeOldDrafts(Date.now())).toBe(0);
    expect(await store.removeOldDrafts(Date.now() + 49 * 3600 * 1000)).toBe(1);
  });
});

function withoutLinks() {
  const disk = new MemoryFileSystem();
  return alteredPort(disk, {
    link: async (from) => {
      throw fsError('EPERM', 'link failed', from);
    },
  });
}
