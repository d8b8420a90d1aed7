import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf, codeOf, same } from './engine-kit.ts';

const cleaning = { enabled: true };

test('a store that is overwritten for long stays within its bound', async () => {
  const disk = new MemoryFileSystem();
  const { engine, store } = await openParts(disk, { options: { cleaning } });
  const prng = new Prng(5);
  const keys = 30;
  const size = 6000;
  const model = new Map<string, Uint8Array>();
  let most = 0;
  for (let round = 0; round < 14; round++) {
    for (let i = 0; i < keys / 2; i++) {
      const key = `k${prng.below(keys)}`;
      const value = prng.bytes(size);
      await engine.put(key, value);
      model.set(key, value);
    }
    await engine.flush();
    await store.parts.write!.cleaning.work.idle();
    if (round > 6) most = Math.max(most, engine.stats().segments.dataBytes);
  }
  expect(engine.stats().space.cleaning.removedSegments).toBeGreaterThan(5);
  // Garbage is looked for when a tenth may be, and segments that are being written stay.
  expect(most).toBeLessThan(keys * size * 1.7);
  for (const [key, value] of model) expect(same(await engine.get(key), value)).toBe(true);
  await engine.close();
  expect((await auditDisk(disk)).problems).toEqual([]);
}, 60_000);

test('a queue stays flat', async () => {
  const disk = new MemoryFileSystem();
  const { engine, store } = await openParts(disk, { options: { cleaning } });
  let most = 0;
  for (let i = 0; i < 240; i++) {
    await engine.put(`q${i}`, bytesOf(i, 3000));
    if (i >= 10) await engine.delete(`q${i - 10}`);
    if (i % 20 !== 19) continue;
    await engine.flush();
    await store.parts.write!.cleaning.work.idle();
    if (i > 60) most = Math.max(most, engine.stats().segments.dataBytes);
  }
  expect(most).toBeLessThan(200_000);
  await engine.close();
}, 60_000);

test('close ends cleaning that is under way', async () => {
  const disk = new MemoryFileSystem();
  const { engine, store } = await openParts(disk, {
    options: { cleaning: { enabled: true, bytesPerSecond: 64 * 1024 } },
  });
  for (let i = 0; i < 80; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
  for (let i = 0; i < 80; i += 2) await engine.delete(`k${i}`);
  await engine.flush();
  expect(store.parts.write!.cleaning.work.isRunning).toBe(true);
  await engine.close();
  expect(store.parts.write!.cleaning.work.isRunning).toBe(false);
  expect((await auditDisk(disk)).problems).toEqual([]);
});

test('options of cleaning are checked', async () => {
  const open = (given: object): Promise<unknown> =>
    openParts(new MemoryFileSystem(), { options: { cleaning: given } });
  expect(await codeOf(open({ maxGarbage: 0 }))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await codeOf(open({ bytesPerSecond: 1 }))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await codeOf(open({ enabled: 1 }))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await codeOf(open({ other: true }))).toBe('VARVE_INVALID_ARGUMENT');
});
