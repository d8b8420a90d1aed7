/**
 * Targets that lie: what they took is not there, calls that run side by side end in another order, and what
 * others have put is seen late. Backups of before stay whole, and what is lost is noticed.
 */
import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { isVarveError, VarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, newStore, TestClock } from '../engine/engine-kit.ts';
import { everything, restored, vaultOn, withRestored } from './backup-kit.ts';
import { FaultyBlobs, LateClient, LateTarget } from './faulty-blobs.ts';

const hourMs = 3_600_000;

/** Every backup restores with its root, but for `lost`. */
async function allWhole(vault: Vault, what: string, lost?: string): Promise<void> {
  for (const { id } of await vault.list()) {
    if (id === lost) continue;
    const { report } = await restored(vault, { backup: id });
    expect(report, `${what}, backup ${id}`).toMatchObject({ ok: true, proved: true });
  }
}

/** A store with a backup in `base`, and something new. */
async function newsIn(base: MemoryBlobs): Promise<Engine> {
  const { engine } = await newStore();
  for (let i = 0; i < 4; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
  await engine.backup(await vaultOn(base));
  await engine.put('new', bytesOf(50, 9000));
  return engine;
}

/** Loses what is put under the n-th name; the names of all puts. */
function losing(base: MemoryBlobs, n: number): { store: FaultyBlobs; names: string[] } {
  const store = new FaultyBlobs(base.entries());
  const names: string[] = [];
  store.loses = (name) => names.push(name) - 1 === n;
  return { store, names };
}

describe('a target that loses what it took', () => {
  test.each([true, false])('a backup is whole, or says so (read back: %s)', async (verify) => {
    const base = new MemoryBlobs();
    const engine = await newsIn(base);
    const dry = losing(base, -1);
    await engine.backup(await vaultOn(dry.store), { verify });
    expect(dry.names.length).toBeGreaterThan(3);
    for (let n = 0; n < dry.names.length; n++) {
      const { store, names } = losing(base, n);
      const vault = await vaultOn(store);
      const report = await engine.backup(vault, { verify }).catch((error: unknown) => error);
      const lost = names[n]!;
      store.loses = () => false;
      if (report instanceof VarveError) {
        // The loss is told by the run, and what was there before is whole.
        expect(`${report.code} ${report.file}`).toBe(`VARVE_IO ${lost}`);
        await allWhole(vault, `${lost} lost`);
      } else {
        const known = engine.health().backups.filter(({ vault: id }) => id === vault.id);
        const proof = await vault.verify({ expect: known });
        const isSnap = lost.endsWith('.snap');
        expect(proof.ok, `${lost} lost: ${JSON.stringify(proof.damage)}`).toBe(!isSnap);
        if (isSnap) expect(proof.damage[0]!.message).toContain(lost.split('-')[1]!.split('.')[0]!);
        await allWhole(vault, `${lost} lost`);
      }
      expect((await engine.backup(vault)).ok).toBe(true);
      await allWhole(vault, `${lost} lost, and a run behind it`);
      const again = engine.health().backups.filter(({ vault: id }) => id === vault.id);
      expect((await vault.verify({ expect: again })).damage, lost).toEqual([]);
    }
  });

  test('a pack that goes later is named, with its keys and backups, and a full backup mends it', async () => {
    const base = new MemoryBlobs();
    const engine = await newsIn(base);
    const vault = await vaultOn(base);
    await engine.backup(vault);
    const snaps = (await vault.list()).map(({ id }) => id);
    const kinds = ['packs/', 'idx/', 'snaps/'];
    for (const name of base.names().filter((one) => kinds.some((kind) => one.startsWith(kind)))) {
      const store = base.fork();
      const bytes = await store.get(name, 1 << 20);
      await store.delete(name);
      const less = await vaultOn(store);
      const { ok, damage } = await less.verify({ expect: snaps.map((backup) => ({ backup })) });
      if (name.startsWith('idx/')) expect(ok, 'packs say themselves what they hold').toBe(true);
      else {
        expect(ok, name).toBe(false);
        const told = JSON.stringify(damage);
        if (name.startsWith('packs/')) {
          expect(
            damage.some(({ file }) => file === name),
            told,
          ).toBe(true);
          expect(
            damage.some(({ snapshots }) => (snapshots ?? []).length > 0),
            told,
          ).toBe(true);
        } else expect(told).toContain(name.split('-')[1]!.split('.')[0]!);
      }
      await engine.backup(less, { mode: 'full' });
      const last = (await less.list()).at(-1)!.id;
      expect((await restored(less, { backup: last })).report).toMatchObject({ ok: true, proved: true });
      await store.put(name, bytes);
      expect((await less.verify()).ok, name).toBe(true);
    }
  });

  test('an archive is whole up to where it claims, or says so', async () => {
    const { engine, clock } = await newStore();
    const base = new MemoryBlobs();
    await engine.backup(await vaultOn(base, clock));
    await clock.advance(5);
    await engine.put('k', bytesOf(1, 9000));
    const at = new Date(clock.now());
    const state = await everything(engine);
    await clock.advance(5);
    const dry = losing(base, -1);
    await engine.archive(await vaultOn(dry.store, clock));
    for (let n = 0; n < dry.names.length; n++) {
      const { store, names } = losing(base, n);
      const vault = await vaultOn(store, clock);
      const report = await engine.archive(vault).catch((error: unknown) => error);
      store.loses = () => false;
      const lost = names[n]!;
      if (report instanceof VarveError) expect(`${report.code} ${report.file}`).toBe(`VARVE_IO ${lost}`);
      await engine.archive(vault);
      expect((await vault.verify()).damage, lost).toEqual([]);
      await withRestored(vault, { at }, async (again) =>
        expect([...(await everything(again))].sort(), lost).toEqual([...state].sort()),
      );
    }
  });

  test('archived log that goes later is named', async () => {
    const { engine, clock } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store, clock);
    await engine.backup(vault);
    for (let i = 0; i < 2; i++) {
      await clock.advance(5);
      await engine.put('k', `v${i}`);
      await engine.archive(vault);
    }
    const objects = store.names().filter((name) => name.endsWith('.wal'));
    expect(objects).toHaveLength(2);
    await store.delete(objects[1]!);
    const dir = objects[1]!.slice(0, objects[1]!.lastIndexOf('/') + 1);
    expect((await vault.verify()).damage).toMatchObject([{ file: `${dir}until` }]);
    // Not where a backup has come behind it.
    await engine.backup(vault);
    expect((await vault.verify()).damage).toEqual([]);
  });

  test('deletions that do not happen harm nothing', async () => {
    const base = new MemoryBlobs();
    const engine = await newsIn(base);
    const store = new FaultyBlobs(base.entries());
    const vault = await vaultOn(store);
    await engine.backup(vault);
    store.keeps = (name) => !name.startsWith('locks/');
    await vault.forget({ keep: { last: 1 } });
    expect(await vault.list()).toHaveLength(2);
    await vault.prune();
    await engine.put('new', bytesOf(51, 9000));
    await engine.backup(vault);
    await allWhole(vault, 'nothing deleted');
    expect((await vault.verify()).ok).toBe(true);
    store.keeps = () => false;
    await vault.forget({ keep: { last: 1 } });
    await vault.prune();
    expect(await vault.list()).toHaveLength(1);
    await allWhole(vault, 'deleted in the end');
  });
});

