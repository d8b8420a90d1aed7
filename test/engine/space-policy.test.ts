import { expect, test } from 'vitest';
import { bytesOf, codeOf, newStore, openOn, text } from './engine-kit.ts';

const day = 86_400_000;

test('policies are kept in the store, listed, and taken away again', async () => {
  const { disk, engine } = await newStore();
  const retention = { last: 2, daily: 7 };
  const asked = { history: { versions: 1 }, ttlMs: 5000, retention, quotaBytes: 1000 };
  const space = engine.space('s');
  expect(await space.setPolicy(asked)).toEqual({
    ...asked,
    name: 's',
    history: { versions: 1, ms: 0 },
    usedBytes: 0,
  });
  await engine.setPolicy({ quotaBytes: 7, ttlMs: 9 });
  expect(engine.spaces.list()).toEqual(['s']);
  await engine.close();
  const again = await openOn(disk);
  expect(again.spaces.list({ policies: true })).toEqual([
    { ...asked, name: 's', history: { versions: 1, ms: 0 }, usedBytes: 0 },
  ]);
  expect(again.policy()).toMatchObject({ name: undefined, quotaBytes: 7, ttlMs: 9 });
  const none = { history: null, ttlMs: null, retention: null, quotaBytes: null };
  expect(await again.space('s').setPolicy(none)).toEqual({ name: 's' });
  expect(await again.space('s').setPolicy({ ttlMs: 3 })).toEqual({ name: 's', ttlMs: 3 });
  await again.spaces.drop('s');
  expect(again.space('s').policy()).toEqual({ name: 's' });
  await again.close();
});

test('a policy gives its space a number for ever, also where nothing was put', async () => {
  const { disk, engine } = await newStore();
  await engine.space('empty').setPolicy({ ttlMs: 1000 });
  await engine.close();
  const again = await openOn(disk);
  await again.space('other').put('k', 'v');
  expect((await again.space('other').stat('k'))?.expires).toBe(undefined);
  expect(again.space('other').policy()).toEqual({ name: 'other' });
  expect(again.space('empty').policy()).toEqual({ name: 'empty', ttlMs: 1000 });
  await again.close();
});

test('what cannot be a policy is refused by name', async () => {
  const { engine } = await newStore();
  const bad = [
    { ttlMs: 0 },
    { quotaBytes: -1 },
    { quotaBytes: 1.5 },
    { retention: {} },
    { retention: { last: 0 } },
    { retention: { fortnightly: 1 } },
    { retention: { last: -1 } },
    { history: { versions: -1 } },
    { other: 1 },
  ];
  for (const options of bad) {
    expect(await codeOf(engine.setPolicy(options as object)), JSON.stringify(options)).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
    expect(() => engine.space('s', options as object)).toThrow();
  }
});

test('values of a space expire as it says, whatever way they are put', async () => {
  const { engine, clock } = await newStore();
  const space = engine.space('s', { ttlMs: 1000 });
  await Promise.all([
    space.put('put', 'v'),
    space.put('large', bytesOf(1, 5000)),
    space.put('longer', 'v', { ttlMs: 5000 }),
    space.put('never', 'v', { ttlMs: Number.POSITIVE_INFINITY }),
    space.batch([{ type: 'put', key: 'batch', value: 'v' }]),
    space.transaction((tx) => tx.put('tx', 'v')),
    space.update('update', () => 'v'),
    space.increment('count'),
    space.sequence('numbers'),
    engine.put('elsewhere', 'v'),
  ]);
  const keys = async (): Promise<string[]> => {
    const all: string[] = [];
    for await (const { key } of space.scan({ values: false })) all.push(key);
    return all;
  };
  expect(await keys()).toEqual(
    ['batch', 'count', 'large', 'longer', 'never', 'numbers', 'put', 'tx', 'update'].sort(),
  );
  await clock.advance(2000);
  expect(await keys()).toEqual(['longer', 'never', 'numbers']);
  expect(text(await engine.get('elsewhere'))).toBe('v');
  await clock.advance(10_000);
  expect(await keys()).toEqual(['never', 'numbers']);
});

test('an update keeps the expiry unless another one is given', async () => {
  const { engine, clock } = await newStore();
  const expires = async (): Promise<number | undefined> => {
    const at = (await engine.stat('k'))?.expires?.getTime();
    return at === undefined ? undefined : at - clock.now();
  };
  await engine.put('k', '1', { ttlMs: 1000 });
  await clock.advance(100);
  await engine.update('k', (old) => `${text(old)}1`);
  expect(await expires()).toBe(900);
  await engine.increment('k', 4);
  expect([text(await engine.get('k')), await expires()]).toEqual(['15', 900]);
  await engine.update('k', () => bytesOf(1, 9000));
  expect(await expires()).toBe(900);
  await engine.update('k', () => 'short', { ttlMs: 300 });
  expect(await expires()).toBe(300);
  await engine.update('k', () => 'x', { ttlMs: Number.POSITIVE_INFINITY });
  expect(await expires()).toBe(undefined);
  await engine.put('gone', '5', { ttlMs: 50 });
  // The reaper has not run: the version is still the newest row.
  clock.ms += 60;
  expect(await engine.increment('gone')).toBe(1);
  expect((await engine.stat('gone'))?.expires).toBe(undefined);
  await engine.put('gone', 'v', { ttlMs: 50 });
  clock.ms += 60;
  expect(await engine.update('gone', (old) => old)).toBe(undefined);
  expect(await codeOf(engine.update('k', () => 'x', { ttlMs: 0.5 }))).toBe('VARVE_INVALID_ARGUMENT');
});

test('retention keeps what its rules say of small and of large values, and no more', async () => {
  const { engine, clock } = await newStore();
  const space = engine.space('s', { retention: { last: 1, daily: 3 } });
  const seqs: number[] = [];
  for (let i = 0; i < 12; i++) {
    // Three a day.
    seqs.push((await space.put('small', `v${i}`)).seq);
    await space.put('large', bytesOf(i, 4000));
    await clock.advance(day / 3);
  }
  await engine.flush();
  await engine.compact();
  for (const key of ['small', 'large']) {
    const found: [number, string[]][] = [];
    for await (const { time, keptBy } of space.versions(key)) {
      found.push([Math.round((time.getTime() - 1_700_000_000_000) / (day / 3)), keptBy]);
    }
    // 2023-11-14 22:13:20 is the first: puts 1 to 3 are of the day after it, 10 and 11 of the last one.
    expect(found, key).toEqual([
      [11, ['current']],
      [10, ['retention.last', 'retention.daily']],
      [9, ['retention.daily']],
      [6, ['retention.daily']],
    ]);
  }
  expect(text(await space.get('small', { at: seqs[6]! }))).toBe('v6');
  expect(await codeOf(space.get('small', { at: seqs[5]! }))).toBe('VARVE_HISTORY_GONE');
  await space.setPolicy({ retention: null });
  await engine.compact();
  for (const key of ['small', 'large']) {
    let count = 0;
    for await (const _ of space.versions(key)) count++;
    expect(count, key).toBe(1);
  }
  expect(engine.stats().purge.trash).toBe(0);
});
