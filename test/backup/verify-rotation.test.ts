import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { Rotation } from '../../src/backup/verify-rotation.ts';
import { bytesOf, codeOf, newStore, TestClock } from '../engine/engine-kit.ts';
import { vaultOn } from './backup-kit.ts';

describe('verifies that take turns', () => {
  test('as many runs as there are parts look at every pack', async () => {
    const vault = await vaultOn(new MemoryBlobs());
    const hex = fc
      .uint8Array({ minLength: 32, maxLength: 32 })
      .map((bytes) => Buffer.from(bytes).toString('hex'));
    const packs = fc.uniqueArray(hex, { minLength: 1, maxLength: 30 });
    const plan = fc.record({
      packs,
      parts: fc.integer({ min: 1, max: 9 }),
      stops: fc.array(fc.nat({ max: 5 })),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ packs: hashes, parts, stops }) => {
        await vault.env.store.delete('verified/level-3');
        const last = [...hashes].sort().at(-1)!;
        const seen = new Set<string>();
        const run = async (most: number): Promise<void> => {
          const rotation = await Rotation.load(vault.env, 3);
          for (const i of rotation.choose(hashes, parts).slice(0, most)) {
            seen.add(hashes[i]!);
            rotation.passed(hashes[i]!, hashes[i] === last);
          }
          await rotation.save();
        };
        // Runs that were ended early, then as many whole ones as there are parts.
        for (const stop of stops) await run(stop + 1);
        seen.clear();
        for (let i = 0; i < parts; i++) await run(Number.POSITIVE_INFINITY);
        expect(seen.size).toBe(hashes.length);
      }),
      { numRuns: 100 },
    );
  });

  test('a vault is covered, pack by pack, and says since when', async () => {
    const clock = new TestClock();
    const vault = await vaultOn(new MemoryBlobs(), clock);
    const { engine } = await newStore();
    for (let i = 0; i < 8; i++) {
      await engine.put(`k${i}`, bytesOf(i, 5000));
      await engine.backup(vault);
    }
    const { packs } = await vault.stats();
    expect(packs).toBeGreaterThanOrEqual(8);
    const began = new Date(clock.ms);
    let looked = 0;
    for (let part = 0; part < 3; part++) {
      await clock.advance(1000);
      const report = await vault.verify({ rotate: 3 });
      expect(report.ok).toBe(true);
      looked += report.packs;
      if (part < 2) expect(report.coveredSince).toBeUndefined();
      else expect(report.coveredSince).toEqual(new Date(began.getTime() + 1000));
    }
    expect(looked).toBeGreaterThanOrEqual(packs);
    // However short the time, each run looks at one pack at the least, and levels go by themselves.
    expect(await vault.verify({ rotate: 1, maxMs: 0 })).toMatchObject({ packs: 1, complete: false });
    expect((await vault.verify({ level: 2, rotate: 2 })).coveredSince).toBeUndefined();
    // What cannot be read is begun anew.
    await vault.env.store.put('verified/level-3', new Uint8Array(64).fill(1));
    expect((await vault.verify({ rotate: 2 })).coveredSince).toBeUndefined();
    for (const wrong of [
      { rotate: 0 },
      { rotate: 2, level: 1 },
      { rotate: 2, subset: { part: 1, of: 2 } },
    ] as const)
      expect(await codeOf(vault.verify(wrong))).toBe('VARVE_INVALID_ARGUMENT');
  });
});

describe('test restores', () => {
  test('values of keys chosen by chance are read whole, and damage is named', async () => {
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    const { engine } = await newStore();
    expect(await vault.verify({ level: 0, testKeys: 5 })).toMatchObject({ ok: true, testedKeys: 0 });
    for (let i = 0; i < 20; i++) await engine.put(`k${i}`, bytesOf(i, 10 + 700 * i));
    await engine.put('large', bytesOf(99, 400_000));
    await engine.space('s').put('k', bytesOf(100, 3000));
    const { id } = await engine.backup(vault);
    expect(await vault.verify({ level: 0, testKeys: 50 })).toMatchObject({ ok: true, testedKeys: 50 });
    const [pack] = store.names().filter((name) => name.startsWith('packs/'));
    const whole = await store.get(pack!, 1 << 24);
    const cut = whole.slice();
    for (let at = 1000; at < cut.length - 60_000; at += 500) cut[at]! ^= 1;
    await store.put(pack!, cut);
    const found = await vault.verify({ level: 0, testKeys: 30 });
    expect(found.ok).toBe(false);
    expect(found.damage.some(({ keys, snapshots }) => keys !== undefined && snapshots?.[0] === id)).toBe(
      true,
    );
    expect(await codeOf(vault.verify({ testKeys: -1 }))).toBe('VARVE_INVALID_ARGUMENT');
  });
});