describe('a target that reorders and shows late', () => {
  test('calls that end in another order than they began change nothing', async () => {
    for (let seed = 1; seed <= 3; seed++) {
      const { engine } = await newStore();
      for (let i = 0; i < 4; i++) await engine.put(`k${i}`, bytesOf(i, 8000));
      const store = new FaultyBlobs();
      store.jitter = new Prng(seed);
      const vault = await vaultOn(store);
      await engine.backup(vault);
      await engine.put('k0', bytesOf(99, 20_000));
      await Promise.all([engine.backup(vault), vault.prune({ graceMs: 0 }).catch(mayGiveWay)]);
      await vault.forget({ keep: { last: 1 } });
      await vault.prune();
      await allWhole(vault, `seed ${seed}`);
      expect((await vault.verify()).ok).toBe(true);
    }
  });

  test('what others put is seen up to an hour late: no backup loses a chunk within the grace', async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const prng = new Prng(seed);
      const clock = new TestClock();
      const target = new LateTarget(clock, prng, hourMs);
      const founder = await vaultOn(new LateClient(target), clock);
      await clock.advance(2 * hourMs);
      const vaults = [founder];
      for (let i = 0; i < 2; i++) vaults.push(await vaultOn(new LateClient(target), clock));
      const engines = [(await newStore()).engine, (await newStore()).engine];
      for (let step = 0; step < 24; step++) {
        const vault = prng.pick(vaults);
        const engine = prng.pick(engines);
        await engine.put('value', bytesOf(prng.below(3), 4000));
        const act = prng.below(6);
        if (act < 3) await engine.backup(prng.pick(vaults)).catch(mayGiveWay);
        else if (act < 5) {
          if (prng.chance(0.6)) await vault.forget({ keep: { last: 1 } });
          await vault.prune().catch(mayGiveWay);
        } else {
          const other = vaults[(vaults.indexOf(vault) + 1) % vaults.length]!;
          await Promise.all([engine.backup(other).catch(mayGiveWay), vault.prune().catch(mayGiveWay)]);
        }
        await clock.advance(prng.pick([1000, 20 * 60_000, 2 * hourMs, 13 * hourMs]));
      }
      await clock.advance(50 * hourMs);
      const all = await vaultOn(target.settled(), clock);
      await allWhole(all, `seed ${seed}`);
      // Index objects that were merged unseen by each other may go on naming packs that are gone.
      await all.prune({ graceMs: 0 });
      expect((await all.verify({ level: 0 })).damage, `seed ${seed}`).toEqual([]);
      await allWhole(all, `seed ${seed}, pruned`);
    }
  });
});

/** Errors that a call may end with where others get in its way, or are not seen whole yet. */
function mayGiveWay(error: unknown): void {
  if (!isVarveError(error, 'VARVE_CONFLICT', 'VARVE_LOCKED', 'VARVE_CORRUPT', 'VARVE_NOT_FOUND')) throw error;
}
