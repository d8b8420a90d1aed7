import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { deferred } from '../../src/base/sync.ts';
import { PutGuard } from '../../src/chunk/put-guard.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { type Opened, openParts } from './cleaner-kit.ts';
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

/** Makes operations of the disk take a number of turns that the seed decides. */
function slowed(disk: MemoryFileSystem, prng: Prng): void {
  for (const name of ['open', 'list', 'stat', 'syncDir'] as const) {
    const real = disk[name].bind(disk) as (...args: unknown[]) => Promise<unknown>;
    Object.assign(disk, {
      [name]: async (...args: unknown[]) => {
        for (let i = prng.below(4); i > 0; i--) await turn();
        return await real(...args);
      },
    });
  }
}

/** Values over few blocks, so that puts meet each other's chunks. */
function valueFrom(prng: Prng): Uint8Array {
  const parts = Array.from({ length: 1 + prng.below(4) }, () => bytesOf(prng.below(6), 2500));
  return new Uint8Array(Buffer.concat(parts));
}

async function* slowly(value: Uint8Array, prng: Prng): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < value.length; at += 2500) {
    yield value.subarray(at, at + 2500);
    for (let i = prng.below(25); i > 0; i--) await turn();
  }
}

async function schedule(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const disk = new MemoryFileSystem();
  const { engine } = await openParts(disk, { segmentBytes: 8 * 1024, options: inline });
  slowed(disk, prng);
  /** The last value acknowledged under each key; each writer has keys of its own. */
  const model = new Map<string, Uint8Array>();
  const writer = async (name: string): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      const key = `${name}${prng.below(2)}`;
      const dice = prng.below(10);
      if (dice < 3) {
        await engine.delete(key);
        model.delete(key);
      } else {
        const value = valueFrom(prng);
        if (dice === 9) {
          const broken = slowly(value, prng);
          await engine.put(key, breaking(broken)).catch(() => undefined);
        } else {
          await engine.put(key, dice < 6 ? value : slowly(value, prng));
          model.set(key, value);
        }
      }
      for (let k = prng.below(10); k > 0; k--) await turn();
    }
  };
  const cleaner = async (): Promise<void> => {
    for (let i = 0; i < 4; i++) {
      if (prng.chance(0.3)) await engine.flush();
      await engine.compact();
      for (let k = prng.below(30); k > 0; k--) await turn();
    }
  };
  await Promise.all([writer('a'), writer('b'), writer('c'), cleaner()]);
  const check = async (now: Engine): Promise<void> => {
    for (const name of ['a0', 'a1', 'b0', 'b1', 'c0', 'c1']) {
      const found = await now.get(name);
      expect(same(found, model.get(name)), `seed ${seed}, key ${name}`).toBe(true);
    }
  };
  await check(engine);
  // As a killed process leaves it.
  const killed = disk.fork();
  await engine.close();
  expect((await auditDisk(disk)).problems, `seed ${seed}`).toEqual([]);
  expect(await strayFiles(disk), `seed ${seed}`).toEqual([]);
  const again = await openParts(killed, { segmentBytes: 8 * 1024 });
  await check(again.engine);
  await again.engine.compact();
  await check(again.engine);
  await again.engine.close();
  expect((await auditDisk(killed)).problems, `seed ${seed}`).toEqual([]);
}

async function* breaking(source: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* source;
  throw new Error('source');
}

test('every schedule of puts, deletes and cleaning keeps what is referenced', async () => {
  const first = Number(process.env.VARVE_SEED ?? 1);
  const count = Number(process.env.VARVE_COUNT ?? 6);
  for (let seed = first; seed < first + count; seed++) await schedule(seed);
}, 600_000);
