import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { openEngine } from '../../src/index.ts';
import { cli, freshDir, written } from './kit.ts';

const linesOf = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('changes are listed from a number on, for people and as JSON', async () => {
  const store = await freshDir();
  const engine = await openEngine(store);
  const first = await engine.put('a', 'x', { tags: ['t'] });
  await engine.put('b', 'x');
  await engine.delete('b');
  await engine.deleteRange({ gte: 'a', lt: 'c' });
  await engine.space('s').put('k', 'x');
  await engine.close();
  const all = await cli(['changes', store, '--json']);
  expect(all.code).toBe(0);
  expect(all.json()).toMatchObject([
    { type: 'change', op: 'put', key: 'a', size: 1, tags: ['t'], last: true, seq: first.seq },
    { op: 'put', key: 'b' },
    { op: 'delete', key: 'b' },
    { op: 'deleteRange', range: { gte: { key: 'a' }, lt: { key: 'c' } } },
  ]);
  const later = await cli(['changes', store, '--since', String(first.seq), '--prefix', 'b']);
  expect(later.out).toMatch(/^ +\d+ {2}\S+Z {2}put {5}b {2}1 B\n.*delete {2}b\n.*keys >= a, < c\n$/);
  expect((await cli(['changes', store, '--space', 's', '--json'])).json()).toMatchObject([{ key: 'k' }]);
  expect((await cli(['changes', store, '--since', '99999'])).code).toBe(1);
});

test('--follow shows what another writer commits, until it is interrupted', async () => {
  const store = await freshDir();
  const engine = await openEngine(store);
  await engine.put('before', 'x');
  const stdout = new PassThrough();
  const stop = new AbortController();
  const run = cli(['changes', store, '--follow', '--json', '--since', '0'], { stdout, signal: stop.signal });
  let shown = '';
  const until = async (key: string): Promise<void> => {
    while (!linesOf(shown).some((line) => line.key === key)) {
      await new Promise((resolve) => stdout.once('readable', resolve));
      shown += written(stdout).toString();
    }
  };
  await until('before');
  await engine.put('after', 'x');
  await until('after');
  stop.abort();
  expect((await run).code).toBe(130);
  expect(linesOf(shown).map(({ key }) => key)).toEqual(['before', 'after']);
  await engine.close();
}, 20_000);
