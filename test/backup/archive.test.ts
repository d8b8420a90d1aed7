import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { archivePrefix } from '../../src/format/vault-names.ts';
import { bytesOf, codeOf, newStore, openOn, text } from '../engine/engine-kit.ts';
import { checkMoments, runHistory } from './archive-kit.ts';
import { restored, rootOf, vaultOn, withRestored } from './backup-kit.ts';

describe('an archived log', () => {
  test.each([1, 2, 3])('the store at any moment equals the model (%i)', async (seed) => {
    const history = await runHistory(seed, 40);
    await checkMoments(history, seed, 5);
    expect((await history.vault.verify()).damage).toEqual([]);
    await history.engine.close();
  });

  test('a store restored to a moment has the root of a backup at that moment', async () => {
    const { engine, clock } = await newStore();
    const vault = await vaultOn(new MemoryBlobs(), clock);
    for (let i = 0; i < 30; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
    await engine.backup(vault);
    await clock.advance(10);
    for (let i = 0; i < 10; i++) await engine.put(`k${i * 5}`, bytesOf(100 + i, 4000));
    await engine.deleteRange({ prefix: 'k2' });
    const at = clock.now();
    await clock.advance(10);
    const then = await vaultOn(new MemoryBlobs(), clock);
    await engine.backup(then);
    await engine.put('later', 'x');
    await clock.advance(10);
    await engine.archive(vault);
    await withRestored(vault, { at: new Date(at) }, async (again, { replayed }) => {
      expect(replayed).toBeGreaterThan(10);
      const own = await vaultOn();
      await again.backup(own);
      expect(await rootOf(own)).toBe(await rootOf(then));
    });
  });

  test('a round has every commit before its call, whatever the durability', async () => {
    for (const durability of ['os', { groupMs: 60_000 }] as const) {
      const { engine, clock } = await newStore({ durability });
      const vault = await vaultOn(new MemoryBlobs(), clock);
      await engine.backup(vault);
      await engine.put('k', '1');
      await clock.advance(10);
      const { seq } = await engine.put('k', '2');
      expect(await engine.archive(vault)).toMatchObject({ ok: true, to: seq });
      await clock.advance(10);
      await engine.put('k', '3');
      await clock.advance(10);
      await engine.archive(vault);
      const at = new Date(clock.now() - 15);
      await withRestored(vault, { at }, async (again) => {
        expect(text(await again.get('k'))).toBe('2');
      });
      await engine.close();
    }
  });

  test('what is overwritten between rounds is archived, also where no old log is kept', async () => {
    const { engine, clock } = await newStore({ changesRetention: { bytes: 0 } });
    const vault = await vaultOn(new MemoryBlobs(), clock);
    await engine.backup(vault);
    const stop = new AbortController();
    const reports: number[] = [];
    const done = engine.archive(vault, {
      everyMs: 100,
      signal: stop.signal,
      onRound: ({ to }) => reports.push(to),
    });
    while (reports.length === 0) await clock.advance(0);
    const moments: number[] = [];
    for (let i = 0; i < 8; i++) {
      await clock.advance(5);
      await engine.put('k', bytesOf(i, 30_000));
      moments.push(clock.now());
      await engine.flush();
      await engine.compact();
    }
    const rounds = reports.length;
    while (reports.length < rounds + 2) await clock.advance(100);
    stop.abort();
    while ((await Promise.race([done.then(() => true), clock.advance(100)])) !== true);
    expect((await done).ok).toBe(true);
    for (const [i, ms] of moments.entries()) {
      await withRestored(vault, { at: new Date(ms) }, async (again) => {
        expect(Buffer.compare((await again.get('k'))!, bytesOf(i, 30_000))).toBe(0);
      });
    }
  });

  test('a listener that throws ends the call, and the next one goes on', async () => {
    const { engine } = await newStore();
    const vault = await vaultOn();
    await engine.backup(vault);
    await engine.put('k', 'v');
    const onRound = (): void => {
      throw new Error('mine');
    };
    await expect(engine.archive(vault, { onRound })).rejects.toThrow('mine');
    await engine.put('k', 'w');
    expect(await engine.archive(vault)).toMatchObject({ ok: true, objects: 1 });
  });

  test('a gap is an error, and so is a moment behind the end', async () => {
    const { engine, clock } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store, clock);
    await engine.backup(vault);
    const moments: number[] = [];
    for (let i = 0; i < 3; i++) {
      await clock.advance(10);
      await engine.put('k', `v${i}`);
      moments.push(clock.now());
      await clock.advance(10);
      await engine.archive(vault);
    }
    const at = (ms: number) => ({ at: new Date(ms) });
    await withRestored(vault, at(moments[1]!), async (again) =>
      expect(text(await again.get('k'))).toBe('v1'),
    );
    await withRestored(vault, at(clock.now() - 1), async (again) =>
      expect(text(await again.get('k'))).toBe('v2'),
    );
    expect(await codeOf(restored(vault, at(clock.now())))).toBe('VARVE_HISTORY_GONE');
    const objects = store.names().filter((name) => name.startsWith(archivePrefix) && name.endsWith('.wal'));
    expect(objects.length).toBe(3);
    await store.delete(objects[1]!);
    expect((await vault.archives())[0]!.spans.length).toBe(2);
    await withRestored(vault, at(moments[0]! - 1), async (again) => expect(await again.has('k')).toBe(false));
    expect(await codeOf(restored(vault, at(moments[1]!)))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(restored(vault, at(moments[2]!)))).toBe('VARVE_HISTORY_GONE');
    await store.delete(objects[2]!);
    expect(await codeOf(restored(vault, at(moments[2]!)))).toBe('VARVE_HISTORY_GONE');
  });

  test('it begins at a backup, and goes on at one where the log is not kept', async () => {
    const { engine, clock } = await newStore({ changesRetention: { bytes: 0 } });
    const vault = await vaultOn(new MemoryBlobs(), clock);
    await engine.put('k', 'v');
    expect(await codeOf(engine.archive(vault))).toBe('VARVE_NOT_FOUND');
    await engine.backup(vault);
    await engine.archive(vault);
    for (let i = 0; i < 5; i++) {
      await engine.put('k', `w${i}`);
      await engine.flush();
    }
    expect(await codeOf(engine.archive(vault))).toBe('VARVE_HISTORY_GONE');
    await clock.advance(10);
    await engine.backup(vault);
    const report = await engine.archive(vault);
    expect(report.gap).toBeDefined();
    await clock.advance(10);
    await engine.put('k', 'last');
    const ms = clock.now();
    await clock.advance(10);
    expect((await engine.archive(vault)).gap).toBeUndefined();
    await withRestored(vault, { at: new Date(ms) }, async (again) =>
      expect(text(await again.get('k'))).toBe('last'),
    );
  });

  test('prune keeps what archived values need, and drops archives that no backup is left for', async () => {
    const { engine, clock } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store, clock);
    await engine.backup(vault);
    await clock.advance(10);
    await engine.put('k', bytesOf(1, 50_000));
    const ms = clock.now();
    await clock.advance(10);
    await engine.archive(vault);
    await engine.delete('k');
    await clock.advance(10);
    await engine.archive(vault);
    expect(await vault.prune()).toMatchObject({ deletedPacks: 0, deletedArchives: 0 });
    await withRestored(vault, { at: new Date(ms) }, async (again) =>
      expect(Buffer.compare((await again.get('k'))!, bytesOf(1, 50_000))).toBe(0),
    );
    expect(await vault.prune({ archiveMs: 1000, dryRun: true })).toMatchObject({ deletedArchives: 0 });
    await engine.backup(vault);
    await vault.forget({ keep: { last: 1 } });
    expect(await vault.prune({ dryRun: true })).toMatchObject({ deletedArchives: 2 });
    expect(await vault.prune()).toMatchObject({ deletedArchives: 2 });
    expect(store.names().filter((name) => name.endsWith('.wal'))).toEqual([]);
    expect((await vault.verify()).ok).toBe(true);
    await clock.advance(10);
    await engine.archive(vault);
  });

  test('flipped bits of archives are found by verify', async () => {
    const { engine, clock } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store, clock);
    await engine.backup(vault);
    await engine.put('k', 'v');
    await engine.archive(vault);
    for (const name of store.names().filter((one) => one.startsWith(archivePrefix))) {
      const bytes = await store.get(name, 1 << 20);
      for (let bit = 0; bit < bytes.length * 8; bit += 11) {
        const bad = bytes.slice();
        bad[bit >> 3]! ^= 1 << (bit & 7);
        await store.put(name, bad);
        expect((await vault.verify({ level: 0 })).damage[0], `${name} ${bit}`).toMatchObject({ file: name });
      }
      await store.put(name, bytes);
    }
    expect((await vault.verify()).ok).toBe(true);
  });

  test('a space, prefixes and keys can be restored as of a moment', async () => {
    const { engine, clock } = await newStore();
    const vault = await vaultOn(new MemoryBlobs(), clock);
    for (const key of ['a1', 'a2', 'b1']) await engine.put(key, 'old');
    await engine.backup(vault);
    await clock.advance(5);
    await engine.space('s').put('x', 'in s');
    await engine.put('a2', 'new');
    await engine.put('a3', 'new');
    await engine.delete('a1');
    await engine.put('b1', 'new');
    const at = new Date(clock.now());
    await clock.advance(5);
    await engine.archive(vault);
    await withRestored(vault, { at, prefix: 'a' }, async (again) => {
      expect(text(await again.get('a2'))).toBe('new');
      expect(text(await again.get('a3'))).toBe('new');
      expect(await again.has('a1')).toBe(false);
      expect(await again.has('b1')).toBe(false);
    });
    await withRestored(vault, { at, space: 's' }, async (again) =>
      expect(text(await again.space('s').get('x'))).toBe('in s'),
    );
    const { disk } = await restored(vault, { at, keys: ['b1'] });
    const again = await openOn(disk);
    expect(text(await again.get('b1'))).toBe('new');
    expect(await again.has('a2')).toBe(false);
    await again.close();
  });
});
