import { describe, expect, test } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import { PutGuard } from '../../src/chunk/put-guard.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { type Opened, openParts } from './cleaner-kit.ts';
import { runSchedule, type ScheduleCounts } from './cleaner-schedule.ts';
import { bytesOf, same, turn } from './engine-kit.ts';
import { CondemnedHits, NoHeldIds, NoPins } from './weak-guards.ts';

const inline = { cleaning: { enabled: false } };

async function open(guard: PutGuard): Promise<Opened & { disk: MemoryFileSystem }> {
  const disk = new MemoryFileSystem();
  return { ...(await openParts(disk, { segmentBytes: 8 * 1024, guard, options: inline })), disk };
}

/** A put whose stream stops behind `head` until `go` is called. */
async function halfPut(engine: Engine, key: string, head: Uint8Array, tail: Uint8Array) {
  const reached = deferred<void>();
  const gate = deferred<void>();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield head;
    reached.resolve();
    await gate.promise;
    yield tail;
  }
  const done = engine.put(key, pieces());
  done.catch(() => undefined);
  await reached.promise;
  for (let i = 0; i < 5; i++) await turn();
  return {
    finish: async (): Promise<void> => {
      gate.resolve();
      await done;
    },
  };
}

/** True when the value is what was put, now and after the store was opened again. */
async function isKept(
  { engine, disk }: Opened & { disk: MemoryFileSystem },
  key: string,
  value: Uint8Array,
): Promise<boolean> {
  const now = await engine.get(key).catch(() => undefined);
  await engine.flush();
  await engine.close();
  const again = await openParts(disk, { segmentBytes: 8 * 1024 });
  const later = await again.engine.get(key).catch(() => undefined);
  await again.engine.close();
  const sound = (await auditDisk(disk)).problems.length === 0;
  return same(now, value) && same(later, value) && sound;
}

const head = bytesOf(1, 7000);
const tail = bytesOf(2, 3000);
const whole = new Uint8Array(Buffer.concat([head, tail]));

/** A put finds chunks nobody references any more; they are cleaned away before it commits. */
async function hitThenCleaned(guard: PutGuard): Promise<boolean> {
  const opened = await open(guard);
  const { engine } = opened;
  await engine.put('first', whole);
  await engine.delete('first');
  const put = await halfPut(engine, 'k', head, tail);
  await engine.compact();
  await put.finish();
  return await isKept(opened, 'k', whole);
}

/** A put has stored frames nothing names yet when their segment is sealed and cleaned. */
async function storedThenCleaned(guard: PutGuard): Promise<boolean> {
  const opened = await open(guard);
  const { engine } = opened;
  const put = await halfPut(engine, 'k', bytesOf(3, 20_000), tail);
  await engine.compact();
  await put.finish();
  const value = new Uint8Array(Buffer.concat([bytesOf(3, 20_000), tail]));
  return await isKept(opened, 'k', value);
}

/** A put looks for chunks of a segment that was found dead and waits for a reader. */
async function condemnedThenHit(guard: PutGuard): Promise<boolean> {
  const opened = await open(guard);
  const { engine, store } = opened;
  await engine.put('first', whole);
  await engine.flush();
  // A reader of the empty store: it keeps no version, and has begun before.
  const reader = store.marks.pin(0);
  await engine.delete('first');
  await engine.compact();
  expect(engine.stats().space.segments.leaving).toBeGreaterThan(0);
  await engine.put('k', whole);
  reader.end();
  await engine.compact();
  expect(engine.stats().space.segments.leaving).toBe(0);
  return await isKept(opened, 'k', whole);
}

/**
 * While a put relies on chunks of one segment, another put stores them anew, since that segment was condemned
 * for a while; the tree names the second copy, which dies and is cleaned.
 */
async function storedAnewThenCleaned(guard: PutGuard): Promise<boolean> {
  const opened = await open(guard);
  const { engine, store } = opened;
  await engine.put('first', whole);
  await engine.delete('first');
  for (const { no } of store.parts.lanes.open()) await store.parts.lanes.roll(no);
  const segments = store.parts.lanes.sealed().map(({ no }) => no);
  const put = await halfPut(engine, 'k', head, tail);
  for (const no of segments) store.chunks.condemn(no);
  for (const { no } of store.parts.lanes.open()) await store.parts.lanes.roll(no);
  await engine.put('second', whole);
  for (const no of segments) store.chunks.pardon(no);
  await engine.delete('second');
  await engine.compact();
  await put.finish();
  return await isKept(opened, 'k', whole);
}

const scenarios = { hitThenCleaned, storedThenCleaned, condemnedThenHit, storedAnewThenCleaned };

describe('puts and cleaning', () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    test(`${name}: nothing is lost`, async () => {
      expect(await scenario(new PutGuard())).toBe(true);
    });
  }

  test('each rule of the guard is needed', async () => {
    expect(await hitThenCleaned(new NoHeldIds()), 'hits are held by their ids').toBe(false);
    expect(await storedAnewThenCleaned(new NoHeldIds()), 'also where the tree names another copy').toBe(
      false,
    );
    expect(await storedThenCleaned(new NoPins()), 'frames nothing names are pinned').toBe(false);
    expect(await condemnedThenHit(new CondemnedHits()), 'condemned segments give no hits').toBe(false);
  });
});

test('every schedule of puts, deletes, snapshots, views and cleaning keeps what is referenced', async () => {
  const first = Number(process.env.VARVE_SEED ?? 1);
  const count = Number(process.env.VARVE_COUNT ?? 6);
  const cpu = process.cpuUsage();
  const sums: ScheduleCounts = { commits: 0, reads: 0, snapshots: 0, views: 0, compacted: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const counts = await runSchedule(seed);
    for (const name of Object.keys(sums) as (keyof ScheduleCounts)[]) sums[name] += counts[name];
  }
  if (process.env.VARVE_COUNT === undefined) return;
  const { user, system } = process.cpuUsage(cpu);
  console.log(`seeds ${first} to ${first + count - 1}, ${(user + system) / 1e6} s of CPU`, sums);
}, 36_000_000);

test('a generated schedule shows what each rule of the guard is for', async () => {
  const weakened: readonly [PutGuard, number][] = [
    [new NoPins(), 4],
    [new NoHeldIds(), 19],
    [new CondemnedHits(), 19],
  ];
  for (const [guard, seed] of weakened) {
    await expect(runSchedule(seed, guard), guard.constructor.name).rejects.toThrow(
      /chunk .* is (not at|missing)/,
    );
  }
}, 120_000);
