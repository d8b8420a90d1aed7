/**
 * Power cuts and failing targets where a moment is restored, keys come back into an open store, schedules are
 * run, and on the disk of the store that is backed up and archived.
 */
import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { runRestore } from '../../src/backup/restore-run.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { bytesOf, newStore, openOn, TestClock } from '../engine/engine-kit.ts';
import { everything, restored, vaultOn } from './backup-kit.ts';
import { FaultyBlobs } from './faulty-blobs.ts';

/** Operations that are tried in each test, about; VARVE_POINTS=100000 is all of them. */
const wanted = Number(process.env.VARVE_POINTS ?? 5);

function* points(prng: Prng, count: number): Generator<number> {
  const step = Math.max(1, Math.floor(count / wanted));
  for (let at = prng.below(step); at < count; at += step) yield at;
}

/** Passes over what a power cut leaves of a call. */
function cutOff(error: unknown): void {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof CrashNow) return;
  if (!isVarveError(error, 'VARVE_POISONED', 'VARVE_CLOSED')) throw error;
}

/** A vault with a backup and log behind it: keys were changed, deleted and added. */
async function archived(): Promise<{ vault: Vault; at: Date; state: Map<string, string> }> {
  const { engine, clock } = await newStore();
  const vault = await vaultOn(new MemoryBlobs(), clock);
  for (let i = 0; i < 8; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
  await engine.put('tree', bytesOf(70, 60_000));
  await engine.backup(vault);
  await clock.advance(5);
  await engine.put('k1', bytesOf(100, 5000));
  await engine.space('s').put('x', bytesOf(101, 30_000));
  await engine.deleteRange({ prefix: 'k5' });
  const at = new Date(clock.now());
  const state = await everything(engine);
  await clock.advance(5);
  await engine.put('later', 'x');
  await engine.archive(vault);
  return { vault, at, state };
}

const bounds = { segmentBytes: 16 * 1024, memtableBytes: 64 * 1024 };

describe('a power cut at any operation', () => {
  test('of the target of a restore to a moment: there is no store, and the restore goes on', async () => {
    const { vault, at, state } = await archived();
    const dry = new MemoryFileSystem();
    await runRestore(vault.env, dry, { at }, bounds);
    const prng = new Prng(5);
    for (const point of points(prng, dry.opCount)) {
      const disk = new MemoryFileSystem();
      disk.failAt(point, 'crash');
      await runRestore(vault.env, disk, { at }, bounds).catch(cutOff);
      const after = disk.crash(prng.pick(['none', 'all', prng] as const));
      if ((await after.stat('SUPER')) === null)
        expect(await runRestore(vault.env, after, { at }, bounds)).toMatchObject({ ok: true, proved: true });
      const copy = await openOn(after);
      expect([...(await everything(copy))].sort(), `operation ${point}`).toEqual([...state].sort());
      expect((await copy.verify()).ok).toBe(true);
      await copy.close();
    }
  });

  test('of a store that keys are put back into: each is as it was or as in the vault', async () => {
    const { vault, at } = await archived();
    const { engine, disk: base } = await newStore({ durability: 'full' });
    await engine.put('k1', 'own');
    await engine.put('other', 'stays');
    await engine.close();
    const restore = async (disk: MemoryFileSystem): Promise<Engine> => {
      const open = await openOn(disk, { durability: 'full' });
      await open.restore(vault, { at });
      return open;
    };
    const whole = base.crash('all');
    const done = await restore(whole);
    const model = await valuesIn(done);
    await done.close();
    const prng = new Prng(6);
    for (const point of points(prng, whole.opCount)) {
      const disk = base.crash('all');
      disk.failAt(point, 'crash');
      await restore(disk)
        .then((open) => open.close())
        .catch(cutOff);
      const after = disk.crash(prng.pick(['none', 'all', prng] as const));
      const open = await openOn(after, { durability: 'full' });
      for (const [key, value] of await valuesIn(open))
        expect(value, `${key}, operation ${point}`).toBe(model.get(key));
      await open.restore(vault, { at });
      expect(await valuesIn(open), `operation ${point}`).toEqual(model);
      expect((await open.verify()).ok).toBe(true);
      await open.close();
    }
  });

  test('of the disk of a store that is backed up and archived: what the vault has is whole', async () => {
    const clock = new TestClock();
    const base = new MemoryFileSystem();
    const first = await openOn(base, { durability: 'full' }, undefined, clock);
    const blobs = new MemoryBlobs();
    for (let i = 0; i < 4; i++) await first.put(`k${i}`, bytesOf(i, 4000));
    await first.backup(await vaultOn(blobs, clock));
    await first.close();
    const work = async (disk: MemoryFileSystem, vault: Vault): Promise<void> => {
      const engine = await openOn(disk, { durability: 'full' }, undefined, clock);
      await engine.put('new', bytesOf(9, 9000));
      await clock.advance(5);
      await engine.archive(vault);
      await engine.backup(vault);
      await engine.close();
    };
    const dry = base.crash('all');
    await work(dry, await vaultOn(blobs.fork(), clock));
    const prng = new Prng(7);
    for (const point of points(prng, dry.opCount)) {
      const disk = base.crash('all');
      const vault = await vaultOn(blobs.fork(), clock);
      disk.failAt(point, 'crash');
      await work(disk, vault).catch(cutOff);
      for (const { id } of await vault.list())
        expect((await restored(vault, { backup: id })).report).toMatchObject({ ok: true, proved: true });
      // The store goes on with the vault, whatever it remembers of it.
      await work(disk.crash(prng.pick(['none', 'all', prng] as const)), vault);
      expect((await vault.verify()).damage, `operation ${point}`).toEqual([]);
      expect((await restored(vault)).report).toMatchObject({ ok: true, proved: true });
    }
  });
});

describe('a target that fails at any operation', () => {
  test.each([false, true])(
    'a schedule that is run removes nothing, and is made up for (behind: %s)',
    async (behind) => {
      const clock = new TestClock();
      const disk = new MemoryFileSystem();
      const blobs = new MemoryBlobs();
      const engine = await openOn(disk, {}, undefined, clock);
      const schedule = {
        cron: '0 * * * *',
        vault: 'v',
        keep: { last: 1 },
        verify: {},
        archive: { everyMs: 1000 },
      };
      const run = async (from: Engine, store: MemoryBlobs) =>
        from.schedules.run({ once: true, openVault: () => vaultOn(store, clock) });
      await engine.schedules.set('hourly', schedule);
      await clock.advance(3_600_000);
      await engine.put('k', bytesOf(1, 6000));
      await run(engine, blobs);
      await engine.put('k', bytesOf(2, 6000));
      await clock.advance(3_600_000);
      await engine.close();
      const copyOf = () => openOn(disk.crash('all'), {}, undefined, clock);
      const dry = new FaultyBlobs(blobs.entries());
      const sound = await copyOf();
      expect(await run(sound, dry)).toMatchObject({ ok: true, runs: [{ ok: true }] });
      await sound.close();
      expect(dry.calls).toBeGreaterThan(8);
      for (const at of points(new Prng(behind ? 8 : 9), dry.calls)) {
        const store = new FaultyBlobs(blobs.entries());
        Object.assign(store, { left: at, behind });
        const own = await copyOf();
        const failed = await run(own, store);
        expect(failed.ok, `call ${at}`).toBe(false);
        store.left = Number.POSITIVE_INFINITY;
        const vault = await vaultOn(store, clock);
        const before = await vault.list();
        expect(before.length).toBeGreaterThan(0);
        for (const { id } of before)
          expect((await restored(vault, { backup: id })).report).toMatchObject({ ok: true, proved: true });
        const again = await own.schedules.run({
          once: true,
          force: true,
          breakLock: true,
          openVault: async () => vault,
        });
        // A prune that was cut off has left its lock, which names this very process.
        if (!again.ok) expect(again.runs[0]!.error!.code, `call ${at}`).toBe('VARVE_LOCKED');
        await vault.prune({ breakLock: true });
        expect(await vault.list()).toHaveLength(1);
        expect((await vault.verify()).damage).toEqual([]);
        await own.close();
      }
    },
  );
});

/** Values of all keys. */
async function valuesIn(engine: Engine): Promise<Map<string, string>> {
  const lines = [...(await everything(engine))].map(
    ([key, line]) => [key, (JSON.parse(line) as unknown[])[2] as string] as const,
  );
  return new Map(lines.sort(([a], [b]) => (a < b ? -1 : 1)));
}
