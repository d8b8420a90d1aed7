/**
 * The index of a vault in pages: it equals a map however little memory it has, also where index objects are
 * merged under it; and with next to no memory everything a vault does gives the same.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IndexRows } from '../../src/backup/chunk-table.ts';
import { IndexObject, IndexPages } from '../../src/backup/index-object.ts';
import { mergeIndexes, writeIndexes } from '../../src/backup/index-write.ts';
import { Marker } from '../../src/backup/marker.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { listSnaps } from '../../src/backup/snaps.ts';
import { Slices } from '../../src/backup/throttle.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { IndexHit, steadily } from '../../src/backup/vault-index.ts';
import { VaultReader } from '../../src/backup/vault-reader.ts';
import { everyPack, loadVault, type VaultBounds } from '../../src/backup/vault-state.ts';
import { toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { packName, pendingName } from '../../src/format/vault-names.ts';
import { encodePendingMarker } from '../../src/format/vault-records.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { bytesOf, newStore, TestClock } from '../engine/engine-kit.ts';
import { entriesOf, restored, rootOf, smallMemory, vaultOn } from './backup-kit.ts';

const tiny: VaultBounds = { cacheBytes: 0, filterBytes: 0 };

/** Packs that are there, some of them marked, and index objects with random entries of them. */
async function synthetic(seed: number, bounds: VaultBounds) {
  const prng = new Prng(seed);
  const store = new MemoryBlobs();
  const vault = await vaultOn(store, new TestClock(), bounds);
  const packs = Array.from({ length: 6 }, (_, i) => {
    return { hash: toHex(sha256(bytesOf(i, 40))), size: 1000, frames: 1, pending: i > 3, indexed: true };
  });
  for (const { hash, size, pending } of packs) {
    await store.put(packName(hash), new Uint8Array(size));
    if (pending) await store.put(pendingName(hash), encodePendingMarker(1));
  }
  /** By id: every copy, as text. */
  const model = new Map<string, Set<string>>();
  const known: Uint8Array[] = [];
  for (let object = 0; object < 4; object++) {
    const rows = new IndexRows();
    for (let i = prng.below(900); i > 0; i--) {
      const id = known.length > 0 && prng.chance(0.2) ? prng.pick(known) : prng.bytes(32);
      if (prng.chance(0.1)) id.fill(7, 0, 31);
      const pack = prng.below(packs.length);
      const copies = model.get(toHex(id)) ?? new Set();
      if ([...copies].some((copy) => copy.startsWith(`${pack}:`))) continue;
      const off8 = 8 + prng.below(60);
      rows.append(id, 0, pack, off8, 10, 10, 0, 0);
      model.set(toHex(id), copies.add(`${pack}:${off8}`));
      known.push(id);
    }
    await writeIndexes(vault.env, packs, rows, new Set(packs.keys()));
  }
  return { prng, store, vault, packs, model, known };
}

describe('the index of a vault', () => {
  test('equals a map', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e9 }), fc.boolean(), async (seed, small) => {
        const { prng, vault, packs, model, known } = await synthetic(seed, small ? tiny : {});
        const { index, packs: states, indexes } = await loadVault(vault.env, everyPack);
        const check = async (): Promise<void> => {
          const hit = new IndexHit();
          for (let i = 0; i < 60; i++) {
            const id = prng.chance(0.8) && known.length > 0 ? prng.pick(known) : prng.bytes(32);
            const copies = model.get(toHex(id));
            expect(await index.find(id, 0, hit)).toBe(copies !== undefined);
            expect(await index.has(id)).toBe(copies !== undefined);
            const all = await index.copies(id);
            const numberOf = (pack: number): number =>
              packs.findIndex((one) => one.hash === states[pack]!.hash);
            const textOf = (one: IndexHit): string => `${numberOf(one.pack)}:${one.off8}`;
            expect(new Set(all.map(textOf))).toEqual(copies ?? new Set());
            if (copies === undefined) continue;
            expect(copies).toContain(textOf(hit));
            const lasts = [...copies].some((copy) => Number(copy.split(':')[0]) <= 3);
            expect(states[hit.pack]!.pending).toBe(!lasts);
          }
        };
        await check();
        const seen = new Set<string>();
        await index.each((_hit, ids, at) => seen.add(toHex(ids.subarray(at, at + 32))));
        expect(seen).toEqual(new Set(model.keys()));
        // All are merged into one, under the index that goes on being used.
        const [merged] = await mergeIndexes(vault.env, indexes, new Set());
        const pages = new IndexPages(vault.env.store);
        const one = await IndexObject.open(pages, merged!, vault.env.vaultId);
        expect(one.entries).toBe([...model.values()].reduce((sum, copies) => sum + copies.size, 0));
        await check();
      }),
      { numRuns: 5 },
    );
  });

  test('a lookup goes on where objects are merged, and whoever keeps places begins again', async () => {
    const { vault, known } = await synthetic(5, tiny);
    const { index, indexes } = await loadVault(vault.env, everyPack);
    const before = index.generation;
    let tries = 0;
    await steadily(async () => {
      tries++;
      if (tries === 1) await mergeIndexes(vault.env, indexes, new Set());
      let count = 0;
      await index.each(() => count++);
      expect(count).toBeGreaterThan(known.length / 2);
    });
    expect(tries).toBe(2);
    expect(index.generation).toBe(before + 1);
    for (const id of known) expect(await index.has(id)).toBe(true);
  });

  test('a page that comes back with another bit is damage', async () => {
    const { vault, store, known } = await synthetic(9, tiny);
    const { index } = await loadVault(vault.env, everyPack);
    for (const name of store.names().filter((one) => one.startsWith('idx/'))) {
      const bytes = await store.get(name, 1 << 20);
      bytes[bytes.length - 20]! ^= 4;
      await store.put(name, bytes);
    }
    const all = known.map(async (id) => await index.has(id));
    const settled = await Promise.allSettled(all);
    const failed = settled.filter((one) => one.status === 'rejected');
    expect(failed.length).toBeGreaterThan(0);
    for (const { reason } of failed) expect(reason).toMatchObject({ code: 'VARVE_CORRUPT' });
  });

  test('pages and filters stay within their bounds', async () => {
    const { vault, store, known } = await synthetic(11, {});
    const pages = new IndexPages(store, { cacheBytes: 3 * 65_536, filterBytes: 100 });
    let open = 0;
    for await (const { name, size } of store.list('idx/')) {
      const one = { hash: name.slice(4, 68), size };
      const object = await IndexObject.open(pages, one, vault.env.vaultId, known.length);
      expect(pages.filterFor(object.entries, known.length)).toBeUndefined();
      open++;
      for (let page = 0; page * 1170 < object.entries; page++) await object.load(page);
    }
    expect(open).toBe(4);
    expect(pages.pages).toBeLessThanOrEqual(3);
    const roomy = new IndexPages(store, { filterBytes: 1 << 20 });
    expect(roomy.filterFor(1000, 1e6)!.bytes).toBeLessThanOrEqual(((1 << 20) * 1000) / 1e6 + 64);
  });
});

