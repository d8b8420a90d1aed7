import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf, codeOf, same } from './engine-kit.ts';

const MiB = 1024 * 1024;

test('below the floor puts are refused and deletes go on', async () => {
  const disk = new MemoryFileSystem({ capacity: 20 * MiB });
  const { engine, store } = await openParts(disk, { options: { freeSpaceFloorBytes: 8 * MiB } });
  await engine.put('a', bytesOf(1, 20_000));
  await engine.put('b', 'small');
  disk.capacity = 8 * MiB;
  await store.parts.write!.room.look();
  expect(await codeOf(engine.put('c', bytesOf(2, 20_000)))).toBe('VARVE_NO_SPACE');
  expect(await codeOf(engine.put('c', 'small'))).toBe('VARVE_NO_SPACE');
  expect(await codeOf(engine.batch([{ type: 'put', key: 'c', value: 'small' }]))).toBe('VARVE_NO_SPACE');
  async function* long(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 10; i++) yield bytesOf(i, 20_000);
  }
  expect(await codeOf(engine.put('c', long()))).toBe('VARVE_NO_SPACE');
  expect(await engine.delete('a')).toBe(true);
  expect(await engine.has('c')).toBe(false);
  expect(engine.health()).toMatchObject({
    ok: false,
    status: 'degraded',
    readOnly: false,
    reasons: [{ level: 'degraded', kind: 'space' }],
    disk: { freeBytes: expect.any(Number), floorBytes: 8 * MiB },
  });
  await engine.compact();
  disk.capacity = 64 * MiB;
  await engine.put('c', bytesOf(2, 20_000));
  expect(same(await engine.get('c'), bytesOf(2, 20_000))).toBe(true);
  await engine.close();
});

test('a stream ends when the disk falls below the floor while it is taken', async () => {
  const disk = new MemoryFileSystem({ capacity: 24 * MiB });
  const { engine } = await openParts(disk, {
    options: { freeSpaceFloorBytes: 8 * MiB },
    bounds: { stageBirthsMax: 64 },
  });
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (let i = 0; ; i++) yield bytesOf(i, 256 * 1024);
  }
  expect(await codeOf(engine.put('endless', endless()))).toBe('VARVE_NO_SPACE');
  expect(await disk.free()).toBeGreaterThan(4 * MiB);
  expect(engine.health().readOnly).toBe(false);
  const report = await engine.compact();
  expect(report.reclaimedBytes).toBeGreaterThan(4 * MiB);
  await engine.put('a', bytesOf(1, 100_000));
  await engine.close();
}, 60_000);

test('an option that is no size is refused', async () => {
  const open = openParts(new MemoryFileSystem(), { options: { freeSpaceFloorBytes: -1 } });
  expect(await codeOf(open)).toBe('VARVE_INVALID_ARGUMENT');
});
