import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { Prng } from '../../src/base/prng.ts';
import { pendingName } from '../../src/format/vault-names.ts';
import { encodePendingMarker } from '../../src/format/vault-records.ts';
import { bytesOf, inPieces, newStore } from '../engine/engine-kit.ts';
import { everything, restored, vaultOn, withRestored } from './backup-kit.ts';

async function made(): Promise<{ vault: Vault; store: MemoryBlobs; ids: string[] }> {
  const { engine } = await newStore();
  const store = new MemoryBlobs();
  const vault = await vaultOn(store);
  await engine.put('inline', 'small');
  await engine.put('list', bytesOf(1, 3000));
  await engine.put('tree', inPieces(bytesOf(2, 60_000), 7000));
  const first = await engine.backup(vault);
  await engine.put('second', bytesOf(3, 3000));
  const second = await engine.backup(vault);
  return { vault, store, ids: [first.id, second.id] };
}

/** The same objects with one bit of one of them inverted. */
async function flipped(store: MemoryBlobs, name: string, bit: number): Promise<MemoryBlobs> {
  const copy = store.fork();
  const bytes = await copy.get(name, 1e9);
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  await copy.put(name, bytes);
  return copy;
}

describe('verify', () => {
  test('a whole vault is whole at every level', async () => {
    const { vault, ids } = await made();
    for (const level of [0, 1, 2, 3] as const) {
      const report = await vault.verify({ level });
      expect(report).toMatchObject({ ok: true, complete: true, backups: 2, damage: [] });
      expect(report.packs).toBe(level < 2 ? 0 : 2);
    }
    expect(ids).toHaveLength(2);
  });

  test('a walk reads the nodes of lists, not the chunks between them', async () => {
    const { engine } = await newStore();
    for (let i = 0; i < 40; i++) await engine.put(`k${i}`, bytesOf(i, 300_000));
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    await engine.backup(vault);
    let bytes = 0;
    const getRange = store.getRange.bind(store);
    store.getRange = async (name, from, length) => {
      const read = await getRange(name, from, length);
      if (name.startsWith('packs/')) bytes += read.length;
      return read;
    };
    expect(await vault.verify({ level: 0 })).toMatchObject({ ok: true });
    expect(bytes).toBeLessThan((await vault.stats()).packBytes * 0.6);
  });

  test('packs are read while trees are walked, but none before its turn where time may run out', async () => {
    const { vault, store } = await made();
    const headers: string[] = [];
    const getRange = store.getRange.bind(store);
    store.getRange = async (name, from, length) => {
      if (name.startsWith('packs/') && from === 0) headers.push(name);
      return await getRange(name, from, length);
    };
    let atWalk = -1;
    const onProgress = ({ phase }: { phase: string }): void => {
      if (phase === 'walk' && atWalk < 0) atWalk = headers.length;
    };
    expect(await vault.verify({ onProgress })).toMatchObject({ ok: true, packs: 2 });
    expect([atWalk, headers.length]).toEqual([2, 2]);
    expect(await vault.verify({ maxMs: 0 })).toMatchObject({ complete: false, packs: 0 });
    expect(headers).toHaveLength(2);
  });

  test('every flipped bit is found by level 3, and what is restored all the same is right', async () => {
    const { vault, store } = await made();
    await store.put(pendingName('0'.repeat(64)), encodePendingMarker(5));
    const model = await withRestored(vault, {}, (copy) => everything(copy));
    const prng = new Prng(1);
    for (const name of store.names()) {
      const size = (await store.size(name))!;
      const edges = [0, 63 * 8, 64 * 8 + 3, size * 8 - 1, (size - 64) * 8 + 5].filter(
        (bit) => bit < size * 8 && bit >= 0,
      );
      const bits = [...edges, ...Array.from({ length: 12 }, () => prng.below(size * 8))];
      for (const bit of bits) {
        const damaged = await flipped(store, name, bit);
        if (name === 'VAULT') {
          await expect(vaultOn(damaged)).rejects.toMatchObject({
            code: expect.stringMatching(/CORRUPT|VERSION/),
          });
          continue;
        }
        const other = await vaultOn(damaged);
        const report = await other.verify({ level: 3 });
        expect(report.ok, `${name} bit ${bit}`).toBe(false);
        expect(report.damage.map(({ file }) => file).join(), `${name} bit ${bit}`).toContain(name);
      }
    }
    // A sample is restored too: right, or reported.
    for (let i = 0; i < 10; i++) {
      const names = store.names().filter((name) => name.startsWith('packs/') || name.startsWith('idx/'));
      const name = prng.pick(names);
      const damaged = await vaultOn(await flipped(store, name, prng.below((await store.size(name))! * 8)));
      await withRestored(damaged, {}, async (copy, report) => {
        const found = await everything(copy);
        for (const [key, value] of found) expect(value).toBe(model.get(key));
        expect(found.size === model.size).toBe(report.ok);
      });
    }
  });

  test('damage is named with the keys and backups it concerns', async () => {
    const { vault, store, ids } = await made();
    const packs = store.names().filter((name) => name.startsWith('packs/'));
    const small = (await store.size(packs[0]!))! < (await store.size(packs[1]!))! ? packs[0]! : packs[1]!;
    // The second backup's own pack begins with the chunks of its one new key.
    const damaged = await vaultOn(await flipped(store, small, 8 * 200));
    const { damage } = await damaged.verify();
    expect(damage[0]).toMatchObject({ file: small, kind: 'VARVE_CORRUPT', snapshots: [ids[1]] });
    expect(damage[0]!.keys).toEqual(['second']);
    const { report } = await restored(damaged);
    expect(report).toMatchObject({ ok: false, proved: false, keys: 3 });
    expect(report.damage[0]!.keys).toEqual(['second']);
    await withRestored(damaged, { backup: ids[0]! }, async (_copy, whole) => expect(whole.proved).toBe(true));
    expect(vault.id).toBe(damaged.id);
  });

  test('a missing pack, a missing index object and a lost manifest are found', async () => {
    const { store, ids } = await made();
    const packs = store.names().filter((name) => name.startsWith('packs/'));
    const without = store.fork();
    await without.delete(packs[0]!);
    const report = await (await vaultOn(without)).verify({ level: 1 });
    expect(report.damage.map(({ file }) => file)).toContain(packs[0]);
    const noIndex = store.fork();
    for (const name of store.names().filter((one) => one.startsWith('idx/'))) await noIndex.delete(name);
    // Trailers say the same: nothing is lost, and the next backup writes the index again.
    const bare = await vaultOn(noIndex);
    expect((await bare.verify()).ok).toBe(true);
    await withRestored(bare, {}, async (_copy, one) => expect(one).toMatchObject({ ok: true, proved: true }));
    const snap = store.names().find((name) => name.includes(ids[0]!))!;
    const lost = await vaultOn(await flipped(store, snap, 700));
    const found = await lost.verify({ level: 0 });
    expect(found.damage).toMatchObject([{ file: snap, snapshots: [ids[0]] }]);
    expect((await lost.list()).map(({ id }) => id)).toEqual([ids[1]]);
  });

  test('a damaged chunk is read from another copy where a full backup has made one', async () => {
    const { engine } = await newStore();
    await engine.put('k', bytesOf(1, 3000));
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    await engine.backup(vault);
    await engine.backup(vault, { mode: 'full' });
    for (const name of store.names().filter((one) => one.startsWith('packs/'))) {
      const damaged = await vaultOn(await flipped(store, name, 8 * 200));
      expect((await damaged.verify()).ok).toBe(false);
      for (const { id } of await damaged.list()) {
        await withRestored(damaged, { backup: id }, async (_copy, report) =>
          expect(report.proved).toBe(true),
        );
      }
    }
  });

  test('parts of a verify together read every pack once', async () => {
    const { vault } = await made();
    let packs = 0;
    for (const part of [1, 2, 3]) packs += (await vault.verify({ subset: { part, of: 3 } })).packs;
    expect(packs).toBe(2);
    const cut = await vault.verify({ maxMs: 0 });
    expect(cut).toMatchObject({ complete: false, packs: 0 });
  });
});
