import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Env } from '../../src/engine/env.ts';
import { Follower, type FollowOptions } from '../../src/engine/leases/follower.ts';
import { leaseDeadMs, leaseHoldMsMax } from '../../src/engine/leases/lease-gate.ts';
import { decodeLease, encodeLease } from '../../src/format/lease.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { bytesOf, codeOf, filesIn, openOn, same, smallOptions, TestClock, text } from './engine-kit.ts';

let made = 0;

function envOn(disk: MemoryFileSystem, clock: TestClock): Env {
  const prng = new Prng(10_000 + ++made);
  return { fs: disk, lock: memoryLock(disk, clock), clock, random: (n) => prng.bytes(n) };
}

interface Pair {
  readonly disk: MemoryFileSystem;
  readonly clock: TestClock;
  readonly engine: Engine;
}

async function newWriter(): Promise<Pair> {
  const disk = new MemoryFileSystem();
  const clock = new TestClock();
  const options = { cleaning: { enabled: false }, changesRetention: { bytes: 0 } };
  const engine = await openOn(disk, options, undefined, clock);
  onTestFinished(() => engine.close().catch(() => undefined));
  return { disk, clock, engine };
}

async function followerOn(
  { disk, clock }: Omit<Pair, 'engine'>,
  options: FollowOptions = {},
): Promise<Follower> {
  const env = envOn(disk, clock);
  const follower = await Follower.open({ read: env, lease: env }, { ...smallOptions, ...options });
  onTestFinished(() => follower.close());
  return follower;
}

/** Garbage, and a compaction that empties what holds it. */
async function churn(engine: Engine): Promise<void> {
  for (let i = 0; i < 12; i++) await engine.put(`k${i}`, bytesOf(Math.random() * 2 ** 30, 12_000));
  await engine.compact();
}

test('commits are seen within the time of a look', async () => {
  const pair = await newWriter();
  await pair.engine.put('a', '1');
  const seen: number[] = [];
  const follower = await followerOn(pair, { onRefresh: (engine) => seen.push(engine.stats().seq) });
  expect(text(await follower.engine.get('a'))).toBe('1');
  await pair.engine.put('a', '2');
  expect(text(await follower.engine.get('a'))).toBe('1');
  for (let i = 0; i < 20; i++) await pair.clock.advance(10);
  expect(text(await follower.engine.get('a'))).toBe('2');
  expect(seen).toHaveLength(1);
  await pair.engine.put('b', '3');
  await follower.refresh();
  expect(text(await follower.read((engine) => engine.get('b')))).toBe('3');
  await follower.close();
  expect(await codeOf(() => follower.engine)).toBe('VARVE_CLOSED');
  expect(filesIn(pair.disk, 'readers')).toEqual([]);
});

test('a last frame that was misread is seen by a refresh', async () => {
  const pair = await newWriter();
  await pair.engine.put('a', '1');
  const log = `wal/${filesIn(pair.disk, 'wal').at(-1)!.split('/').at(-1)!}`;
  const flip = (bytes: Uint8Array): Uint8Array => bytes.fill(bytes.at(-9)! ^ 4, -9, -8);
  pair.disk.corrupt(log, flip);
  const follower = await followerOn(pair, { everyMs: 1_000_000 });
  expect(await follower.engine.get('a')).toBeUndefined();
  pair.disk.corrupt(log, flip);
  await follower.refresh();
  expect(text(await follower.engine.get('a'))).toBe('1');
  const { engine } = follower;
  await follower.refresh();
  expect(follower.engine).toBe(engine);
});

test('a follower writes nothing but its lease', async () => {
  const pair = await newWriter();
  for (let i = 0; i < 10; i++) await pair.engine.put(`k${i}`, bytesOf(i, 9000));
  const before = new Map(
    pair.disk.files().map((file) => [file, Buffer.from(pair.disk.bytesOf(file)).toString('hex')]),
  );
  const follower = await followerOn(pair);
  for (let i = 0; i < 30; i++) await pair.clock.advance(1000);
  await follower.refresh();
  const after = pair.disk.files().filter((file) => !file.startsWith('readers/') && file !== 'LOCK');
  expect(after.sort()).toEqual([...before.keys()].filter((file) => file !== 'LOCK').sort());
  for (const file of after)
    expect(Buffer.from(pair.disk.bytesOf(file)).toString('hex')).toBe(before.get(file));
  expect(filesIn(pair.disk, 'readers')).toHaveLength(1);
});

test('a writer keeps the files of a live reader, and removes them when it has gone on', async () => {
  const pair = await newWriter();
  const values = Array.from({ length: 12 }, (_, i) => bytesOf(i, 12_000));
  for (const [i, value] of values.entries()) await pair.engine.put(`k${i}`, value);
  await pair.engine.flush();
  const follower = await followerOn(pair, { everyMs: 1_000_000 });
  await follower.read(async (engine) => {
    await churn(pair.engine);
    await churn(pair.engine);
    for (const [i, value] of values.entries()) expect(same(await engine.get(`k${i}`), value)).toBe(true);
  });
  const held = filesIn(pair.disk, 'seg').length;
  await follower.refresh();
  await pair.engine.compact();
  expect(filesIn(pair.disk, 'seg').length).toBeLessThan(held);
  const other = await follower.read((engine) => engine.get('k1'));
  expect(same(other, await pair.engine.get('k1'))).toBe(true);
});

