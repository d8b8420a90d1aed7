import { describe, expect, test } from 'vitest';
import { DirectoryBlobs } from '../../src/backup/directory-blobs.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { openVaultIn, type Vault } from '../../src/backup/vault.ts';
import { Prng } from '../../src/base/prng.ts';
import { openBackup } from '../../src/engine/backups/backup-view.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, codeOf, newStore, TestClock } from '../engine/engine-kit.ts';
import { vaultOn, withRestored } from './backup-kit.ts';

/** A vault with `n` backups, each of which has a value of its own. */
async function vaultWith(
  n: number,
  store = new MemoryBlobs(),
): Promise<{ vault: Vault; engine: Engine; ids: string[] }> {
  const { engine } = await newStore();
  const clock = new TestClock();
  const vault = await vaultOn(store, clock);
  const ids: string[] = [];
  await engine.put('always', bytesOf(1, 20_000));
  for (let i = 0; i < n; i++) {
    await engine.put('changing', bytesOf(10 + i, 20_000));
    ids.push((await engine.backup(vault, { tags: [`t${i}`] })).id);
    clock.ms += 3600 * 1000;
  }
  return { vault, engine, ids };
}

/** A store of one key, a vault for it whose clock a test moves while `put` puts, and what `put` was. */
async function slowTarget() {
  const store = new MemoryBlobs();
  const clock = new TestClock();
  const { engine } = await newStore();
  const vault = await vaultOn(store, clock);
  await engine.put('a', bytesOf(1, 9000));
  return { store, clock, engine, vault, put: store.put.bind(store) };
}

