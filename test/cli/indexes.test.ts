import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openEngine } from '../../src/index.ts';
import { cli, freshDir } from './kit.ts';

async function madeStore(): Promise<string> {
  const store = join(await freshDir(), 'store');
  const engine = await openEngine(store, { durability: 'os' });
  await engine.put('a', 'same', { tags: ['red'], metadata: { year: 2020, by: 'x' } });
  await engine.put('b', 'same', { tags: ['red', 'blue'], metadata: { year: 2024 } });
  await engine.put('c', 'else', { metadata: { year: '2024' } });
  await engine.close();
  return store;
}

test('an index is defined, listed, measured, asked, made anew and dropped', async () => {
  const store = await madeStore();
  const defined = await cli(['index', 'define', store, 'by-tag', '--on', 'tags', '--json']);
  expect(defined.json()).toEqual([
    { type: 'index', name: 'by-tag', kind: 'range', unique: false, on: ['tags'], state: 'ready' },
  ]);
  expect((await cli(['index', 'define', store, 'by-year', '--on', 'metadata.year', 'size'])).code).toBe(0);
  expect((await cli(['index', 'list', store])).out).toBe(
    'by-tag  range on tags ready\nby-year  range on metadata.year, size ready\n',
  );
  const [stats] = (await cli(['index', 'stats', store, 'by-tag', '--json'])).json();
  expect(stats).toMatchObject({ type: 'indexStats', entries: 3, distinct: 2 });
  expect((await cli(['query', store, '--index', 'by-tag', '--eq', 'red'])).out).toBe('a  red\nb  red\n');
  const found = (await cli(['query', store, '--index', 'by-year', '--gte', '2021', '--json'])).json();
  expect(found).toMatchObject([
    { type: 'entry', key: 'b', indexKey: [2024, 4] },
    { type: 'entry', key: 'c', indexKey: ['2024', 4] },
  ]);
  const after = found[0]!.cursor as string;
  expect((await cli(['query', store, '--index', 'by-year', '--after', after, '--json'])).json()).toHaveLength(
    1,
  );
  expect((await cli(['index', 'rebuild', store, 'by-tag'])).code).toBe(0);
  expect((await cli(['index', 'drop', store, 'by-tag'])).out).toBe('dropped by-tag\n');
  expect((await cli(['index', 'drop', store, 'by-tag'])).code).toBe(3);
  expect((await cli(['query', store, '--index', 'by-tag', '--eq', 'red'])).code).toBe(3);
});

test('conditions find keys with and without an index', async () => {
  const store = await madeStore();
  const args = ['query', store, '--where', '{"tags":["red"],"metadata":{"year":{"lt":2024}}}', '--json'];
  expect((await cli(args)).json()).toMatchObject([{ type: 'entry', key: 'a' }]);
  await cli(['index', 'define', store, 'by-tag', '--on', 'tags']);
  expect((await cli(args)).json()).toMatchObject([{ key: 'a' }]);
  expect((await cli([...args, '--explain'])).json()).toMatchObject([{ type: 'plan', index: 'by-tag' }]);
  expect((await cli(['query', store, '--order-by', 'size'])).code).toBe(2);
  expect((await cli(['query', store, '--order-by', 'key', '--reverse', '--limit', '1'])).out).toBe('c\n');
});

test('duplicates are the same with an index and without', async () => {
  const store = await madeStore();
  const groups = async () => (await cli(['duplicates', store, '--json'])).json();
  const before = await groups();
  expect(before).toMatchObject([
    { type: 'duplicates', size: 4, count: 2, keys: [{ key: 'a' }, { key: 'b' }] },
  ]);
  await cli(['index', 'define', store, 'by-digest', '--on', 'digest']);
  expect(await groups()).toEqual(before);
  expect((await cli(['duplicates', store, '--min-size', '5'])).out).toContain('0 values');
});
