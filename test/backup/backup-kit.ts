/** What the tests of vaults share. */

import type { BlobStore } from '../../src/backup/blob-store.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { type RestoreOptions, type RestoreReport, runRestore } from '../../src/backup/restore-run.ts';
import { openVaultIn, type Vault } from '../../src/backup/vault.ts';
import { everyPack, loadVault, type VaultBounds } from '../../src/backup/vault-state.ts';
import { Prng } from '../../src/base/prng.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { Forest } from '../../src/tree/forest.ts';
import { openOn, TestClock } from '../engine/engine-kit.ts';

/** References of every chunk that the tables of a store on this disk count, by id. */
export async function refsOf(disk: MemoryFileSystem): Promise<Map<string, number>> {
  const loaded = await CatalogStore.load(disk);
  const options = { dbUuid: loaded.slot.dbUuid, cache: new BlockCache(1 << 20), memtableBytes: 1 << 20 };
  const { forest } = await Forest.open(disk, loaded.catalog.tables, options);
  const refs = new Map<string, number>();
  await forest.chunks.scanAll(({ idBytes, idAt, columns }) => {
    refs.set(Buffer.from(idBytes.subarray(idAt, idAt + 32)).toString('hex'), columns.refs);
  });
  await forest.close();
  return refs;
}

let seeds = 1000;

/** A vault over `store`, made where there is none; its clock and chance are its own. */
export async function vaultOn(
  store: BlobStore = new MemoryBlobs(),
  clock = new TestClock(),
  bounds?: VaultBounds,
): Promise<Vault> {
  const prng = new Prng(++seeds);
  return await openVaultIn(store, { create: true }, { clock, random: (n) => prng.bytes(n), bounds });
}

/** Next to no memory for the index: lookups read pages, and runs spill what they have put. */
export const smallMemory: VaultBounds = { cacheBytes: 0, filterBytes: 0, ownRows: 4 };

/** What the index of a vault has: each entry with its id. */
export async function entriesOf(
  vault: Vault,
): Promise<{ id: Uint8Array; pack: string; off8: number; kind: number }[]> {
  const { index, packs } = await loadVault(vault.env, everyPack);
  const entries: { id: Uint8Array; pack: string; off8: number; kind: number }[] = [];
  await index.each(({ pack, off8, kind }, ids, at) => {
    entries.push({ id: ids.slice(at, at + 32), pack: packs[pack]!.hash, off8, kind });
  });
  return entries;
}

/** Restores into a new disk. */
export async function restored(
  vault: Vault,
  options: RestoreOptions = {},
  disk = new MemoryFileSystem(),
): Promise<{ disk: MemoryFileSystem; report: RestoreReport }> {
  const bounds = { segmentBytes: 16 * 1024, memtableBytes: 32 * 1024 };
  const report = await runRestore(vault.env, disk, options, bounds);
  return { disk, report };
}

/** Restores, opens what came of it for writing, and closes it behind `use`. */
export async function withRestored<T>(
  vault: Vault,
  options: RestoreOptions,
  use: (engine: Engine, report: RestoreReport) => Promise<T>,
): Promise<T> {
  const { disk, report } = await restored(vault, options);
  const engine = await openOn(disk);
  try {
    return await use(engine, report);
  } finally {
    await engine.close();
  }
}

/** Everything a store tells of its keys: value, number, times, metadata. */
export async function everything(engine: Engine): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const name of ['', ...engine.spaces.list()]) {
    const space = name === '' ? engine : engine.space(name);
    for await (const entry of space.scan({ stats: true })) {
      const { seq, stat } = entry;
      const value = Buffer.from(entry.value!).toString('base64');
      all.set(`${name}/${entry.key}`, JSON.stringify([seq, stat, value]));
    }
  }
  return all;
}

/** The root of a backup of the store into a vault of its own. */
export async function rootFromScratch(engine: Engine): Promise<string> {
  const vault = await vaultOn();
  await engine.backup(vault);
  return await rootOf(vault);
}

/** The root of the newest backup. */
export async function rootOf(vault: Vault): Promise<string> {
  const { listSnaps } = await import('../../src/backup/snaps.ts');
  const { snaps } = await listSnaps(vault.env, 'snap');
  return Buffer.from(snaps.at(-1)!.manifest.rootNodeId).toString('hex');
}