describe('vault', () => {
  test('is made when asked for, found again, and never made over backups', async () => {
    const store = new MemoryBlobs();
    const means = { clock: new TestClock(), random: (n: number) => bytesOf(n, n) };
    expect(await codeOf(openVaultIn(store, {}, means))).toBe('VARVE_NOT_FOUND');
    const vault = await openVaultIn(store, { create: true }, means);
    expect((await openVaultIn(store, {}, means)).id).toBe(vault.id);
    const { vault: other } = await vaultWith(1);
    await other.env.store.delete('VAULT');
    expect(await codeOf(openVaultIn(other.env.store, { create: true }, means))).toBe('VARVE_CORRUPT');
  });

  test('lists, counts and compares backups', async () => {
    const { vault, engine, ids } = await vaultWith(2);
    await engine.delete('always');
    await engine.put('new', 'x');
    await engine.space('s').put('k', 'y');
    ids.push((await engine.backup(vault)).id);
    expect((await vault.list()).map(({ id }) => id)).toEqual(ids);
    expect(await vault.stats()).toMatchObject({ backups: 3, packs: 3, unfinished: 0, pendingPacks: 0 });
    const changes: unknown[] = [];
    for await (const change of vault.diff(ids[1]!, ids[2]!)) changes.push(change);
    expect(changes).toEqual([
      { key: 'always', change: 'removed', before: 20_000 },
      { key: 'new', change: 'added', after: 1 },
      { key: 'k', space: 's', change: 'added', after: 1 },
    ]);
    const none: unknown[] = [];
    for await (const change of vault.diff(ids[1]!, ids[1]!)) none.push(change);
    expect(none).toEqual([]);
  });

  test('forget and prune remove what only forgotten backups needed', async () => {
    const { vault, ids } = await vaultWith(4);
    const dry = await vault.forget({ keep: { last: 1, tags: ['t1'] }, dryRun: true });
    expect(dry.removed.map(({ id }) => id)).toEqual([ids[0], ids[2]]);
    expect(dry.kept.map(({ reasons }) => reasons)).toEqual([['tags'], ['last', 'newest proved']]);
    expect(await vault.list()).toHaveLength(4);
    await vault.forget({ keep: { last: 1, tags: ['t1'] } });
    const would = await vault.prune({ dryRun: true });
    expect(would).toMatchObject({ markedPacks: 1, deletedPacks: 0, keptPacks: 3 });
    const before = await vault.stats();
    const pruned = await vault.prune();
    expect(pruned).toMatchObject({ markedPacks: 1, deletedPacks: 1, keptPacks: 3 });
    const after = await vault.stats();
    expect(after.packs).toBe(before.packs - 1);
    expect(after.pendingPacks).toBe(0);
    expect((await vault.verify()).ok).toBe(true);
    expect(await vault.prune()).toMatchObject({ markedPacks: 0, deletedPacks: 0 });
    for (const id of [ids[1]!, ids[3]!]) {
      await withRestored(vault, { backup: id }, async (_copy, report) => expect(report.proved).toBe(true));
    }
  });

  test('each backup restores alone with all others forgotten and pruned', async () => {
    for (const chosen of [0, 1, 2]) {
      const { vault, ids } = await vaultWith(3);
      for (const info of await vault.list()) {
        if (info.id === ids[chosen]) continue;
        const name = `snaps/${info.time.getTime().toString(16).padStart(16, '0')}-${info.id}.snap`;
        expect(await vault.env.store.delete(name)).toBe(true);
      }
      await vault.prune();
      await withRestored(vault, {}, async (copy, report) => {
        expect(report).toMatchObject({ ok: true, proved: true });
        expect(Buffer.compare((await copy.get('changing'))!, bytesOf(10 + chosen, 20_000))).toBe(0);
      });
    }
  });

  test('a prune with a grace marks first and deletes later', async () => {
    const clock = new TestClock();
    const { engine } = await newStore();
    const vault = await vaultOn(new MemoryBlobs(), clock);
    await engine.put('a', bytesOf(1, 9000));
    await engine.backup(vault);
    await engine.put('a', bytesOf(2, 9000));
    await engine.backup(vault);
    await vault.forget({ keep: { last: 1 } });
    expect(await vault.prune({ graceMs: 1000 })).toMatchObject({ markedPacks: 1, deletedPacks: 0 });
    expect((await vault.stats()).pendingPacks).toBe(1);
    // A backup of what is about to go is sent anew.
    await engine.put('a', bytesOf(1, 9000));
    expect((await engine.backup(vault)).newBytes).toBeGreaterThan(9000);
    clock.ms += 1000;
    expect(await vault.prune({ graceMs: 1000 })).toMatchObject({ markedPacks: 0, deletedPacks: 1 });
    await withRestored(vault, {}, async (_copy, report) => expect(report.proved).toBe(true));
  });

  test('a prune refuses where a backup is not whole, and touches nothing', async () => {
    const store = new MemoryBlobs();
    const { vault } = await vaultWith(3, store);
    await vault.forget({ keep: { last: 2 } });
    const packs = store.names().filter((name) => name.startsWith('packs/'));
    const sizes = await Promise.all(packs.map((name) => store.size(name)));
    await store.delete(packs[sizes.indexOf(Math.max(...sizes.map((size) => size!)))]!);
    const before = store.names();
    expect(await codeOf(vault.prune())).toBe('VARVE_CORRUPT');
    expect(store.names()).toEqual(before);
  });

  test('one prune at a time: a lock that may be alive is respected, one that is dead is not', async () => {
    const { vault } = await vaultWith(1);
    const { lockPrune } = await import('../../src/backup/vault-lock.ts');
    const lock = await lockPrune(vault.env, false);
    expect(await codeOf(vault.prune())).toBe('VARVE_LOCKED');
    expect((await vault.prune({ breakLock: true })).ok).toBe(true);
    expect(await codeOf(lock.check())).toBe('VARVE_LOCKED');
    await lock.release();
    expect((await vault.prune()).ok).toBe(true);
    expect((vault.env.store as MemoryBlobs).names().some((name) => name.startsWith('locks/'))).toBe(false);
  });

  test('a run that never ended is given up, and can no more commit', async () => {
    const { store, clock, engine, vault, put } = await slowTarget();
    store.put = async (name, data, options) => {
      if (name.endsWith('.snap') && clock.ms === 1_700_000_000_000) {
        clock.ms += 25 * 3600 * 1000;
        expect((await vault.prune()).expiredParts).toBe(1);
      }
      return await put(name, data, options);
    };
    expect(await codeOf(engine.backup(vault))).toBe('VARVE_CONFLICT');
    expect(await vault.list()).toEqual([]);
    expect((await engine.backup(vault)).ok).toBe(true);
    await withRestored(vault, {}, async (_copy, report) => expect(report.proved).toBe(true));
  });

  test('a run whose packs took more than a day to put is not taken for dead', async () => {
    const { store, clock, engine, vault, put } = await slowTarget();
    let expired: number | undefined;
    store.put = async (name, data, options) => {
      if (name.startsWith('packs/')) clock.ms += 30 * 3600 * 1000;
      if (name.endsWith('.snap')) expired = (await vault.prune()).expiredParts;
      return await put(name, data, options);
    };
    expect((await engine.backup(vault)).ok).toBe(true);
    expect(expired).toBe(0);
    expect(await vault.list()).toHaveLength(1);
    await withRestored(vault, {}, async (_copy, report) => expect(report.proved).toBe(true));
  });

  test('many index objects become few, and every chunk is found all the time', async () => {
    const { vault } = await vaultWith(24);
    const stats = await vault.stats();
    expect(stats.indexObjects).toBeLessThan(18);
    expect((await vault.verify()).ok).toBe(true);
    for (const { id } of (await vault.list()).slice(0, 3)) {
      await withRestored(vault, { backup: id }, async (_copy, report) => expect(report.proved).toBe(true));
    }
  });

  test('wrong arguments are refused before anything is done', async () => {
    const { vault, engine } = await vaultWith(1);
    const calls: (() => Promise<unknown>)[] = [
      () => vault.forget({ keep: {} }),
      () => vault.forget({ keep: { last: -1 } }),
      () => vault.forget({ keep: { dayly: 1 } as never }),
      () => vault.forget({ keep: { last: 1 }, timeZone: 'Nowhere/At all' }),
      () => vault.verify({ level: 4 as never }),
      () => vault.verify({ subset: { part: 3, of: 2 } }),
      () => vault.prune({ graceMs: -1 }),
      () => engine.backup(vault, { mode: 'other' as never }),
      () => engine.backup(vault, { tag: 'x' } as never),
      () => engine.backup({} as never),
    ];
    for (const call of calls) expect(await codeOf(call())).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('works on a directory as in memory', async () => {
    const prng = new Prng(3);
    const blobs = await DirectoryBlobs.open(new MemoryFileSystem(), (n) => prng.bytes(n));
    const { engine } = await newStore();
    const vault = await vaultOn(blobs as never);
    await engine.put('a', bytesOf(1, 50_000));
    await engine.backup(vault);
    await engine.put('a', bytesOf(2, 50_000));
    await engine.backup(vault);
    await vault.forget({ keep: { last: 1 } });
    expect(await vault.prune()).toMatchObject({ deletedPacks: 1 });
    expect((await vault.verify()).ok).toBe(true);
    await withRestored(vault, {}, async (_copy, report) => expect(report.proved).toBe(true));
  });

  test('what is neither true nor false is refused: no dry run becomes a real one', async () => {
    const { vault, engine, ids } = await vaultWith(3);
    const keep = { last: 1 };
    const view = await vault.list();
    for (const call of [
      () => vault.forget({ keep, dryRun: 'yes' as never }),
      () => vault.forget({ keep, dryRun: 1 as never }),
      () => vault.forget({ keep, store: ids[0]!.slice(0, 8) }),
      () => vault.prune({ dryRun: 'yes' as never }),
      () => vault.prune({ breakLock: 'yes' as never }),
      () => vault.prune({ onProgress: 5 as never }),
      () => vault.verify({ maxMs: Number.NaN }),
      () => vault.verify({ maxMs: -1 }),
      () => vault.verify({ subset: null as never }),
      () => engine.backup(vault, { dryRun: 'yes' as never }),
      () => engine.backup(vault, { verify: 'no' as never }),
      () => engine.backup(vault, { onProgress: 5 as never }),
      () => engine.restore(vault, { dryRun: 1 as never }),
      () => engine.archive(vault, { onRound: 5 as never }),
      () => openBackup(vault, { backup: 5 as never }),
      () => vault.diff(ids[0]!, 5 as never).next(),
      () => engine.spaces.list({ policies: 'yes' as never }),
    ]) {
      expect(await codeOf(call as () => unknown), String(call)).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(await vault.list()).toEqual(view);
  });

  test('a call whose signal has fired does nothing, also where there would be nothing to do', async () => {
    const { vault, engine } = await vaultWith(2);
    const signal = AbortSignal.abort();
    for (const call of [
      () => engine.backup(vault, { signal }),
      () => engine.backup(vault, { signal, dryRun: true }),
      () => engine.restore(vault, { signal }),
      () => engine.archive(vault, { signal }),
      () => vault.forget({ keep: { last: 9 }, signal }),
      () => vault.prune({ signal }),
      () => vault.verify({ level: 0, signal }),
    ]) {
      expect(await codeOf(call as () => unknown), String(call)).toBe('VARVE_ABORTED');
    }
    expect(await vault.list()).toHaveLength(2);
  });
});
