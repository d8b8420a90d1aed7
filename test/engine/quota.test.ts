import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, codeOf, failure, newStore, openOn, TestClock, turn } from './engine-kit.ts';
import { histories, historiesMs } from './histories.ts';

async function sizes(space: Engine): Promise<number> {
  let sum = 0;
  for await (const { size } of space.scan({ values: false })) sum += size;
  return sum;
}

async function counted(space: Engine): Promise<number> {
  for (let turns = 0; turns < 1000 && space.policy().usedBytes === undefined; turns++) await turn();
  return space.policy().usedBytes!;
}

test('a write beyond the quota is refused as a whole, one that makes room is not', async () => {
  const { engine } = await newStore();
  const space = engine.space('s', { quotaBytes: 100 });
  await space.put('a', bytesOf(1, 60));
  const error = await failure(space.put('b', bytesOf(2, 41)));
  expect(error).toMatchObject({ code: 'VARVE_QUOTA', expected: 100, actual: 101, retryable: false });
  await space.put('b', bytesOf(2, 40));
  const batch = [
    { type: 'put', key: 'c', value: 'more' },
    { type: 'put', key: 'a', value: 'x' },
  ] as const;
  expect(await codeOf(space.put('c', 'more'))).toBe('VARVE_QUOTA');
  await space.batch(batch);
  expect(space.policy().usedBytes).toBe(45);
  expect(await codeOf(space.transaction((tx) => tx.put('d', bytesOf(3, 56))))).toBe('VARVE_QUOTA');
  expect(await codeOf(space.update('a', () => bytesOf(3, 57)))).toBe('VARVE_QUOTA');
  expect(await sizes(space)).toBe(45);
  // Elsewhere nothing is counted.
  await engine.put('large', bytesOf(9, 5000));
  await space.setPolicy({ quotaBytes: 10 });
  await space.put('b', bytesOf(2, 39));
  expect(await codeOf(space.put('b', bytesOf(2, 40)))).toBe('VARVE_QUOTA');
  await space.delete('b');
  expect(space.policy()).toMatchObject({ quotaBytes: 10, usedBytes: 5 });
  await space.setPolicy({ quotaBytes: null });
  await space.put('b', bytesOf(2, 4000));
  expect(space.policy()).toEqual({ name: 's' });
});

test('what a range delete or an expiry gives back can be used at once', async () => {
  const { engine, clock } = await newStore();
  const space = engine.space('s', { quotaBytes: 100 });
  await space.put('a', bytesOf(1, 90));
  await space.clear();
  await space.put('b', bytesOf(2, 95), { ttlMs: 1000 });
  expect(await codeOf(space.put('c', bytesOf(2, 95)))).toBe('VARVE_QUOTA');
  clock.ms += 2000;
  await space.put('c', bytesOf(3, 95));
  expect(await counted(space)).toBe(95);
});

test('values that were there before are counted while writes go on', async () => {
  const { engine } = await newStore();
  const space = engine.space('s');
  for (let i = 0; i < 1200; i++) space.put(`k${i}`, bytesOf(i, 1 + (i % 30))).catch(() => undefined);
  await space.put('large', bytesOf(1, 9000));
  await space.deleteRange({ gte: 'k2', lt: 'k25' });
  const set = space.setPolicy({ quotaBytes: 1_000_000 });
  for (let i = 0; i < 300; i++) {
    await space.put(`k${i * 7}`, bytesOf(i, i % 60));
    if (i % 5 === 0) await space.delete(`k${i * 3}`);
    if (i === 100) await space.deleteRange({ gte: 'k11', lt: 'k12' });
  }
  await set;
  expect(await counted(space)).toBe(await sizes(space));
});

const step = fc.record({
  what: fc.constantFrom(
    'put',
    'put',
    'put',
    'large',
    'delete',
    'range',
    'batch',
    'tx',
    'ttl',
    'time',
    'reopen',
    'kill',
    'quota',
  ),
  key: fc.nat(9),
  size: fc.nat(60),
});

/** Runs the steps; after each what is counted, once all is carried out, must be what a scan sums up. */
async function history(steps: readonly { what: string; key: number; size: number }[]): Promise<void> {
  let disk = new MemoryFileSystem();
  const clock = new TestClock();
  const prng = new Prng(7);
  let engine = await openOn(disk, { durability: 'os' }, 16 * 1024, clock);
  let space = engine.space('s', { quotaBytes: 8000 });
  const refused = async (call: Promise<unknown>): Promise<void> => {
    const code = await call.then(
      () => undefined,
      (error: { code: string }) => error.code,
    );
    expect([undefined, 'VARVE_QUOTA']).toContain(code);
  };
  for (const { what, key, size } of steps) {
    const value = prng.bytes(what === 'large' ? size * 60 : size);
    const name = `k${key}`;
    if (what === 'put' || what === 'large') await refused(space.put(name, value));
    else if (what === 'ttl') await refused(space.put(name, value, { ttlMs: 1 + size }));
    else if (what === 'delete') await space.delete(name);
    else if (what === 'range') await space.deleteRange({ gte: name, lt: `k${key + 3}` });
    else if (what === 'time') await clock.advance(size);
    else if (what === 'batch') {
      const more = { type: 'put', key: `k${(key + 1) % 10}`, value } as const;
      await refused(space.batch([{ type: 'delete', key: name }, more]));
    } else if (what === 'tx') {
      await refused(
        space.transaction(async (tx) => {
          await tx.put(name, value);
          await tx.delete(`k${(key + 4) % 10}`);
        }),
      );
    } else if (what === 'quota') {
      await space.setPolicy({ quotaBytes: size > 30 ? 8000 + size : null });
    } else {
      if (what === 'kill') {
        const copy = disk.crash(prng);
        await engine.close();
        disk = copy;
      } else await engine.close();
      engine = await openOn(disk, { durability: 'os' }, 16 * 1024, clock);
      space = engine.space('s');
    }
  }
  await space.setPolicy({ quotaBytes: 9000 });
  // What has expired counts until it is deleted.
  await clock.advance(61);
  for (let i = 0; i < 20; i++) await turn();
  expect(await counted(space)).toBe(await sizes(space));
  await engine.close();
}

test(
  'what is counted equals the sizes of all values',
  async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), history), histories(40));
  },
  historiesMs(),
);
