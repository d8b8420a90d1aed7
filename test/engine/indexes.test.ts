/** Defining, building, dropping: what the model does not reach. */
import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import {
  indexEntriesPerRowMax,
  indexesPerSpaceMax,
  indexFieldsMax,
  indexNameBytesMax,
  indexTupleBytesMax,
} from '../../src/base/limits.ts';
import { deferred } from '../../src/base/sync.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { QueryOptions } from '../../src/engine/queries/query-types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { codeOf, failure, newStore, openOn, turn } from './engine-kit.ts';
import { openSmall } from './index-kit.ts';

async function keysOf(engine: Engine, options: QueryOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of engine.query({ ...options, explain: false })) keys.push(key);
  return keys;
}

const byTag = { name: 't', kind: 'range', on: 'tags' } as const;

describe('definitions', () => {
  test('what is wrong with one is said before anything is written', async () => {
    const { engine } = await newStore();
    const wrong: unknown[] = [
      undefined,
      {},
      { name: '', kind: 'range', on: 'tags' },
      { name: 'x'.repeat(256), kind: 'range', on: 'tags' },
      { name: 'x', kind: 'other', on: 'tags' },
      { name: 'x', kind: 'range', on: 'other' },
      { name: 'x', kind: 'range', on: [] },
      { name: 'x', kind: 'range', on: ['tags', 'tags'] },
      { name: 'x', kind: 'range', on: { metadata: 'a..b' } },
      { name: 'x', kind: 'range', on: { metadata: '' } },
      { name: 'x', kind: 'range', on: { metadata: 'a', other: 1 } },
      { name: 'x', kind: 'range', on: 'tags', unique: 1 },
      { name: 'x', kind: 'range', on: 'tags', more: 1 },
    ];
    for (const given of wrong) {
      expect(await codeOf(engine.indexes.define(given as typeof byTag)), JSON.stringify(given)).toBe(
        'VARVE_INVALID_ARGUMENT',
      );
    }
    expect(engine.indexes.list()).toEqual([]);
  });

  test('the same definition again changes nothing, another one is refused', async () => {
    const { engine } = await newStore();
    const info = await engine.indexes.define(byTag);
    expect(info).toEqual({ name: 't', kind: 'range', unique: false, on: ['tags'], state: 'ready' });
    const { seq } = engine.stats();
    expect(await engine.indexes.define(byTag)).toEqual(info);
    expect(engine.stats().seq).toBe(seq);
    const error = await failure(engine.indexes.define({ ...byTag, unique: true }));
    expect(error).toMatchObject({ code: 'VARVE_CONFLICT', retryable: false });
  });

  test('names and fields keep their bounds', async () => {
    const { engine } = await newStore();
    const on = Array.from({ length: indexFieldsMax + 1 }, (_, i) => ({ metadata: `f${i}` }));
    await engine.indexes.define({ name: 'n'.repeat(indexNameBytesMax), kind: 'range', on: on.slice(1) });
    expect(await codeOf(engine.indexes.define({ name: 'more', kind: 'range', on }))).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
    const metadata = Object.fromEntries(on.map((field, i) => [field.metadata, i]));
    await engine.put('k', 'v', { metadata });
    expect(await keysOf(engine, { index: 'n'.repeat(indexNameBytesMax), eq: [1, 2, 3] })).toEqual(['k']);
  });

  test('a space has so many indexes and no more', async () => {
    const { engine } = await newStore();
    for (let i = 0; i < indexesPerSpaceMax; i++) await engine.indexes.define({ ...byTag, name: `t${i}` });
    expect(await codeOf(engine.indexes.define(byTag))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('indexes of a space go with it, and a new space of that name has none', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openSmall(disk);
    const one = engine.space('one');
    await one.indexes.define(byTag);
    await one.put('k', 'v', { tags: ['a'] });
    expect(await keysOf(one, { index: 't', eq: 'a' })).toEqual(['k']);
    await engine.spaces.drop('one');
    expect(one.indexes.list()).toEqual([]);
    await one.put('k', 'v', { tags: ['a'] });
    expect(await codeOf(keysOf(one, { index: 't', eq: 'a' }))).toBe('VARVE_NOT_FOUND');
    expect(engine.indexes.list()).toEqual([]);
    await engine.close();
  });

  test('a reader sees indexes and defines none', async () => {
    const { disk, engine } = await newStore();
    await engine.put('k', 'v', { tags: ['a'] });
    await engine.indexes.define(byTag);
    await engine.close();
    const reader = await openOn(disk, { readOnly: true });
    expect(await keysOf(reader, { index: 't', eq: 'a' })).toEqual(['k']);
    expect(await codeOf(reader.indexes.define({ ...byTag, name: 'u' }))).toBe('VARVE_READ_ONLY');
    await reader.close();
  });
});

describe('building', () => {
  test('an index built while writes go on equals one that was there before', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openSmall(disk);
    await engine.indexes.define({ ...byTag, name: 'before' });
    for (let i = 0; i < 60; i++) await engine.put(`k${i}`, `v${i}`, { tags: [`t${i % 7}`, 'all'] });
    const building = engine.indexes.define(byTag);
    for (let i = 0; i < 40; i++) {
      const key = `k${(i * 13) % 70}`;
      if (i % 3 === 0) await engine.delete(key);
      else await engine.put(key, 'new', { tags: [`t${i % 5}`] });
    }
    await building;
    const of = async (index: string): Promise<string[]> => {
      const found: string[] = [];
      for await (const { key, indexKey } of engine.query({ index, values: false }))
        found.push(`${indexKey} ${key}`);
      return found;
    };
    const expected = await of('before');
    expect(expected.length).toBeGreaterThan(50);
    expect(await of('t')).toEqual(expected);
    const stats = await engine.indexes.stats('t');
    expect(stats).toMatchObject({ entries: expected.length, state: 'ready' });
    expect(await engine.indexes.stats('before')).toMatchObject({
      entries: stats.entries,
      distinct: stats.distinct,
    });
    await engine.close();
  });

  test('an index that is being built answers later', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openSmall(disk);
    for (let i = 0; i < 30; i++) await engine.put(`k${i}`, 'v', { tags: ['a'] });
    const info = await engine.indexes.define(byTag, { wait: false });
    expect(info.state).toBe('building');
    const error = await failure(keysOf(engine, { index: 't', eq: 'a' }));
    expect(error).toMatchObject({ code: 'VARVE_NOT_READY', retryable: true });
    // Conditions are met without it.
    expect(await keysOf(engine, { where: { tags: 'a' } })).toHaveLength(30);
    await engine.indexes.define(byTag);
    expect(await keysOf(engine, { index: 't', eq: 'a' })).toHaveLength(30);
    await engine.close();
  });

  test('an index that is there already is durable when the second call for it is told so', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openSmall(disk);
    await engine.put('k', 'v', { tags: ['a'] });
    const gate = deferred<void>();
    disk.schedule = ({ kind, path }) =>
      kind === 'dataSync' && path.startsWith('wal/') ? gate.promise : undefined;
    const first = engine.indexes.define(byTag, { wait: false });
    while (engine.indexes.list().length === 0) await turn();
    let told = 0;
    const others = [byTag, { ...byTag, unique: true }].map((definition) =>
      engine.indexes.define(definition, { wait: false }).then(
        () => ++told,
        () => ++told,
      ),
    );
    for (let i = 0; i < 50; i++) await turn();
    expect(told).toBe(0);
    gate.resolve();
    await Promise.all([first, ...others]);
    disk.schedule = undefined;
    await engine.close();
  });

  test('who waits for an index hears of a close', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openSmall(disk);
    for (let i = 0; i < 60; i++) await engine.put(`k${i}`, 'v', { tags: ['a'] });
    const waiting = failure(engine.indexes.define(byTag));
    while (engine.indexes.list().length === 0) await turn();
    await engine.close();
    expect((await waiting).code).toBe('VARVE_CLOSED');
    const again = await openSmall(disk);
    await again.indexes.define(byTag);
    expect(await keysOf(again, { index: 't', eq: 'a' })).toHaveLength(60);
    await again.close();
  });

  test('an aborted wait leaves the build going', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openSmall(disk);
    for (let i = 0; i < 30; i++) await engine.put(`k${i}`, 'v', { tags: ['a'] });
    const control = new AbortController();
    const waiting = codeOf(engine.indexes.define(byTag, { signal: control.signal }));
    while (engine.indexes.list().length === 0) await turn();
    control.abort();
    expect(await waiting).toBe('VARVE_ABORTED');
    await engine.indexes.define(byTag);
    expect(await keysOf(engine, { index: 't', eq: 'a' })).toHaveLength(30);
    await engine.close();
  });

  test('two keys with one value fail the build of a unique index, which can be tried again', async () => {
    const { engine } = await newStore();
    const unique = { name: 'u', kind: 'range', unique: true, on: { metadata: 'id' } } as const;
    await engine.put('a', '1', { metadata: { id: 7 } });
    await engine.put('b', '2', { metadata: { id: 7 } });
    const error = await failure(engine.indexes.define(unique));
    expect(error).toMatchObject({ code: 'VARVE_CONFLICT', retryable: false });
    const [info] = engine.indexes.list();
    expect(info).toMatchObject({ state: 'failed' });
    expect(info!.reason).toContain('"u"');
    expect(await codeOf(keysOf(engine, { index: 'u', eq: 7 }))).toBe('VARVE_CONFLICT');
    await engine.put('c', '3', { metadata: { id: 7 } });
    await engine.delete('b');
    await engine.delete('c');
    expect(await engine.indexes.define(unique)).toMatchObject({ state: 'ready' });
    expect(await keysOf(engine, { index: 'u', eq: 7 })).toEqual(['a']);
  });

  test('values that are too many or too long are refused by name', async () => {
    const { engine } = await newStore();
    await engine.indexes.define({ name: 'x', kind: 'range', on: { metadata: 'x' } });
    await engine.indexes.define({ name: 'h', kind: 'hash', on: { metadata: 'y' } });
    const long = 'y'.repeat(indexTupleBytesMax - 3);
    await engine.put('fits', '', { metadata: { x: long, y: `${long}more` } });
    const error = await failure(engine.put('long', '', { metadata: { x: `${long}y` } }));
    expect(error).toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' });
    expect(error.message).toContain('"x"');
    const many = Array.from({ length: indexEntriesPerRowMax + 1 }, (_, i) => i);
    expect(await codeOf(engine.put('many', '', { metadata: { x: many } }))).toBe('VARVE_INVALID_ARGUMENT');
    await engine.put('many', '', { metadata: { x: many.slice(1) } });
    expect(await engine.get('long')).toBeUndefined();
    expect(await keysOf(engine, { index: 'h', eq: `${long}more` })).toEqual(['fits']);
    expect((await engine.indexes.stats('x')).entries).toBe(indexEntriesPerRowMax + 1);
  });
});

