import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { packBytesTarget } from '../../src/backup/pack-builder.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { vaultIndexEntriesMax } from '../../src/format/vault-index.ts';
import { packName } from '../../src/format/vault-names.ts';
import { bytesOf, codeOf, newStore, TestClock } from '../engine/engine-kit.ts';
import { entriesOf, restored, vaultOn, withRestored } from './backup-kit.ts';

/** One pack of ten values of which the backup that is left needs `needed`, and what came behind it. */
async function mostlyDead(
  needed: number,
  store = new MemoryBlobs(),
): Promise<{ vault: Vault; store: MemoryBlobs }> {
  const { engine } = await newStore();
  const vault = await vaultOn(store, new TestClock());
  for (let i = 0; i < 10; i++) await engine.put(`k${i}`, bytesOf(i, 20_000));
  await engine.backup(vault);
  for (let i = needed; i < 10; i++) await engine.put(`k${i}`, `small ${i}`);
  await engine.backup(vault);
  await vault.forget({ keep: { last: 1 } });
  return { vault, store };
}

describe('the number of objects', () => {
  test('is below 20,000 for each TB, however small the chunks are', () => {
    const packs = Math.ceil(1e12 / packBytesTarget);
    for (const chunkBytes of [4096, 16 * 1024, 64 * 1024]) {
      // Of the index: those that are full enough not to be merged any more, and the few that are not.
      const index = (2 * 1e12) / chunkBytes / vaultIndexEntriesMax + 16;
      expect(packs + index).toBeLessThan(20_000);
    }
  });
});

describe('repacking', () => {
  test('a pack that is mostly dead is rewritten without the rest; a dry run says so before', async () => {
    const { vault, store } = await mostlyDead(2);
    const before = await vault.stats();
    const dry = await vault.prune({ dryRun: true, repackBelow: 0.25 });
    expect(dry).toMatchObject({ markedPacks: 1, repackedPacks: 1, keptPacks: 1 });
    expect(dry.repackedBytes).toBeGreaterThan(40_000);
    expect(dry.repackedBytes).toBeLessThan(45_000);
    expect(await vault.stats()).toEqual(before);
    const report = await vault.prune({ repackBelow: 0.25 });
    expect(report).toMatchObject({ markedPacks: 1, repackedPacks: 1, deletedPacks: 1, keptPacks: 2 });
    const after = await vault.stats();
    expect(after.packBytes).toBeLessThan(before.packBytes - 150_000);
    expect((await vault.verify()).damage).toEqual([]);
    await withRestored(vault, {}, async (copy, { proved }) => {
      expect(proved).toBe(true);
      for (let i = 0; i < 2; i++)
        expect(Buffer.compare((await copy.get(`k${i}`))!, bytesOf(i, 20_000))).toBe(0);
    });
    const names = store.names();
    expect(await vault.prune({ repackBelow: 0.25 })).toMatchObject({ markedPacks: 0, repackedPacks: 0 });
    expect(store.names()).toEqual(names);
  });

  test('a pack of which more is needed stays, and all do without the option', async () => {
    const { vault } = await mostlyDead(5);
    expect(await vault.prune({ repackBelow: 0.25 })).toMatchObject({ markedPacks: 0, repackedPacks: 0 });
    expect(await vault.prune()).toMatchObject({ markedPacks: 0, repackedPacks: 0 });
    expect(await vault.prune({ repackBelow: 0.75 })).toMatchObject({ repackedPacks: 1, deletedPacks: 1 });
    expect(await codeOf(vault.prune({ repackBelow: 1.5 }))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('with a grace the old pack goes later, and until then is no reason to write again', async () => {
    const { vault } = await mostlyDead(2);
    const clock = vault.env.clock as TestClock;
    const first = await vault.prune({ repackBelow: 0.25, graceMs: 1000 });
    expect(first).toMatchObject({ markedPacks: 1, repackedPacks: 1, deletedPacks: 0, keptPacks: 2 });
    const second = await vault.prune({ repackBelow: 0.25, graceMs: 1000 });
    expect(second).toMatchObject({ markedPacks: 0, repackedPacks: 0, deletedPacks: 0 });
    clock.ms += 1000;
    const third = await vault.prune({ repackBelow: 0.25, graceMs: 1000 });
    expect(third).toMatchObject({ markedPacks: 0, repackedPacks: 0, deletedPacks: 1 });
    expect((await restored(vault)).report).toMatchObject({ ok: true, proved: true });
  });

  test('many small packs become one', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn(new MemoryBlobs(), new TestClock());
    for (let i = 0; i < 20; i++) {
      await engine.put(`k${i}`, bytesOf(i, 3000));
      await engine.backup(vault);
    }
    const before = (await vault.stats()).packs;
    expect(before).toBe(20);
    await vault.prune({ repackBelow: 0.1 });
    const { packs } = await vault.stats();
    expect(packs).toBe(1);
    for (const { id } of await vault.list())
      expect((await restored(vault, { backup: id })).report).toMatchObject({ ok: true, proved: true });
    expect((await vault.verify()).damage).toEqual([]);
  });

  test('a damaged pack is not rewritten', async () => {
    const { vault, store } = await mostlyDead(2);
    const large = (await entriesOf(vault)).find(({ kind }) => kind === 0)!;
    const name = packName(large.pack);
    const bytes = await store.get(name, 1 << 30);
    for (const { pack, off8 } of await entriesOf(vault)) if (pack === large.pack) bytes[off8 * 8 + 70]! ^= 1;
    await store.put(name, bytes);
    await vault.prune({ repackBelow: 0.25 }).catch((error: unknown) => {
      // Where the damage hits a node, the backup is not whole and nothing is pruned at all.
      expect(error).toMatchObject({ code: 'VARVE_CORRUPT' });
    });
    expect(store.names()).toContain(name);
  });
});