test('files are held for a bounded time, and a reader whose files are gone is told and goes on', async () => {
  const pair = await newWriter();
  for (let i = 0; i < 12; i++) await pair.engine.put(`k${i}`, bytesOf(i, 12_000));
  await pair.engine.flush();
  const follower = await followerOn(pair, { everyMs: leaseHoldMsMax * 100 });
  const old = follower.engine;
  await churn(pair.engine);
  const held = filesIn(pair.disk, 'seg').length;
  const [path] = filesIn(pair.disk, 'readers') as [string];
  const lease = decodeLease(pair.disk.bytesOf(path), path)!;
  // The reader lives, but never goes on.
  for (let ms = 0; ms <= leaseHoldMsMax; ms += leaseDeadMs / 2) {
    expect(filesIn(pair.disk, 'seg').length).toBeGreaterThanOrEqual(held);
    await pair.clock.advance(leaseDeadMs / 2);
    const file = await pair.disk.open(path, 'rw');
    await file.write(encodeLease({ ...lease, beats: 1000 + ms }), 0);
    await file.close();
    if (ms < leaseHoldMsMax - leaseDeadMs) await pair.engine.compact();
  }
  await pair.engine.compact();
  expect(filesIn(pair.disk, 'seg').length).toBeLessThan(held);
  expect(filesIn(pair.disk, 'readers')).toEqual([path]);
  let gone: string | undefined;
  for (let i = 0; i < 12; i++) {
    const code = await old.get(`k${i}`).then(
      () => 'read',
      (error: { code: string }) => error.code,
    );
    if (code === 'read') continue;
    expect(code).toBe('VARVE_SNAPSHOT_EXPIRED');
    gone = `k${i}`;
  }
  expect(gone).toBeTypeOf('string');
  expect(same(await follower.read((engine) => engine.get(gone!)), await pair.engine.get(gone!))).toBe(true);
});

test("a dead reader's lease ends", async () => {
  const pair = await newWriter();
  await pair.engine.put('k', bytesOf(1, 12_000));
  const dead = envOn(pair.disk, pair.clock);
  await dead.fs.mkdir('readers');
  const file = await dead.fs.open('readers/00.lease', 'create');
  await file.write(new Uint8Array(64).fill(7), 0);
  await file.close();
  for (let i = 0; i < 3; i++) await churn(pair.engine);
  const held = filesIn(pair.disk, 'seg').length;
  await pair.clock.advance(leaseDeadMs + 1);
  await pair.engine.compact();
  expect(filesIn(pair.disk, 'seg').length).toBeLessThan(held);
  expect(filesIn(pair.disk, 'readers')).toEqual([]);
});

test('a writer that is opened anew keeps the files of a reader it does not know yet', async () => {
  const pair = await newWriter();
  const values = Array.from({ length: 8 }, (_, i) => bytesOf(i, 12_000));
  for (const [i, value] of values.entries()) await pair.engine.put(`k${i}`, value);
  await pair.engine.flush();
  const follower = await followerOn(pair, { everyMs: 1_000_000 });
  await follower.read(async (engine) => {
    await churn(pair.engine);
    await pair.engine.close();
    const again = await openOn(pair.disk, { cleaning: { enabled: false } }, undefined, pair.clock);
    await churn(again);
    for (const [i, value] of values.entries()) expect(same(await engine.get(`k${i}`), value)).toBe(true);
    await again.close();
  });
});

test('whatever a writer does, a follower reads whole states', async () => {
  const op = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), key: fc.integer({ min: 0, max: 5 }), size: fc.nat(9000) }),
    fc.record({ kind: fc.constant('delete' as const), key: fc.integer({ min: 0, max: 5 }) }),
    fc.constant({ kind: 'compact' as const }),
    fc.constant({ kind: 'reopen' as const }),
    fc.constant({ kind: 'crash' as const }),
    fc.constant({ kind: 'look' as const }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(op, { minLength: 5, maxLength: 25 }), async (ops) => {
      let disk = new MemoryFileSystem();
      const clock = new TestClock();
      const options = { cleaning: { enabled: false }, changesRetention: { bytes: 0 } };
      let engine = await openOn(disk, options, undefined, clock);
      const model = new Map<string, Uint8Array>();
      let env = envOn(disk, clock);
      let follower = await Follower.open({ read: env, lease: env }, { ...smallOptions, everyMs: 1_000_000 });
      let seed = 0;
      for (const each of ops) {
        if (each.kind === 'put') {
          const value = bytesOf(++seed, each.size);
          await engine.put(`k${each.key}`, value);
          model.set(`k${each.key}`, value);
        } else if (each.kind === 'delete') {
          await engine.delete(`k${each.key}`);
          model.delete(`k${each.key}`);
        } else if (each.kind === 'compact') await engine.compact();
        else if (each.kind === 'reopen') {
          await engine.close();
          engine = await openOn(disk, options, undefined, clock);
        } else if (each.kind === 'crash') {
          await follower.close();
          disk = disk.crash(new Prng(++seed));
          engine = await openOn(disk, options, undefined, clock);
          env = envOn(disk, clock);
          follower = await Follower.open({ read: env, lease: env }, { ...smallOptions, everyMs: 1_000_000 });
        } else {
          // The state before goes on being whole while the writer works.
          const before = new Map(model);
          await follower.refresh();
          await follower.read(async (reader) => {
            await engine.put('extra', bytesOf(++seed, 5000));
            await engine.compact();
            for (const [key, value] of before) expect(same(await reader.get(key), value)).toBe(true);
            const keys: string[] = [];
            for await (const { key } of reader.scan({ values: false })) if (key !== 'extra') keys.push(key!);
            expect(keys).toEqual([...before.keys()].sort());
          });
        }
      }
      await follower.close();
      await engine.close();
    }),
    { numRuns: 15 },
  );
}, 60_000);
