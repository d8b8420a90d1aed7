/**
 * Vaults under crashes: the run of a backup, forget, prune or restore ends at every single operation, and
 * what was there before must be whole; the next run must succeed.
 */
import { describe, expect, test } from 'vitest';
import { DirectoryBlobs } from '../../src/backup/directory-blobs.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { runRestore } from '../../src/backup/restore-run.ts';
import { openVaultIn, type Vault } from '../../src/backup/vault.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { bytesOf, newStore, openOn, TestClock } from '../engine/engine-kit.ts';
import { everything, restored, vaultOn, withRestored } from './backup-kit.ts';
import { FaultyBlobs } from './faulty-blobs.ts';

/** A failing copy of the objects of `store`. */
function failingCopy(store: MemoryBlobs): FaultyBlobs {
  return new FaultyBlobs(store.entries());
}

async function storeWith(n: number): Promise<Engine> {
  const { engine } = await newStore();
  for (let i = 0; i < n; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
  return engine;
}

/** Every backup of the vault restores with its root. */
async function allWhole(vault: Vault): Promise<void> {
  for (const { id } of await vault.list()) {
    const { report } = await restored(vault, { backup: id });
    expect(report, id).toMatchObject({ ok: true, proved: true });
  }
}

describe('a target that fails at any operation', () => {
  test.each([false, true])(
    'a backup leaves older ones whole, and the next run succeeds (behind: %s)',
    async (behind) => {
      const engine = await storeWith(6);
      const base = new MemoryBlobs();
      await engine.backup(await vaultOn(base));
      await engine.put('new', bytesOf(50, 9000));
      const dry = failingCopy(base);
      await engine.backup(await vaultOn(dry));
      for (let at = 0; at < dry.calls; at++) {
        const store = failingCopy(base);
        Object.assign(store, { left: at, behind });
        const vault = await vaultOn(store);
        await expect(engine.backup(vault)).rejects.toThrow();
        store.left = Number.POSITIVE_INFINITY;
        await allWhole(vault);
        expect((await engine.backup(vault)).ok).toBe(true);
        await allWhole(vault);
        expect((await vault.verify()).ok).toBe(true);
      }
    },
  );

  test.each([
    [false, 0],
    [true, 0],
    [false, 0.9],
    [true, 0.9],
  ])('forget and prune leave what is kept whole (behind: %s, repacked below: %s)', async (behind, below) => {
    const engine = await storeWith(3);
    const base = new MemoryBlobs();
    const first = await vaultOn(base);
    for (let i = 0; i < 3; i++) {
      await engine.put('changing', bytesOf(100 + i, 6000));
      await engine.backup(first);
    }
    const work = async (vault: Vault): Promise<void> => {
      await vault.forget({ keep: { last: 1 } });
      repacked = (await vault.prune({ repackBelow: below })).repackedPacks;
    };
    let repacked = 0;
    const dry = failingCopy(base);
    await work(await vaultOn(dry));
    expect(repacked > 0).toBe(below > 0);
    for (let at = 0; at < dry.calls; at++) {
      const store = failingCopy(base);
      Object.assign(store, { left: at, behind });
      const vault = await vaultOn(store);
      await expect(work(vault)).rejects.toThrow();
      store.left = Number.POSITIVE_INFINITY;
      await allWhole(vault);
      await vault.forget({ keep: { last: 1 } });
      await vault.prune({ breakLock: true, repackBelow: below });
      await allWhole(vault);
      expect((await vault.verify()).ok).toBe(true);
      // What was rewritten twice may have come into one pack.
      expect(store.names().length).toBeLessThanOrEqual(dry.names().length);
    }
  });
});

describe('a power cut at any operation of the disk', () => {
  test('of a vault in a directory: a backup is whole or not there', async () => {
    const engine = await storeWith(4);
    const run = async (disk: MemoryFileSystem, seed: number): Promise<Vault> => {
      const prng = new Prng(seed);
      const random = (n: number): Uint8Array => prng.bytes(n);
      const blobs = await DirectoryBlobs.open(disk, random);
      return await openVaultIn(blobs, { create: true }, { clock: new TestClock(), random });
    };
    const base = new MemoryFileSystem();
    await engine.backup(await run(base, 1));
    await engine.put('new', bytesOf(50, 9000));
    const dry = base.crash('all');
    await engine.backup(await run(dry, 2));
    const prng = new Prng(3);
    for (let at = 0; at < dry.opCount; at++) {
      const disk = base.crash('all');
      disk.failAt(at, 'crash');
      let done = false;
      try {
        const vault = await run(disk, 2);
        await engine.backup(vault);
        done = true;
      } catch (error) {
        if (!(error instanceof CrashNow) && !(error instanceof Error && error.cause instanceof CrashNow))
          throw error;
      }
      const after = disk.crash(prng.pick(['none', 'all', prng] as const));
      const vault = await run(after, 4);
      if (done) expect((await vault.list()).length).toBe(2);
      await allWhole(vault);
      expect((await vault.verify()).damage).toEqual([]);
    }
  });

  test('of the target of a restore: there is no store, and the restore goes on', async () => {
    const engine = await storeWith(12);
    await engine.put('tree', bytesOf(70, 60_000));
    const vault = await vaultOn();
    await engine.backup(vault);
    const model = await everything(engine);
    const bounds = { segmentBytes: 16 * 1024, memtableBytes: 64 * 1024 };
    const dry = new MemoryFileSystem();
    await runRestore(vault.env, dry, {}, bounds);
    const prng = new Prng(5);
    const step = Math.max(1, Math.floor(dry.opCount / 30));
    for (let at = prng.below(step); at < dry.opCount; at += step) {
      const disk = new MemoryFileSystem();
      disk.failAt(at, 'crash');
      await runRestore(vault.env, disk, {}, bounds).catch((error: unknown) => {
        if (!(error instanceof CrashNow)) throw error;
      });
      const after = disk.crash(prng.pick(['none', 'all', prng] as const));
      if ((await after.stat('SUPER')) === null) {
        const report = await runRestore(vault.env, after, {}, bounds);
        expect(report).toMatchObject({ ok: true, proved: true });
      }
      const copy = await openOn(after);
      expect(await everything(copy), `operation ${at}`).toEqual(model);
      expect(copy.health().ok).toBe(true);
      await copy.close();
    }
  });

  test('a restore into anything else than an empty directory is refused', async () => {
    const engine = await storeWith(2);
    const vault = await vaultOn();
    const { id } = await engine.backup(vault);
    await engine.put('x', bytesOf(9, 5000));
    await engine.backup(vault);
    const { disk } = await restored(vault);
    await expect(restored(vault, {}, disk)).rejects.toMatchObject({ code: 'VARVE_CONFLICT' });
    const other = new MemoryFileSystem();
    await other.mkdir('photos');
    await expect(restored(vault, {}, other)).rejects.toMatchObject({ code: 'VARVE_CONFLICT' });
    const half = new MemoryFileSystem();
    half.failAt(30, { errno: 'ENOSPC' });
    await expect(restored(vault, {}, half)).rejects.toMatchObject({ code: 'VARVE_NO_SPACE' });
    await expect(restored(vault, { backup: id }, half)).rejects.toMatchObject({ code: 'VARVE_CONFLICT' });
    expect((await restored(vault, {}, half)).report.proved).toBe(true);
  });

  test('a restored store takes up backups where its source left', async () => {
    const engine = await storeWith(5);
    const vault = await vaultOn();
    await engine.backup(vault);
    await withRestored(vault, {}, async (copy) => {
      await copy.put('later', bytesOf(90, 4000));
      const info = await copy.backup(vault);
      expect(info.newBytes).toBeGreaterThan(4000);
      expect(info.newBytes).toBeLessThan(12_000);
    });
    await withRestored(vault, {}, async (copy) => expect(await copy.has('later')).toBe(true));
  });
});
