/** Packs that stay open from one read to the next. */
import { expect, test } from 'vitest';
import type { OpenBlob } from '../../src/backup/blob-store.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { OpenPacks } from '../../src/backup/open-packs.ts';
import { bytesOf, turn } from '../engine/engine-kit.ts';

class CountedBlobs extends MemoryBlobs {
  opened = 0;
  isOpen = 0;

  async open(name: string): Promise<OpenBlob> {
    await this.getRange(name, 0, 0);
    this.opened++;
    this.isOpen++;
    let closed = false;
    return {
      readInto: async (from, into) => {
        await turn();
        expect(closed).toBe(false);
        const bytes = await this.getRange(name, from, into.length);
        into.set(bytes);
        return bytes.length;
      },
      close: async () => {
        expect(closed).toBe(false);
        closed = true;
        this.isOpen--;
      },
    };
  }
}

test('packs are opened once, few are kept, and none stays open', async () => {
  const store = new CountedBlobs();
  for (let i = 0; i < 20; i++) await store.put(`p${i}`, bytesOf(i, 100));
  const packs = new OpenPacks(store);
  const read = async (i: number, from: number): Promise<void> => {
    const bytes = await packs.read(`p${i}`, from, new Uint8Array(60));
    expect(bytes).toEqual(bytesOf(i, 100).subarray(from, from + 60));
  };
  for (const from of [0, 50, 70]) for (let i = 0; i < 8; i++) await read(i, from);
  expect([store.opened, store.isOpen]).toEqual([8, 8]);
  await Promise.all(Array.from({ length: 20 }, (_, i) => read(i, 10)));
  expect(store.isOpen).toBe(8);
  await Promise.all([read(3, 0), read(3, 40)]);
  await packs.close();
  expect(store.isOpen).toBe(0);
  await read(5, 0);
  await packs.close();
  expect(store.isOpen).toBe(0);
});

test('a pack that cannot be opened is tried again by the next read', async () => {
  const store = new CountedBlobs();
  const packs = new OpenPacks(store);
  const into = new Uint8Array(10);
  await expect(packs.read('late', 0, into)).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
  await store.put('late', bytesOf(1, 10));
  expect(await packs.read('late', 0, into)).toEqual(bytesOf(1, 10));
  await packs.close();
  expect(store.isOpen).toBe(0);
});
