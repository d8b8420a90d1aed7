/** Archives under failing targets, before and behind each call's effect, and beside prunes. */
import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { bytesOf, newStore } from '../engine/engine-kit.ts';
import { everything, vaultOn, withRestored } from './backup-kit.ts';
import { FaultyBlobs } from './faulty-blobs.ts';

describe('an archive', () => {
  test.each([false, true])(
    'that fails at any operation goes on without a gap (behind: %s)',
    async (behind) => {
      const { engine, clock } = await newStore();
      const base = new MemoryBlobs();
      await engine.backup(await vaultOn(base, clock));
      const states: { ms: number; state: Map<string, string> }[] = [];
      for (let i = 0; i < 3; i++) {
        await clock.advance(5);
        await engine.put(`k${i % 2}`, bytesOf(i, 9000));
        states.push({ ms: clock.now(), state: await everything(engine) });
      }
      await clock.advance(5);
      const dry = new FaultyBlobs(base.entries());
      await engine.archive(await vaultOn(dry, clock));
      expect(dry.calls).toBeGreaterThan(3);
      for (let at = 0; at < dry.calls; at++) {
        const store = new FaultyBlobs(base.entries());
        Object.assign(store, { left: at, behind });
        const vault = await vaultOn(store, clock);
        await expect(engine.archive(vault)).rejects.toThrow('the target is gone');
        store.left = Number.POSITIVE_INFINITY;
        // Whatever is claimed so far is true.
        for (const { until } of await vault.archives())
          if (until !== undefined) expect((await vault.verify()).ok).toBe(true);
        expect(await engine.archive(vault)).toMatchObject({ ok: true });
        for (const { ms, state } of states) {
          await withRestored(vault, { at: new Date(ms) }, async (again) =>
            expect([...(await everything(again))].sort()).toEqual([...state].sort()),
          );
        }
        expect((await vault.verify()).damage).toEqual([]);
      }
    },
  );

  test('a prune that marks what an archive relies on takes nothing from it', async () => {
    const { engine, clock } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store, clock);
    await engine.put('k', bytesOf(1, 30_000));
    await engine.backup(vault);
    await engine.delete('k');
    await engine.backup(vault);
    await vault.forget({ keep: { last: 1 } });
    await clock.advance(5);
    // The same bytes again: their pack is there, and nothing but a forgotten backup named it.
    await engine.put('again', bytesOf(1, 30_000));
    const ms = clock.now();
    await clock.advance(5);
    const put = store.put.bind(store);
    let pruned = false;
    store.put = async (name, data, options) => {
      if (name.endsWith('.wal') && !pruned) {
        pruned = true;
        await vault.prune({ graceMs: 1e9 });
      }
      return await put(name, data, options);
    };
    await engine.archive(vault);
    expect(pruned).toBe(true);
    store.put = put;
    await vault.prune();
    await vault.prune();
    await withRestored(vault, { at: new Date(ms) }, async (again) =>
      expect(Buffer.compare((await again.get('again'))!, bytesOf(1, 30_000))).toBe(0),
    );
    expect((await vault.verify()).damage).toEqual([]);
  });
});
