import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { openBackup } from '../../src/engine/backups/backup-view.ts';
import { packPrefix } from '../../src/format/vault-names.ts';
import { bytesOf, codeOf, newStore } from '../engine/engine-kit.ts';
import { runHistory, stateAt } from './archive-kit.ts';
import { everything, vaultOn } from './backup-kit.ts';

/** Values and metadata of a state, without the numbers and times of its versions. */
function valuesOf(state: ReadonlyMap<string, string>): string[] {
  const lines = Array.from(state, ([key, line]) => {
    const [, { size, digest, metadata, tags }, value] = JSON.parse(line);
    return JSON.stringify([key, size, digest, metadata, tags, value]);
  });
  return lines.sort();
}

describe('a restore into an open store', () => {
  test('keys that are there stay, others come back', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn();
    for (let i = 0; i < 12; i++) await engine.put(`a/${i}`, bytesOf(i, 3000 * i));
    await engine.put('b/1', 'one');
    await engine.backup(vault);
    await engine.delete('a/3');
    await engine.deleteRange({ prefix: 'a/1' });
    await engine.put('a/5', 'newer');
    await engine.put('b/1', 'changed');
    await engine.delete('b/2');
    const report = await engine.restore(vault, { prefix: 'a/' });
    expect(report).toMatchObject({ ok: true, keys: 4, same: 7, kept: 1, expired: 0, damage: [] });
    expect(Buffer.compare((await engine.get('a/3'))!, bytesOf(3, 9000))).toBe(0);
    expect(Buffer.compare((await engine.get('a/11'))!, bytesOf(11, 33000))).toBe(0);
    expect(Buffer.from((await engine.get('a/5'))!).toString()).toBe('newer');
    expect(Buffer.from((await engine.get('b/1'))!).toString()).toBe('changed');
    const again = await engine.restore(vault, { prefix: 'a/', overwrite: true });
    expect(again).toMatchObject({ keys: 1, same: 11, kept: 0 });
    expect(Buffer.compare((await engine.get('a/5'))!, bytesOf(5, 15000))).toBe(0);
    expect((await engine.verify()).ok).toBe(true);
    await engine.close();
  });

  test('a restored key is what the backup has, metadata and expiry included', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn();
    const options = { metadata: { a: 1 }, contentType: 'text/plain', tags: ['x'], sha256: true };
    await engine.put('k', bytesOf(1, 40_000), options);
    await engine.put('later', 'v', { ttlMs: 1e9 });
    const before = await engine.stat('k');
    await engine.backup(vault);
    await engine.clear();
    expect(await engine.restore(vault)).toMatchObject({ ok: true, keys: 2 });
    const {
      seq: _seq,
      mtime: _m,
      ctime: _c,
      ...rest
    } = { ...(await engine.stat('k'))! } as Record<string, unknown>;
    expect(before).toMatchObject(
      Object.fromEntries(
        Object.entries(rest).filter(([name]) => !/time|created|updated|modified/i.test(name)),
      ),
    );
    expect(await engine.restore(vault)).toMatchObject({ keys: 0, same: 2 });
    await engine.close();
  });

  test('a key expires when its backup says, so a second run finds it so', async () => {
    const { engine, clock } = await newStore();
    const vault = await vaultOn();
    await engine.put('small', 'x', { ttlMs: 3_600_000 });
    await engine.put('large', bytesOf(1, 20_000), { ttlMs: 3_600_000 });
    await engine.backup(vault);
    const before = [await engine.stat('small'), await engine.stat('large')];
    await engine.clear();
    clock.now = () => ++clock.ms;
    expect(await engine.restore(vault)).toMatchObject({ keys: 2, same: 0 });
    const after = [await engine.stat('small'), await engine.stat('large')];
    expect(after.map((stat) => stat!.expires)).toEqual(before.map((stat) => stat!.expires));
    for (const overwrite of [false, true])
      expect(await engine.restore(vault, { overwrite })).toMatchObject({ keys: 0, same: 2, kept: 0 });
  });

  test('several prefixes, single keys and other spaces, into another space', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn();
    for (const key of ['a1', 'a2', 'b1', 'c1']) await engine.put(key, key);
    await engine.space('s').put('s1', 'of s');
    await engine.backup(vault);
    const keysOf = async (name: string): Promise<string[]> => {
      const keys: string[] = [];
      for await (const { key } of engine.space(name).scan()) keys.push(key);
      return keys;
    };
    await engine.restore(vault, { prefixes: ['a', 'c', 'a1'], into: 'x' });
    expect(await keysOf('x')).toEqual(['a1', 'a2', 'c1']);
    await engine.restore(vault, { keys: ['b1', 'a1', 'missing'], into: 'y' });
    expect(await keysOf('y')).toEqual(['a1', 'b1']);
    await engine.restore(vault, { space: 's', into: '' });
    expect(Buffer.from((await engine.get('s1'))!).toString()).toBe('of s');
    await engine.spaces.drop('s');
    expect(await engine.restore(vault)).toMatchObject({ keys: 1, same: 4 });
    expect(await keysOf('s')).toEqual(['s1']);
    await expect(engine.restore(vault, { into: 'x' })).rejects.toMatchObject({
      code: 'VARVE_INVALID_ARGUMENT',
    });
    await expect(engine.restore(vault, { space: 'none' })).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
    await engine.close();
  });

  test('a dry run proves every byte and writes nothing', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn();
    for (let i = 0; i < 5; i++) await engine.put(`k${i}`, bytesOf(i, 50_000));
    await engine.backup(vault);
    await engine.clear();
    const { seq } = engine.stats() as unknown as { seq: number };
    expect(await engine.restore(vault, { dryRun: true })).toMatchObject({ ok: true, dryRun: true, keys: 5 });
    expect((engine.stats() as unknown as { seq: number }).seq).toBe(seq);
    expect(await engine.has('k1')).toBe(false);
    await engine.close();
  });

  test('what is damaged in the vault is listed, and the rest restored', async () => {
    const { engine } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    for (let i = 0; i < 5; i++) await engine.put(`k${i}`, bytesOf(i, 9000));
    await engine.backup(vault);
    await engine.clear();
    const name = store.names().find((one) => one.startsWith(packPrefix))!;
    const bytes = await store.get(name, 1 << 30);
    const at = Buffer.from(bytes).indexOf(Buffer.from(bytesOf(2, 9000).subarray(0, 100)));
    bytes[at]! ^= 1;
    await store.put(name, bytes);
    const report = await engine.restore(vault);
    expect(report).toMatchObject({ ok: false, keys: 4 });
    expect(report.damage[0]).toMatchObject({ kind: 'VARVE_CORRUPT', keys: [expect.stringContaining('k2')] });
    expect(await engine.has('k2')).toBe(false);
    await engine.close();
  });

  test('a key written meanwhile is not overwritten, and an abort can be gone on from', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn();
    for (let i = 0; i < 200; i++) await engine.put(`k${i}`, bytesOf(i, 2000));
    await engine.backup(vault);
    await engine.clear();
    const stop = new AbortController();
    const first = engine.restore(vault, { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(first).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    const second = engine.restore(vault);
    await Promise.all(Array.from({ length: 200 }, (_, i) => engine.put(`k${i}`, 'mine')));
    const report = await second;
    expect(report.keys + report.same + report.kept).toBe(200);
    for (let i = 0; i < 200; i++) expect(Buffer.from((await engine.get(`k${i}`))!).toString()).toBe('mine');
    await engine.close();
  });

  test('options that mean nothing are refused', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn();
    await engine.backup(vault);
    const bad = [
      { what: 1 },
      { prefix: 1 },
      { prefixes: 'a' },
      { keys: [1] },
      { overwrite: 1 },
      { into: 1 },
      { dryRun: 'x' },
      { backup: 'a', at: new Date() },
    ];
    for (const options of bad)
      await expect(engine.restore(vault, options as never), JSON.stringify(options)).rejects.toMatchObject({
        code: 'VARVE_INVALID_ARGUMENT',
      });
    await engine.close();
  });

  test('a restore to a moment gives the keys and values of that moment', async () => {
    const { vault, moments, from, until, engine } = await runHistory(11, 40);
    await engine.close();
    for (let i = 0; i <= 4; i++) {
      const at = new Date(from + Math.floor(((until - from) * i) / 4));
      const { engine: other } = await newStore();
      const state = stateAt(moments, at.getTime());
      const report = await other.restore(vault, { at });
      expect(report).toMatchObject({ ok: true, keys: state.size, kept: 0 });
      expect(valuesOf(await everything(other)), at.toISOString()).toEqual(valuesOf(state));
      expect(await other.restore(vault, { at })).toMatchObject({ keys: 0, same: state.size });
      expect((await other.verify()).ok).toBe(true);
      const view = await openBackup(vault, { at });
      const seen: string[] = [];
      for await (const { key, seq } of view.scan()) seen.push(`${Buffer.from(key)} ${seq}`);
      const own = [...state].filter(([key]) => key.startsWith('/'));
      expect(seen).toEqual(own.map(([key, line]) => `${key.slice(1)} ${JSON.parse(line)[0]}`).sort());
    }
    const { engine: other } = await newStore();
    expect(await codeOf(other.restore(vault, { at: new Date(until + 1) }))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(other.restore(vault, { at: new Date(from - 1) }))).toBe('VARVE_NOT_FOUND');
  });
});
