import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, inPieces, newStore, openOn, TestClock } from '../engine/engine-kit.ts';
import {
  everything,
  refsOf,
  restored,
  rootFromScratch,
  rootOf,
  vaultOn,
  withRestored,
} from './backup-kit.ts';

async function fill(engine: Engine): Promise<void> {
  await engine.put('inline', 'small', { metadata: { a: 1 }, contentType: 'text/plain', tags: ['x'] });
  await engine.put('list', bytesOf(1, 5000), { sha256: true });
  await engine.put('tree', inPieces(bytesOf(2, 400_000), 7000));
  await engine.put('same tree', bytesOf(2, 400_000));
  await engine.put('empty', '');
  await engine.space('other').put('k', bytesOf(3, 3000));
  await engine.put('gone', bytesOf(4, 3000));
  await engine.delete('gone');
}

describe('backup', () => {
  test('a restored store has every key, number, time and metadata of its source, and its root', async () => {
    const { engine } = await newStore();
    await fill(engine);
    const vault = await vaultOn();
    const info = await engine.backup(vault, { label: 'first', tags: ['a', 'b'] });
    expect(info).toMatchObject({ ok: true, keys: 6, mode: 'incremental', label: 'first', damage: [] });
    const before = await everything(engine);
    await withRestored(vault, {}, async (copy, report) => {
      expect(report).toMatchObject({ ok: true, proved: true, keys: 6 });
      expect(await everything(copy)).toEqual(before);
      expect(await rootFromScratch(copy)).toBe(await rootOf(vault));
      expect(copy.health().ok).toBe(true);
      await copy.put('more', bytesOf(9, 3000));
      expect(await copy.get('tree')).toHaveLength(400_000);
    });
  });

  test('an incremental backup sends what is new and has the root from scratch', async () => {
    const { engine } = await newStore();
    await fill(engine);
    const vault = await vaultOn();
    const first = await engine.backup(vault);
    const again = await engine.backup(vault);
    expect(again).toMatchObject({ newChunks: 0, newBytes: 0, files: 0, parent: first.id });
    await engine.put('list', bytesOf(5, 5000));
    await engine.delete('inline');
    await engine.spaces.drop('other');
    const third = await engine.backup(vault);
    expect(third.newBytes).toBeGreaterThan(5000);
    expect(third.newBytes).toBeLessThan(20_000);
    expect(await rootFromScratch(engine)).toBe(await rootOf(vault));
    const before = await everything(engine);
    await withRestored(vault, {}, async (copy) => expect(await everything(copy)).toEqual(before));
    await withRestored(vault, { backup: first.id }, async (copy) => {
      expect(await copy.get('inline')).toBeDefined();
      expect(copy.spaces.list()).toEqual(['other']);
    });
  });

  test('a full backup reuses nothing, a differential one what the last full reaches', async () => {
    const { engine } = await newStore();
    await fill(engine);
    const vault = await vaultOn();
    const full = await engine.backup(vault, { mode: 'full' });
    await engine.put('new', bytesOf(6, 4000));
    const first = await engine.backup(vault, { mode: 'differential' });
    const second = await engine.backup(vault, { mode: 'differential' });
    expect(first.newBytes).toBeGreaterThan(4000);
    expect(second.newBytes).toBeGreaterThan(4000);
    expect(second.newBytes).toBeLessThan(full.newBytes / 5);
    const again = await engine.backup(vault, { mode: 'full' });
    expect(again.newBytes).toBeGreaterThan(full.newBytes);
    await withRestored(vault, {}, async (_copy, report) => expect(report.ok).toBe(true));
  });

  test('a dry run tells what would be sent and writes nothing', async () => {
    const { engine } = await newStore();
    await fill(engine);
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    const dry = await engine.backup(vault, { dryRun: true });
    expect(store.names()).toEqual(['VAULT']);
    const real = await engine.backup(vault);
    expect(dry.newChunks).toBe(real.newChunks);
    expect(Math.abs(dry.newBytes - real.newBytes)).toBeLessThan(real.newBytes * 0.05);
  });

  test('a run that was cut off costs nothing but time', async () => {
    const { engine } = await newStore();
    await fill(engine);
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    const put = store.put.bind(store);
    store.put = async (name, data, options) => {
      if (name.startsWith('idx/')) throw new Error('cut off');
      return await put(name, data, options);
    };
    await expect(engine.backup(vault)).rejects.toThrow('cut off');
    store.put = put;
    const info = await engine.backup(vault);
    expect(info).toMatchObject({ newBytes: 0, files: 0, ok: true });
    await withRestored(vault, {}, async (_copy, report) => expect(report.ok).toBe(true));
  });

  test('a store with damage backs up what is whole and lists what is not', async () => {
    const { engine, disk } = await newStore();
    for (let i = 0; i < 20; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
    await engine.close();
    const segment = disk.files().find((file) => file.startsWith('seg/'))!;
    disk.flipBit(segment, 8 * 6000);
    const damaged = await openOn(disk, { readOnly: true });
    const vault = await vaultOn();
    const info = await damaged.backup(vault);
    await damaged.close();
    expect(info.ok).toBe(false);
    expect(info.damagedKeys).toBeGreaterThan(0);
    expect(info.keys).toBe(20 - info.damagedKeys);
    expect(info.damage[0]).toMatchObject({ kind: 'VARVE_CORRUPT', file: segment });
    await withRestored(vault, {}, async (copy, report) => {
      expect(report).toMatchObject({ ok: true, proved: true, keys: info.keys });
      expect(copy.health().ok).toBe(true);
    });
  });

  test('a vault that hides the last backup is noticed', async () => {
    const { engine } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    await engine.put('a', 'b');
    const before = store.fork();
    await engine.backup(vault);
    const hidden = await vaultOn(before);
    const info = await engine.backup(hidden);
    expect(info.warnings.join()).toContain('does not have the last backup');
  });

  test('what is put while a backup runs is not in it', async () => {
    const { engine } = await newStore();
    await fill(engine);
    const vault = await vaultOn();
    const running = engine.backup(vault);
    const late = engine.put('late', bytesOf(8, 5000));
    await engine.put('list', bytesOf(9, 5000));
    await late;
    await running;
    await withRestored(vault, {}, async (copy) => {
      expect(await copy.has('late')).toBe(false);
      expect(Buffer.compare((await copy.get('list'))!, bytesOf(1, 5000))).toBe(0);
    });
  });

  test('a restore of a prefix or a space has just those keys', async () => {
    const { engine } = await newStore();
    await fill(engine);
    const vault = await vaultOn();
    await engine.backup(vault);
    await withRestored(vault, { prefix: 'in' }, async (copy, report) => {
      expect(report).toMatchObject({ ok: true, proved: false, keys: 1 });
      expect([...(await everything(copy)).keys()]).toEqual(['/inline']);
    });
    await withRestored(vault, { space: 'other' }, async (copy) => {
      expect([...(await everything(copy)).keys()]).toEqual(['other/k']);
    });
    await expect(restored(vault, { space: 'no' })).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
  });

  test('a restored store counts its references as its source did', async () => {
    const { engine, disk } = await newStore();
    await fill(engine);
    await engine.put('again', bytesOf(1, 5000));
    await engine.flush();
    const vault = await vaultOn();
    await engine.backup(vault);
    const copy = await restored(vault);
    const [source, found] = [await refsOf(disk), await refsOf(copy.disk)];
    for (const [id, refs] of found) expect(refs, id).toBe(source.get(id));
    // What the source has beyond that nobody refers to.
    for (const [id, refs] of source) if (!found.has(id)) expect(refs, id).toBe(0);
  });

  test('values that expire do so in the restored store, at the same moment', async () => {
    const { engine } = await newStore();
    await engine.put('soon', bytesOf(1, 5000), { ttlMs: 1000 });
    await engine.put('inline', 'x', { ttlMs: 5000 });
    await engine.put('stays', 'y');
    const vault = await vaultOn();
    await engine.backup(vault);
    const { disk, report } = await restored(vault);
    expect(report).toMatchObject({ ok: true, proved: true, keys: 3 });
    const clock = new TestClock();
    const copy = await openOn(disk, {}, undefined, clock);
    expect(await copy.stat('soon')).toEqual(await engine.stat('soon'));
    clock.ms += 1500;
    expect(await copy.has('soon')).toBe(false);
    expect(await copy.has('inline')).toBe(true);
    clock.ms += 5000;
    expect([...(await everything(copy)).keys()]).toEqual(['/stays']);
    await copy.close();
  });

  test('policies of spaces go with them, and history begins with the restore', async () => {
    const { engine } = await newStore();
    const space = engine.space('past', { history: { versions: 5, ms: 1e9 } });
    const { seq } = await space.put('k', 'one');
    await space.put('k', 'two');
    expect(await space.get('k', { at: seq })).toBeDefined();
    const vault = await vaultOn();
    await engine.backup(vault);
    await withRestored(vault, {}, async (copy, report) => {
      expect(report.proved).toBe(true);
      const again = copy.space('past');
      await expect(again.get('k', { at: seq })).rejects.toMatchObject({ code: 'VARVE_HISTORY_GONE' });
      const third = await again.put('k', 'three');
      await again.put('k', 'four');
      expect(new TextDecoder().decode(await again.get('k', { at: third.seq }))).toBe('three');
      expect(await rootFromScratch(copy)).not.toBe(await rootOf(vault));
    });
  });

  test('a target that does not give back what was put is no backup', async () => {
    const { engine } = await newStore();
    await engine.put('a', bytesOf(1, 9000));
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    const put = store.put.bind(store);
    store.put = async (name, data, options) => {
      const bytes = Uint8Array.from(data as Uint8Array);
      if (name.startsWith('packs/')) bytes[300]! ^= 1;
      return await put(name, bytes, options);
    };
    await expect(engine.backup(vault)).rejects.toMatchObject({ code: 'VARVE_IO' });
    expect(await vault.list()).toEqual([]);
    store.put = put;
    expect((await engine.backup(vault)).ok).toBe(true);
    await withRestored(vault, {}, async (_copy, report) => expect(report.proved).toBe(true));
  });

  test('random histories: a restored store equals the model, the root that from scratch', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const prng = new Prng(seed);
      const { engine } = await newStore();
      const vault = await vaultOn();
      for (let round = 0; round < 3; round++) {
        for (let n = prng.below(40); n > 0; n--) {
          const key = `k${prng.below(30)}`;
          const space = prng.chance(0.2) ? engine.space(`s${prng.below(2)}`) : engine;
          if (prng.chance(0.2)) await space.delete(key);
          else if (prng.chance(0.05))
            await engine.deleteRange({ gte: `k${prng.below(30)}`, lt: `k${prng.below(30)}z` });
          else await space.put(key, prng.bytes(prng.pick([0, 10, 100, 3000, 40_000])));
        }
        if (prng.chance(0.3)) await engine.flush();
        await engine.backup(vault);
      }
      expect(await rootFromScratch(engine), `seed ${seed}`).toBe(await rootOf(vault));
      const model = await everything(engine);
      await withRestored(vault, {}, async (copy, report) => {
        expect(report, `seed ${seed}`).toMatchObject({ ok: true, proved: true });
        expect(await everything(copy), `seed ${seed}`).toEqual(model);
      });
    }
  });
});
