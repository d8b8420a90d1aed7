import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { growReserve, releaseReserve, reserveBytes, withReserve } from '../../src/engine/cleaning/reserve.ts';
import { reserveName } from '../../src/format/file-names.ts';
import { fsError } from '../../src/fs/fs-errors.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf, codeOf, same } from './engine-kit.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const prng = new Prng(1);
/** As much at a time as crypto.getRandomValues gives. */
const random = (n: number): Uint8Array => {
  if (n > 64 * KiB) throw new Error('too many random bytes are asked for');
  return prng.bytes(n);
};

test('it is a 64th of the store within its bounds; small stores have none', () => {
  expect(reserveBytes(0)).toBe(0);
  expect(reserveBytes(4 * MiB - 1)).toBe(0);
  expect(reserveBytes(4 * MiB)).toBe(MiB);
  expect(reserveBytes(64 * MiB)).toBe(MiB);
  expect(reserveBytes(128 * MiB)).toBe(2 * MiB);
  expect(reserveBytes(1e12)).toBe(64 * MiB);
});

test('it grows and is freed; a reserve that cannot be written is none', async () => {
  const disk = new MemoryFileSystem({ capacity: 100 * MiB });
  const warnings: string[] = [];
  const logger = { warn: (message: string) => warnings.push(message) };
  await growReserve(disk, 4 * MiB, random, logger);
  expect((await disk.stat(reserveName))?.size).toBe(MiB);
  const bytes = disk.bytesOf(reserveName);
  for (const at of [0, MiB / 2, MiB - 4096])
    expect(new Set(bytes.subarray(at, at + 4096)).size).toBeGreaterThan(200);
  let writes = 0;
  disk.faults = (op) => {
    if (op.kind === 'write') writes++;
    return undefined;
  };
  await growReserve(disk, 256 * MiB, random, logger);
  expect([(await disk.stat(reserveName))?.size, writes]).toEqual([4 * MiB, 3]);
  expect(await releaseReserve(disk)).toBe(true);
  expect(await releaseReserve(disk)).toBe(false);
  // Room enough to write it, and not ample.
  disk.capacity = 3 * MiB;
  await growReserve(disk, 4 * MiB, random, logger);
  expect(await disk.stat(reserveName)).toBe(null);
  disk.capacity = 100 * MiB;
  disk.faults = (op) => (op.kind === 'write' ? { errno: 'ENOSPC' } : undefined);
  await growReserve(disk, 4 * MiB, random, logger);
  expect(warnings).toHaveLength(1);
});

test('a task that meets a full disk is run once more, when there was something to free', async () => {
  const disk = new MemoryFileSystem();
  let runs = 0;
  const full = async (): Promise<never> => {
    runs++;
    throw fsError('ENOSPC', 'write failed', 'x');
  };
  expect(await codeOf(withReserve(disk, {}, full))).toBe('VARVE_NO_SPACE');
  expect(runs).toBe(1);
  await growReserve(disk, 4 * MiB, random, {});
  expect(await codeOf(withReserve(disk, {}, full))).toBe('VARVE_NO_SPACE');
  expect(runs).toBe(3);
});

test('a full store is opened, emptied and compacted, and nothing acknowledged is lost', async () => {
  const disk = new MemoryFileSystem({ capacity: 12 * MiB });
  const opened = await openParts(disk, { segmentBytes: 256 * KiB });
  const kept = new Map<string, Uint8Array>();
  let refusal: string | undefined;
  for (let i = 0; i < 2000 && refusal === undefined; i++) {
    const value = bytesOf(i, 15_000);
    try {
      await opened.engine.put(`k${i}`, value);
      kept.set(`k${i}`, value);
      if (i % 50 === 49) await opened.engine.flush();
    } catch (error) {
      refusal = (error as { code?: string }).code;
    }
  }
  expect(refusal).toBe('VARVE_NO_SPACE');
  const isWhole = async (engine: typeof opened.engine): Promise<void> => {
    for (const [key, value] of kept) expect(same(await engine.get(key), value), key).toBe(true);
  };
  // Refused for want of room, and nothing is damaged.
  expect(opened.engine.health()).toMatchObject({ status: 'degraded', damage: [], missing: [] });
  await opened.engine.close();
  // Others take the room that is left.
  disk.capacity = 12 * MiB - (await disk.free())!;
  expect((await disk.stat(reserveName))?.size ?? 0).toBeGreaterThanOrEqual(MiB);
  const reader = await openParts(disk, { options: { readOnly: true } });
  await isWhole(reader.engine);
  await reader.engine.close();
  const again = await openParts(disk, { segmentBytes: 256 * KiB });
  // It was closed in order: space is needed, and taken, with the first delete.
  await again.engine.delete('k0');
  kept.delete('k0');
  expect(await disk.stat(reserveName)).toBe(null);
  await isWhole(again.engine);
  for (const key of Array.from(kept.keys()).slice(0, 300)) {
    await again.engine.delete(key);
    kept.delete(key);
  }
  const report = await again.engine.compact();
  expect(report.reclaimedBytes).toBeGreaterThan(3 * MiB);
  await isWhole(again.engine);
  await again.engine.put('new', bytesOf(1, 100_000));
  await again.engine.close();
}, 60_000);