describe('unique', () => {
  const unique = { name: 'u', kind: 'hash', unique: true, on: { metadata: 'id' } } as const;
  const put = (engine: Engine, key: string, id: unknown) =>
    engine.put(key, 'v', { metadata: { id } as { id: number } });

  test('of writers that race for one value one wins', async () => {
    const { engine } = await newStore();
    await engine.indexes.define(unique);
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => put(engine, `k${i}`, 'same')),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      expect(result.reason).toBeInstanceOf(VarveError);
      expect(result.reason).toMatchObject({ code: 'VARVE_CONFLICT', retryable: false });
      expect(String(result.reason)).toContain('"u"');
    }
    expect(await keysOf(engine, { index: 'u', eq: 'same' })).toHaveLength(1);
  });

  test('a batch may move values between keys, not give one to two', async () => {
    const { engine } = await newStore();
    await engine.indexes.define(unique);
    await put(engine, 'a', 1);
    await put(engine, 'b', 2);
    const item = (key: string, id: number) => ({ type: 'put', key, value: 'v', metadata: { id } }) as const;
    await engine.batch([item('a', 2), item('b', 1)]);
    expect(await keysOf(engine, { index: 'u', eq: 1 })).toEqual(['b']);
    expect(await codeOf(engine.batch([item('c', 9), item('d', 9)]))).toBe('VARVE_CONFLICT');
    await engine.batch([{ type: 'delete', key: 'a' }, item('c', 2)]);
    expect(await keysOf(engine, { index: 'u', eq: 2 })).toEqual(['c']);
    expect(await engine.has('d')).toBe(false);
  });

  test('deleted and hidden keys hold no value', async () => {
    const { engine } = await newStore();
    await engine.indexes.define(unique);
    await put(engine, 'a', 1);
    await engine.delete('a');
    await put(engine, 'b', 1);
    await engine.deleteRange({ prefix: 'b' });
    await put(engine, 'c', 1);
    await put(engine, 'c', 1);
    expect(await keysOf(engine, { index: 'u', eq: 1 })).toEqual(['c']);
    // A missing value is none, null is one.
    await engine.put('d', 'v');
    await engine.put('e', 'v');
    await put(engine, 'f', null);
    expect(await codeOf(put(engine, 'g', null))).toBe('VARVE_CONFLICT');
  });

  test('update and transaction keep entries as put does', async () => {
    const { engine } = await newStore();
    await engine.indexes.define(unique);
    await put(engine, 'a', 1);
    let runs = 0;
    const taken = engine.transaction(
      async (tx) => {
        runs++;
        await tx.put('b', 'v', { metadata: { id: 1 } });
      },
      { retries: 5 },
    );
    expect(await codeOf(taken)).toBe('VARVE_CONFLICT');
    // The value is taken however often it is tried.
    expect(runs).toBe(1);
    await engine.transaction(async (tx) => {
      await tx.delete('a');
      await tx.put('b', 'v', { metadata: { id: 1 } });
    });
    expect(await keysOf(engine, { index: 'u', eq: 1 })).toEqual(['b']);
  });
});

test('dropping removes the entries in the background', async () => {
  const disk = new MemoryFileSystem();
  const engine = await openSmall(disk);
  for (let i = 0; i < 40; i++) await engine.put(`k${i}`, 'v', { tags: ['a', 'b'] });
  await engine.indexes.define(byTag);
  expect(await engine.indexes.drop('t')).toBe(true);
  expect(await engine.indexes.drop('t')).toBe(false);
  expect(await codeOf(engine.indexes.stats('t'))).toBe('VARVE_NOT_FOUND');
  await engine.indexes.define({ ...byTag, name: 'other' });
  for (let i = 0; i < 200; i++) await turn();
  await engine.flush();
  await engine.flush();
  await engine.close();
  const again = await openSmall(disk);
  expect(await keysOf(again, { index: 'other', eq: 'a' })).toHaveLength(40);
  expect(again.indexes.list()).toHaveLength(1);
  await again.close();
});
