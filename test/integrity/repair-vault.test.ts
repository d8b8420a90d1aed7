import { expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { Prng } from '../../src/base/prng.ts';
import { repairWithEnv } from '../../src/engine/health/repairing.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { vaultOn } from '../backup/backup-kit.ts';
import { envOf } from '../crash/machine.ts';
import { bytesOf, codeOf, filesIn, openOn, same } from '../engine/engine-kit.ts';

const count = 12;

/** A store of values with list trees and without, all of them in a vault but the last. */
async function backedUp(): Promise<{ disk: MemoryFileSystem; blobs: MemoryBlobs }> {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk);
  for (let i = 0; i < count; i++) await engine.put(`k${i}`, bytesOf(i, i % 3 === 0 ? 60_000 : 6000));
  const blobs = new MemoryBlobs();
  await engine.backup(await vaultOn(blobs));
  await engine.put('late', bytesOf(99, 6000));
  await engine.close();
  return { disk, blobs };
}

test('every value of a backup is whole again, whatever segment is damaged or gone', async () => {
  const { disk: whole, blobs } = await backedUp();
  const prng = new Prng(3);
  for (const file of filesIn(whole, 'seg').filter((_, i) => i % 3 === 0)) {
    const disk = whole.fork();
    if (prng.chance(0.5)) await disk.unlink(file);
    else for (let i = 0; i < 20; i++) disk.flipBit(file, prng.below(disk.bytesOf(file).length * 8));
    const vault = await vaultOn(blobs);
    const report = await repairWithEnv(envOf(disk, 1), { vault });
    expect(report.lost.keys.filter((key) => key !== 'late')).toEqual([]);
    const engine = await openOn(disk);
    for (let i = 0; i < count; i++) {
      expect(same(await engine.get(`k${i}`), bytesOf(i, i % 3 === 0 ? 60_000 : 6000))).toBe(true);
    }
    const late = await engine.get('late').catch((error: { code: string }) => error.code);
    if (report.ok) expect(same(late as Uint8Array, bytesOf(99, 6000))).toBe(true);
    else expect(late).toBe('VARVE_CORRUPT');
    expect(
      (await engine.verify({ level: 'full' })).damage.filter(({ keys }) => !keys?.includes('late')),
    ).toEqual([]);
    await engine.close();
  }
}, 30_000);

test('a dry run asks no vault, and what is none is refused', async () => {
  const { disk, blobs } = await backedUp();
  const [file] = filesIn(disk, 'seg') as [string];
  await disk.unlink(file);
  const vault = await vaultOn(blobs);
  const report = await repairWithEnv(envOf(disk, 1), { vault, dryRun: true });
  expect([report.ok, report.lost.keys.length > 0]).toEqual([false, true]);
  const none = {} as unknown as typeof vault;
  expect(await codeOf(repairWithEnv(envOf(disk, 1), { vault: none }))).toBe('VARVE_INVALID_ARGUMENT');
});