describe('with next to no memory', () => {
  async function worked(bounds: VaultBounds | undefined): Promise<{ vault: Vault; store: MemoryBlobs }> {
    const { engine } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store, new TestClock(), bounds);
    for (let i = 0; i < 12; i++) await engine.put(`k${i}`, bytesOf(i, 9000));
    await engine.put('tree', bytesOf(99, 90_000));
    await engine.backup(vault);
    await engine.put('k3', bytesOf(77, 9000));
    await engine.backup(vault, { mode: 'full' });
    await engine.put('k4', bytesOf(78, 9000));
    await engine.backup(vault, { mode: 'differential' });
    return { vault, store };
  }

  test('backup, verify, prune and restore give the same', async () => {
    const plain = await worked(undefined);
    const small = await worked(smallMemory);
    expect(await rootOf(small.vault)).toBe(await rootOf(plain.vault));
    const ids = async (vault: Vault) => (await entriesOf(vault)).map(({ id }) => toHex(id)).sort();
    expect(await ids(small.vault)).toEqual(await ids(plain.vault));
    for (const { vault } of [plain, small]) {
      for (const level of [0, 2, 3] as const) expect((await vault.verify({ level })).damage).toEqual([]);
      const differences: unknown[] = [];
      const [a, , b] = await vault.list();
      for await (const one of vault.diff(a!.id, b!.id)) differences.push(one);
      expect(differences).toHaveLength(2);
      await vault.forget({ keep: { last: 1 } });
      expect((await vault.prune({ repackBelow: 0.5 })).ok).toBe(true);
      expect((await restored(vault)).report).toMatchObject({ ok: true, proved: true });
      expect((await vault.verify()).damage).toEqual([]);
    }
  });

  test('marks are the same however small the memory', async () => {
    const { vault, store } = await worked(undefined);
    const { snaps } = await listSnaps(vault.env, 'snap');
    const marked = async (bounds: VaultBounds | undefined): Promise<{ ids: string[]; misses: number }> => {
      const env = { ...vault.env, bounds };
      const state = await loadVault(env, everyPack);
      const marker = new Marker(new VaultReader(env, state), new Slices(new TestClock(), undefined));
      for (const { manifest } of snaps.slice(1)) await marker.mark(manifest);
      const ids: string[] = [];
      await state.index.each((hit, bytes, at) => {
        if (marker.marked.has(hit)) ids.push(toHex(bytes.subarray(at, at + 32)));
      });
      return { ids: ids.sort(), misses: marker.missCount };
    };
    const all = await marked(undefined);
    expect(all.misses).toBe(0);
    expect(all.ids.length).toBeGreaterThan(20);
    expect(await marked(tiny)).toEqual(all);
    // A pack is lost: the same is missed.
    const [{ pack }] = (await entriesOf(vault)) as [Awaited<ReturnType<typeof entriesOf>>[number]];
    await store.delete(packName(pack));
    const less = await marked(undefined);
    expect(await marked(tiny)).toEqual(less);
  });
});
