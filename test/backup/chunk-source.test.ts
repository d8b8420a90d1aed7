import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openChunkSource } from '../../src/backup/chunk-source.ts';
import { IndexRows } from '../../src/backup/chunk-table.ts';
import { IndexObject, IndexPages } from '../../src/backup/index-object.ts';
import { writeIndexes } from '../../src/backup/index-write.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import type { IndexState } from '../../src/backup/vault-state.ts';
import { toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { packName, packPrefix } from '../../src/format/vault-names.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { bytesOf, newStore } from '../engine/engine-kit.ts';
import { entriesOf, vaultOn } from './backup-kit.ts';

async function vaultWith(keys: number): Promise<{ store: MemoryBlobs; vault: Vault; ids: Uint8Array[] }> {
  const { engine } = await newStore();
  for (let i = 0; i < keys; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
  const store = new MemoryBlobs();
  const vault = await vaultOn(store);
  await engine.backup(vault);
  await engine.close();
  const entries = await entriesOf(vault);
  // Data first.
  return { store, vault, ids: entries.sort((a, b) => a.kind - b.kind).map(({ id }) => id) };
}

type Entry = Awaited<ReturnType<typeof entriesOf>>[number];

const flipped = async (store: MemoryBlobs, name: string, at: number): Promise<void> => {
  const bytes = await store.get(name, 1 << 30);
  bytes[at]! ^= 1;
  await store.put(name, bytes);
};

describe('a source of chunks', () => {
  test('gives every chunk of the vault, and undefined for what is not there', async () => {
    const { vault, ids } = await vaultWith(20);
    const source = openChunkSource(vault);
    expect(ids.length).toBeGreaterThan(20);
    for (const id of ids) expect(toHex(sha256((await source.read(id))!))).toBe(toHex(id));
    expect(await source.read(sha256(Uint8Array.of(1)))).toBeUndefined();
  });

  test('a chunk comes from whichever copy is whole', async () => {
    const { store, vault, ids } = await vaultWith(5);
    const { engine } = await newStore();
    for (let i = 0; i < 5; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
    await engine.backup(vault, { mode: 'full' });
    const copies = (await entriesOf(vault)).filter(({ id }) => toHex(id) === toHex(ids[0]!));
    expect(copies.length).toBe(2);
    // Damage in one frame of the first pack, none in the copy of it.
    const name = packName(copies[0]!.pack);
    await flipped(store, name, copies[0]!.off8 * 8 + 60);
    expect(toHex(sha256((await openChunkSource(vault).read(ids[0]!))!))).toBe(toHex(ids[0]!));
    await store.delete(name);
    for (const id of ids.slice(0, 5)) {
      const { buffer } = (await openChunkSource(vault).read(id))!;
      expect(buffer.byteLength).toBeGreaterThan(0);
    }
  });

  test('where the index is damaged or gone, trailers of packs tell', async () => {
    const { store, vault, ids } = await vaultWith(5);
    const index = store.names().find((name) => name.startsWith('idx/'))!;
    await flipped(store, index, 400);
    const source = openChunkSource(vault);
    for (const id of ids) expect(toHex(sha256((await source.read(id))!))).toBe(toHex(id));
    await store.delete(index);
    const another = openChunkSource(vault);
    for (const id of ids) expect(await another.read(id)).toBeDefined();
  });

  test('without a whole copy there is no chunk, and a target that fails is an error', async () => {
    const { store, vault, ids } = await vaultWith(1);
    const pack = store.names().find((name) => name.startsWith(packPrefix))!;
    const source = openChunkSource(vault);
    const [{ off8 }] = (await entriesOf(vault)).filter(({ id }) => toHex(id) === toHex(ids[0]!)) as [Entry];
    await flipped(store, pack, off8 * 8 + 60);
    expect(await source.read(ids[0]!)).toBeUndefined();
    await store.delete(pack);
    expect(await source.read(ids[0]!)).toBeUndefined();
    store.list = () => {
      throw new Error('the target is gone');
    };
    await expect(openChunkSource(vault).read(ids[0]!)).rejects.toThrow('the target is gone');
  });

  test('an abort and an impossible id are refused', async () => {
    const { vault, ids } = await vaultWith(1);
    const source = openChunkSource(vault);
    const signal = AbortSignal.abort();
    await expect(source.read(ids[0]!, signal)).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    await expect(source.read(new Uint8Array(3))).rejects.toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' });
    expect(await source.read(ids[0]!)).toBeDefined();
  });
});

/** `off8` of every entry of the id. */
async function placesIn(object: IndexObject, id: Uint8Array): Promise<number[]> {
  const places: number[] = [];
  if (!object.mayHave(id, 0)) return places;
  const held = new Map<number, Uint8Array>();
  const needed = { page: 0 };
  const loaded = async (look: () => number): Promise<number> => {
    for (let entry = look(); ; entry = look()) {
      if (entry !== -2) return entry;
      held.set(needed.page, await object.load(needed.page));
    }
  };
  let entry = await loaded(() => object.firstOf(id, 0, needed, held));
  while (entry >= 0) {
    const at = entry;
    const bytes = object.bytesOf(at, held);
    places.push(Buffer.from(bytes).readUInt32LE(object.posOf(at) + 36));
    entry = await loaded(() => object.nextOf(at, id, 0, needed, held));
  }
  return places;
}

describe('an index object in pages', () => {
  test('every copy of an id is found in an object of any spread', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e9 }),
        fc.integer({ min: 1, max: 6000 }),
        fc.integer({ min: 1, max: 255 }),
        async (seed, count, spread) => {
          const prng = new Prng(seed);
          const store = new MemoryBlobs();
          const { env } = await vaultOn(store);
          const packs = [0, 1, 2].map((i) => {
            return { hash: `${i}`.repeat(64), size: 1 << 28, frames: 1, pending: false, indexed: true };
          });
          const rows = new IndexRows();
          const wanted = new Map<string, number>();
          while (rows.count < count) {
            const id = prng.bytes(32);
            // Ids that share their beginning spoil every guess.
            if (spread < 128) id.fill(spread, 0, 6);
            const copies = 1 + (prng.bytes(1)[0]! % 3);
            for (let pack = 0; pack < copies; pack++) rows.append(id, 0, pack, 100 + pack, 10, 10, 1, 0);
            wanted.set(toHex(id), copies);
          }
          const [{ hash }] = (await writeIndexes(env, packs, rows, new Set([0, 1, 2]))) as [IndexState];
          const [name] = store.names().filter((one) => one.includes(hash));
          const size = (await store.size(name!))!;
          const pages = new IndexPages(store, { cacheBytes: 0, filterBytes: spread < 64 ? 0 : 1 << 20 });
          const object = await IndexObject.open(pages, { hash, size }, env.vaultId);
          expect(object.entries).toBe(rows.count);
          for (let i = 0; i < 200; i++) {
            const id = rows.idOf(prng.bytes(4).reduce((sum, byte) => sum * 256 + byte, 0) % rows.count);
            expect(await placesIn(object, id)).toEqual([100, 101, 102].slice(0, wanted.get(toHex(id))));
            expect(await placesIn(object, prng.bytes(32))).toEqual([]);
          }
        },
      ),
      { numRuns: 6 },
    );
  });

  test('every flipped bit of an object is refused', async () => {
    const { store, vault } = await vaultWith(2);
    const name = store.names().find((one) => one.startsWith('idx/'))!;
    const bytes = await store.get(name, 1 << 20);
    for (let bit = 0; bit < bytes.length * 8; bit += 13) {
      const bad = bytes.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      await store.put(name, bad);
      const one = { hash: name.slice(4, 68), size: bad.length };
      const opened = IndexObject.open(new IndexPages(store), one, vault.env.vaultId);
      await expect(opened, `bit ${bit}`).rejects.toMatchObject({
        code: expect.stringMatching(/VARVE_(CORRUPT|FORMAT_VERSION)/),
      });
    }
  });
});
