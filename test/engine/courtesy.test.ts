import { expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { Courtesy } from '../../src/engine/cleaning/courtesy.ts';
import { restingClock } from './engine-kit.ts';

const restful = { isAwaited: true, cancelled: () => false };

/** A clock that sleeping moves; `onSleep` is what others do meanwhile. */
function newWorld(waitsForDisk = true) {
  const world = { ms: 0, slept: 0, stored: 0, onSleep: (): void => undefined };
  const clock = restingClock(world);
  const log = { isWaitedFor: false, counters: { count: 5 } };
  const courtesy = new Courtesy({ clock, log, storedBytes: () => world.stored, waitsForDisk });
  const syncFor = (bytes: number, ms: number): Promise<void> =>
    courtesy.sync(bytes, async () => {
      world.ms += ms;
    });
  return { world, log, courtesy, syncFor };
}

test('alone it never rests', async () => {
  const { world, log, courtesy, syncFor } = newWorld();
  log.isWaitedFor = true;
  await syncFor(64 * MiB, 80);
  await courtesy.rest(restful);
  await courtesy.turn(restful);
  // Its own commits are not those of others.
  await courtesy.own(async () => {
    log.counters.count += 100;
    // Copies go on meanwhile.
    expect(courtesy.isWanted).toBe(false);
    expect(courtesy.unsyncedMax).toBe(Number.POSITIVE_INFINITY);
  });
  expect(courtesy.isWanted).toBe(false);
  await courtesy.rest(restful);
  await courtesy.turn(restful);
  expect(world.slept).toBe(0);
});

test('it syncs for a small share of the time while others commit, and no longer', async () => {
  const { world, log, courtesy, syncFor } = newWorld();
  world.onSleep = () => {
    log.counters.count++;
  };
  log.counters.count++;
  await syncFor(64 * MiB, 80);
  await courtesy.rest(restful);
  expect(world.slept).toBe(7 * 80);
  // Small syncs disturb nobody.
  await syncFor(MiB / 32, 80);
  await courtesy.rest(restful);
  expect(world.slept).toBe(7 * 80);
  // Others stop: it goes on after a moment.
  await syncFor(64 * MiB, 80);
  world.onSleep = () => undefined;
  const before = world.slept;
  await courtesy.rest(restful);
  expect(world.slept - before).toBeLessThanOrEqual(300);
  expect(courtesy.isWanted).toBe(false);
});

test('it gives way also while it commits itself, for as long as that takes', async () => {
  const { world, log, courtesy } = newWorld();
  log.counters.count++;
  await courtesy.own(async () => {
    world.ms += 1000;
    log.counters.count += 10;
    expect(courtesy.isWanted).toBe(true);
  });
  expect(courtesy.isWanted).toBe(true);
  world.ms += 1000;
  expect(courtesy.isWanted).toBe(false);
});

test('it syncs in portions while commits wait for the disk', () => {
  const { world, log, courtesy } = newWorld();
  expect(courtesy.unsyncedMax).toBe(Number.POSITIVE_INFINITY);
  log.counters.count++;
  expect(courtesy.unsyncedMax).toBe(MiB / 8);
  world.ms += 1000;
  expect(courtesy.unsyncedMax).toBe(Number.POSITIVE_INFINITY);
  const other = newWorld(false);
  other.log.counters.count++;
  expect(other.courtesy.unsyncedMax).toBe(Number.POSITIVE_INFINITY);
});

test('it rests behind no sync where commits do not wait for the disk, nor when it is cancelled', async () => {
  const { world, log, courtesy, syncFor } = newWorld(false);
  log.counters.count++;
  await syncFor(64 * MiB, 80);
  await courtesy.rest(restful);
  expect(world.slept).toBe(0);
  const other = newWorld();
  other.log.counters.count++;
  await other.syncFor(64 * MiB, 80);
  await other.courtesy.rest({ isAwaited: true, cancelled: () => other.world.slept >= 100 });
  expect(other.world.slept).toBe(100);
});

test('it goes twice as fast as others store', async () => {
  const { world, log, courtesy, syncFor } = newWorld();
  world.onSleep = () => {
    log.counters.count++;
    // 200 MiB a second.
    world.stored += 10 * MiB;
  };
  log.counters.count++;
  let cleaned = 0;
  for (let i = 0; i < 40; i++) {
    await syncFor(64 * MiB, 80);
    world.stored += 16 * MiB;
    cleaned += 64 * MiB;
    await courtesy.rest(restful);
  }
  expect(cleaned).toBeGreaterThan(1.5 * world.stored);
  expect(cleaned).toBeLessThan(3 * world.stored);
});

test('it waits a little for a commit under way, and not for ever', async () => {
  const { world, log, courtesy } = newWorld();
  log.counters.count++;
  log.isWaitedFor = true;
  world.onSleep = () => {
    if (world.slept >= 2) log.isWaitedFor = false;
  };
  await courtesy.turn(restful);
  expect(world.slept).toBe(2);
  log.isWaitedFor = true;
  world.onSleep = () => undefined;
  await courtesy.turn(restful);
  expect(world.slept).toBe(6);
});
