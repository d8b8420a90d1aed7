import { expect, test } from 'vitest';
import { GiB, MiB } from '../../src/base/limits.ts';
import { deferred } from '../../src/base/sync.ts';
import { DiskRoom } from '../../src/engine/cleaning/disk-room.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { OpenMode } from '../../src/fs/port.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf, newStore, openOn, TestClock, turn } from './engine-kit.ts';

const order = ['healthy', 'warning', 'degraded', 'unhealthy'];

test('a state is that of its worst reason', async () => {
  const { engine, store } = await openParts(new MemoryFileSystem({ capacity: GiB }));
  await engine.put('k', 'v');
  expect(engine.health()).toMatchObject({ ok: true, status: 'healthy', reasons: [] });
  store.parts.health.note(new Error('odd'));
  expect(engine.health()).toMatchObject({
    status: 'warning',
    reasons: [{ level: 'warning', kind: 'damage' }],
  });
  store.parts.write!.log.fail(new Error('gone'));
  const { status, reasons, readOnly } = engine.health();
  expect([status, readOnly]).toEqual(['degraded', true]);
  expect(reasons.map(({ kind }) => kind).sort()).toEqual(['damage', 'writes']);
  expect(Math.max(...reasons.map(({ level }) => order.indexOf(level)))).toBe(order.indexOf(status));
  await engine.close().catch(() => undefined);
});

/** A disk whose syncs of log files wait while `held` says so. */
function hanging(disk: MemoryFileSystem, held: { wait?: Promise<void> }): MemoryFileSystem {
  const bound = <T extends object>(target: T, own: (name: string | symbol) => unknown): T =>
    new Proxy(target, {
      get: (_, name) => {
        const value = own(name) ?? Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  return bound(disk, (name) =>
    name === 'open'
      ? async (path: string, mode: OpenMode) => {
          const file = await disk.open(path, mode);
          const sync = async (): Promise<void> => {
            await held.wait;
            await file.dataSync();
          };
          return bound(file, (method) => (method === 'dataSync' ? sync : undefined));
        }
      : undefined,
  );
}

test('commits that hang are told while they do', async () => {
  const clock = new TestClock();
  const held: { wait?: Promise<void> } = {};
  const engine = await openOn(hanging(new MemoryFileSystem(), held), {}, undefined, clock);
  await engine.put('k', 'v');
  const release = deferred<void>();
  held.wait = release.promise;
  const put = engine.put('k', 'w');
  await turn();
  expect(engine.health().status).toBe('healthy');
  await clock.advance(29_000);
  expect(engine.health().status).toBe('healthy');
  await clock.advance(2000);
  expect(engine.health()).toMatchObject({
    ok: false,
    status: 'unhealthy',
    reasons: [{ level: 'unhealthy', kind: 'stall' }],
  });
  delete held.wait;
  release.resolve();
  await put;
  expect(engine.health().status).toBe('healthy');
  await engine.close();
});

test('the time until the disk is full is that of the rate seen', async () => {
  const clock = new TestClock();
  const disk = new MemoryFileSystem({ capacity: 100 * MiB });
  const room = new DiskRoom({ fs: disk, clock, logger: {}, written: () => 0, floor: () => 10 * MiB });
  await room.look();
  expect(room.secondsToFull).toBeUndefined();
  disk.capacity = 90 * MiB;
  await clock.advance(10_000);
  await room.look();
  // One MiB a second, 80 MiB above the floor.
  expect(room.secondsToFull).toBeCloseTo(80, 0);
  disk.capacity = 100 * MiB;
  await clock.advance(10_000);
  await room.look();
  expect(room.secondsToFull).toBeUndefined();
});

test('a snapshot or view that alone holds much is named', async () => {
  const chunking = { algorithm: 'fastcdc', min: 64 * 1024, avg: 256 * 1024, max: MiB } as const;
  const { engine, clock } = await newStore({ chunking }, 8 * MiB);
  const value = (seed: number): Uint8Array => bytesOf(seed, 1_000_000);
  for (let i = 0; i < 70; i++) await engine.put(`k${i}`, value(i));
  await engine.snapshots.create('before');
  for (let i = 0; i < 70; i++) await engine.put(`k${i}`, 'small');
  await engine.compact({ dryRun: true });
  const [holder] = engine.stats().space.held!.holders;
  expect(holder).toMatchObject({ by: 'snapshot', name: 'before', versions: 70, bytes: 70_000_000 });
  expect(engine.health().reasons).toMatchObject([{ level: 'warning', kind: 'pinned' }]);
  expect(engine.health().reasons[0]!.message).toContain('"before"');
  await engine.snapshots.delete('before');
  await clock.advance(1);
  await engine.compact();
  expect(engine.health().ok).toBe(true);
  expect(engine.stats().space.held!.holders).toEqual([]);
});
