/** Queries by example: views, plans, orders, cursors, errors. */
import { describe, expect, test } from 'vitest';
import { queryHeapRowsMax } from '../../src/base/limits.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { QueryEntry, QueryOptions } from '../../src/engine/queries/query-types.ts';
import { codeOf, newStore, type TestClock, text } from './engine-kit.ts';

async function keysOf(engine: Engine, options: QueryOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of engine.query({ ...options, explain: false })) keys.push(key);
  return keys;
}

async function filled(): Promise<Engine> {
  return (await filledStore()).engine;
}

async function filledStore(): Promise<{ engine: Engine; clock: TestClock }> {
  const { engine, clock } = await newStore();
  for (let i = 0; i < 30; i++) {
    clock.ms += 1000;
    const metadata = { n: i % 10, who: { name: `p${i % 3}` }, ...(i % 2 === 0 ? { even: true } : {}) };
    await engine.put(`k${`${i}`.padStart(2, '0')}`, 'x'.repeat(i), {
      metadata,
      tags: [`t${i % 4}`, 'all'],
      contentType: i < 15 ? 'text/a' : 'text/b',
    });
  }
  return { engine, clock };
}

describe('by index', () => {
  test('entries have value, stat, the value of the index and a cursor', async () => {
    const engine = await filled();
    await engine.indexes.define({ name: 'd', kind: 'range', on: 'digest' });
    const { digest } = (await engine.stat('k05'))!;
    const entries: QueryEntry[] = [];
    for await (const found of engine.query({ index: 'd', eq: digest, stats: true })) entries.push(found);
    expect(entries).toHaveLength(1);
    const [entry] = entries;
    expect(entry).toMatchObject({ key: 'k05', size: 5, indexKey: digest, stat: { digest } });
    expect(text(entry!.value)).toBe('xxxxx');
    expect(typeof entry!.cursor).toBe('string');
  });

  test('times are asked by Date or ms', async () => {
    const { engine, clock } = await filledStore();
    await engine.indexes.define({ name: 'm', kind: 'range', on: 'modified' });
    await engine.indexes.define({ name: 'c', kind: 'range', on: 'created' });
    const { modified } = (await engine.stat('k10'))!;
    expect(await keysOf(engine, { index: 'm', eq: modified })).toEqual(['k10']);
    expect(await keysOf(engine, { index: 'c', eq: modified.getTime() as never })).toEqual(['k10']);
    expect(await keysOf(engine, { index: 'm', gt: modified, limit: 2 })).toEqual(['k11', 'k12']);
    clock.ms += 1000;
    await engine.put('k10', 'again');
    expect(await keysOf(engine, { index: 'm', reverse: true, limit: 1 })).toEqual(['k10']);
    expect(await keysOf(engine, { index: 'c', eq: modified })).toEqual(['k10']);
  });

  test('a query sees the moment of the call', async () => {
    const engine = await filled();
    await engine.indexes.define({ name: 't', kind: 'range', on: 'tags' });
    const query = engine.query({ index: 't', eq: 't1' });
    const before = ['k01', 'k05', 'k09', 'k13', 'k17', 'k21', 'k25', 'k29'];
    await engine.delete('k05');
    await engine.put('k02', 'new', { tags: ['t1'] });
    await engine.deleteRange({ prefix: 'k2' });
    await engine.flush();
    const found: string[] = [];
    for await (const { key } of query) {
      found.push(key);
      if (found.length === 1) await engine.flush();
    }
    expect(found).toEqual(before);
    expect(await keysOf(engine, { index: 't', eq: 't1' })).toEqual(['k01', 'k02', 'k09', 'k13', 'k17']);
  });

  test('a point in time is read as it was, and not before the index was ready', async () => {
    const { engine } = await newStore({ history: { versions: 0, ms: 1e9 } });
    const { seq: early } = await engine.put('a', '1', { tags: ['x'] });
    await engine.indexes.define({ name: 't', kind: 'range', on: 'tags' });
    const { seq } = await engine.put('b', '1', { tags: ['x'] });
    await engine.snapshots.create('then');
    await engine.put('a', '2', { tags: ['y'] });
    await engine.delete('b');
    await engine.flush();
    expect(await keysOf(engine, { index: 't', eq: 'x' })).toEqual([]);
    expect(await keysOf(engine, { index: 't', eq: 'x', at: seq })).toEqual(['a', 'b']);
    expect(await keysOf(engine, { index: 't', eq: 'x', at: { snapshot: 'then' } })).toEqual(['a', 'b']);
    expect(await keysOf(engine, { where: { tags: 'x' }, at: seq })).toEqual(['a', 'b']);
    expect(await codeOf(keysOf(engine, { index: 't', eq: 'x', at: early }))).toBe('VARVE_HISTORY_GONE');
    expect(await keysOf(engine, { where: { tags: 'x' }, at: early })).toEqual(['a']);
  });

  test('expired keys are in no answer, and hold no value of a unique index', async () => {
    const { engine, clock } = await newStore();
    await engine.indexes.define({ name: 't', kind: 'range', on: 'tags', unique: true });
    await engine.put('a', '1', { tags: ['x'], ttlMs: 5000 });
    await engine.put('b', '1', { tags: ['y'] });
    expect(await codeOf(engine.put('c', '1', { tags: ['x'] }))).toBe('VARVE_CONFLICT');
    expect(await keysOf(engine, { index: 't' })).toEqual(['a', 'b']);
    clock.ms += 6000;
    expect(await keysOf(engine, { index: 't' })).toEqual(['b']);
    expect(await keysOf(engine, { where: { tags: 'x' } })).toEqual([]);
    await engine.put('c', '1', { tags: ['x'] });
    await engine.put('a', '2', { tags: ['z'] });
    expect(await keysOf(engine, { index: 't' })).toEqual(['c', 'b', 'a']);
    await engine.flush();
    expect((await engine.indexes.stats('t')).entries).toBe(3);
  });

  test('a query that is left lets go, and close ends the others', async () => {
    const engine = await filled();
    await engine.indexes.define({ name: 't', kind: 'range', on: 'tags' });
    for await (const { key } of engine.query({ index: 't' })) {
      expect(key).toBe('k00');
      break;
    }
    const open = engine.query({ index: 't' })[Symbol.asyncIterator]();
    await open.next();
    await engine.close();
    expect(await codeOf(open.next())).toBe('VARVE_CLOSED');
  });

  test('what is wrong is said at the call', async () => {
    const engine = await filled();
    await engine.indexes.define({ name: 'h', kind: 'hash', on: ['tags', 'size'] });
    await engine.indexes.define({ name: 'n', kind: 'range', on: { metadata: 'n' } });
    const wrong: unknown[] = [
      {},
      { index: 'h' },
      { index: 'h', eq: 'a' },
      { index: 'h', eq: ['a', 1], gt: 1 },
      { index: 'n', eq: undefined, other: 1 },
      { index: 'n', eq: [1, 2] },
      { index: 'n', eq: { a: 1 } },
      { index: 'n', eq: new Date(Number.NaN) },
      { index: 'n', prefix: 5 },
      { index: 'n', limit: -1 },
      { index: 'n', after: 'no cursor' },
      { index: 'n', reverse: 'yes' },
      { where: { other: 1 } },
      { where: { size: {} } },
      { where: { size: { above: 1 } } },
      { where: {}, orderBy: 'tags', limit: 1 },
      { where: {}, orderBy: 'size', limit: queryHeapRowsMax + 1 },
    ];
    for (const options of wrong) {
      expect(
        await codeOf(() => engine.query(options as QueryOptions & { explain?: false })),
        JSON.stringify(options),
      ).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(await codeOf(() => engine.query({ index: 'none' }))).toBe('VARVE_NOT_FOUND');
    expect(await keysOf(engine, { orderBy: 'size', limit: queryHeapRowsMax })).toHaveLength(30);
  });
});

describe('by conditions', () => {
  test('the index with the fewest rows is taken, and explain says which', async () => {
    const engine = await filled();
    const where = { tags: ['all', 't1'], metadata: { n: { gte: 8 } } };
    const expected = ['k09', 'k29'];
    expect(await engine.query({ where, explain: true })).toMatchObject({ index: null, order: 'any' });
    expect(await keysOf(engine, { where })).toEqual(expected);
    await engine.indexes.define({ name: 't', kind: 'range', on: 'tags' });
    await engine.indexes.define({ name: 'n', kind: 'range', on: { metadata: 'n' } });
    await engine.indexes.define({ name: 'tn', kind: 'range', on: ['tags', { metadata: 'n' }] });
    const plan = await engine.query({ where, explain: true });
    expect(plan.index).not.toBeNull();
    expect(plan.estimatedRows).toBeLessThanOrEqual(6);
    expect(plan.considered.map(({ index }) => index)).toEqual([null, 'n', 't', 'tn']);
    expect((await keysOf(engine, { where })).sort()).toEqual(expected);
    const narrow = { tags: 't1', metadata: { n: 9 } };
    expect(await engine.query({ where: narrow, explain: true })).toMatchObject({
      index: 'tn',
      bounds: { tags: { eq: 't1' }, 'metadata.n': { eq: 9 } },
      filter: {},
    });
    expect(await keysOf(engine, { where: narrow })).toEqual(expected);
  });

  test('an order that no index serves is refused without a limit', async () => {
    const engine = await filled();
    expect(await codeOf(keysOf(engine, { where: {}, orderBy: 'size' }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await keysOf(engine, { orderBy: 'size', reverse: true, limit: 3 })).toEqual(['k29', 'k28', 'k27']);
    expect(await keysOf(engine, { orderBy: 'key', reverse: true, limit: 2 })).toEqual(['k29', 'k28']);
    await engine.indexes.define({ name: 's', kind: 'range', on: 'size' });
    expect(await engine.query({ orderBy: 'size', explain: true })).toMatchObject({
      index: 's',
      order: 'served',
    });
    expect(await keysOf(engine, { orderBy: 'size' })).toHaveLength(30);
    expect(await keysOf(engine, { where: { metadata: { even: true } }, orderBy: 'size', limit: 2 })).toEqual([
      'k00',
      'k02',
    ]);
  });

  test('keys without the field of an order are left out, with an index and without', async () => {
    const engine = await filled();
    const options = { orderBy: { metadata: 'even' }, limit: 100 } as const;
    const before = await keysOf(engine, options);
    expect(before).toHaveLength(15);
    await engine.indexes.define({ name: 'e', kind: 'range', on: { metadata: 'even' } });
    expect(await keysOf(engine, options)).toEqual(before);
    expect(await keysOf(engine, { orderBy: { metadata: 'even' } })).toEqual(before);
  });

  test('where gives each key once', async () => {
    const { engine } = await newStore();
    await engine.put('a', '', { tags: ['x1', 'x2', 'x3'], metadata: { list: [3, 1, 2] } });
    await engine.put('b', '', { tags: ['x2'], metadata: { list: [2] } });
    await engine.indexes.define({ name: 't', kind: 'range', on: 'tags' });
    await engine.indexes.define({ name: 'l', kind: 'range', on: { metadata: 'list' } });
    expect(await keysOf(engine, { where: { tags: { prefix: 'x' } } })).toEqual(['a', 'b']);
    const orderBy = { metadata: 'list' };
    expect(await keysOf(engine, { orderBy })).toEqual(['a', 'b']);
    expect(await keysOf(engine, { orderBy, reverse: true })).toEqual(['a', 'b']);
    expect(await keysOf(engine, { where: { metadata: { list: { gte: 2, lt: 3 } } }, orderBy })).toEqual([
      'a',
      'b',
    ]);
  });

  test('cursors go on where they are from', async () => {
    const engine = await filled();
    await engine.indexes.define({ name: 's', kind: 'range', on: 'size' });
    for (const options of [{ orderBy: 'size' }, { where: { prefix: 'k' } }] as const) {
      const found: string[] = [];
      let after: string | undefined;
      for (let page = 0; page < 4; page++) {
        for await (const entry of engine.query({
          ...options,
          limit: 8,
          ...(after === undefined ? {} : { after }),
        })) {
          found.push(entry.key);
          after = entry.cursor!;
        }
      }
      expect(found).toHaveLength(30);
      expect(new Set(found).size).toBe(30);
    }
  });

  test('a value that no row can have in a field is refused, not answered with nothing', async () => {
    const engine = await filled();
    await engine.indexes.define({ name: 's', kind: 'range', on: ['size', { metadata: 'n' }] });
    for (const options of [
      { where: { size: '5' } },
      { where: { size: { gte: 1, lt: null } } },
      { where: { modified: '2026-01-01' } },
      { where: { created: true } },
      { where: { digest: 5 } },
      { where: { digest: 'no hex' } },
      { where: { contentType: 5 } },
      { where: { tags: 5 } },
      { where: { tags: ['all', null] } },
      { where: { metadata: null } },
      { where: { metadata: 'n' } },
      { where: { metadata: ['n'] } },
    ]) {
      expect(await codeOf(() => engine.query(options as never)), JSON.stringify(options)).toBe(
        'VARVE_INVALID_ARGUMENT',
      );
    }
    // Bounds of an index are places in the order of all values.
    expect(await keysOf(engine, { index: 's', gt: 27, lt: 'of any type' })).toEqual(['k28', 'k29']);
    expect(await keysOf(engine, { where: { metadata: { n: 'of any type' } } })).toEqual([]);
  });
});
