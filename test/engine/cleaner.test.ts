import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { bytesOf, filesIn, newStore, openOn, same } from './engine-kit.ts';

/** Streams that break off: what they have stored is garbage. */
async function abandon(engine: Engine, from: number, count: number, length = 15_000): Promise<void> {
  for (let i = from; i < from + count; i++) {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytesOf(100_000 + i, length);
      throw new Error('source');
    }
    await engine.put('bad', failing()).catch(() => undefined);
  }
}

describe('compact', () => {
  test('garbage goes, what is referenced stays, and no file is left over', async () => {
    const { engine, disk } = await newStore({}, 16 * 1024);
    for (let i = 0; i < 20; i++) {
      await engine.put(`k${i}`, bytesOf(i, 6000));
      await abandon(engine, i, 1, 12_000);
    }
    await engine.flush();
    const before = engine.stats();
    const dry = await engine.compact({ dryRun: true });
    expect(dry.reclaimedBytes).toBeGreaterThan(200_000);
    const report = await engine.compact();
    expect(report).toMatchObject({ ok: true, complete: true, pinned: [], damage: [] });
    expect(report.reclaimedBytes).toBeGreaterThan(200_000);
    expect(report.copiedBytes).toBeGreaterThan(50_000);
    expect(engine.stats().segments.dataBytes).toBeLessThan(before.segments.dataBytes / 2);
    expect(engine.stats().space.deadBytes).toBeLessThan(20_000);
    expect(await strayFiles(disk)).toEqual([]);
    for (let i = 0; i < 20; i++) expect(same(await engine.get(`k${i}`), bytesOf(i, 6000))).toBe(true);
    const second = await engine.compact();
    expect(second).toMatchObject({ removedSegments: 0, copiedBytes: 0 });
    await engine.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
    const sealed = filesIn(disk, 'seg').length;
    const again = await openOn(disk);
    for (let i = 0; i < 20; i++) expect(same(await again.get(`k${i}`), bytesOf(i, 6000))).toBe(true);
    await again.compact();
    await again.close();
    expect(filesIn(disk, 'seg').length).toBeLessThanOrEqual(sealed);
    expect((await auditDisk(disk)).problems).toEqual([]);
    expect(await strayFiles(disk)).toEqual([]);
  });
});
