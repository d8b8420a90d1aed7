import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { pointArgument, timeArgument } from '../../src/cli/point.ts';
import { openEngine } from '../../src/index.ts';
import { cli, freshDir } from './kit.ts';

/** A store with two named states and the number of its first commit. */
async function storeWithPast(): Promise<{ store: string; seq: number }> {
  const store = join(await freshDir(), 'store');
  const engine = await openEngine(store, { durability: 'os', history: { versions: 5 } });
  const { seq } = await engine.put('a.txt', 'one');
  await engine.put('b.txt', 'same');
  await engine.space('s').put('k', 'v');
  await engine.snapshots.create('monday', { note: 'first' });
  await engine.put('a.txt', 'second');
  await engine.put('c.txt', 'new');
  await engine.spaces.drop('s');
  await engine.close();
  expect((await cli(['snapshot', 'create', store, 'tuesday'])).code).toBe(0);
  return { store, seq };
}

describe('the past on the command line', () => {
  test('get, ls and export read a state that is named', async () => {
    const { store, seq } = await storeWithPast();
    expect((await cli(['get', store, 'a.txt', '--at', 'monday'])).out).toBe('one');
    expect((await cli(['get', store, 'a.txt', '--at', String(seq)])).out).toBe('one');
    expect((await cli(['get', store, 'a.txt'])).out).toBe('second');
    expect((await cli(['get', store, 'k', '--space', 's', '--at', 'monday'])).out).toBe('v');
    expect((await cli(['ls', store, '--at', 'monday'])).out.trim().split('\n')).toEqual(['a.txt', 'b.txt']);
    const out = join(await freshDir(), 'out');
    expect((await cli(['export', store, out, '--at', 'monday'])).code).toBe(0);
    expect(await readFile(join(out, 'a.txt'), 'utf8')).toBe('one');
    expect((await cli(['get', store, 'a.txt', '--at', '1999-01-01'])).code).toBe(1);
    expect((await cli(['get', store, 'a.txt', '--at', 'never'])).code).toBe(3);
    expect((await cli(['ls', store, '--at', '2026-13-77'])).code).toBe(2);
  });

  test('versions say why they are kept', async () => {
    const { store, seq } = await storeWithPast();
    const lines = (await cli(['versions', store, 'a.txt', '--json'])).json();
    expect(lines).toMatchObject([
      { type: 'version', deleted: false, size: 6, keptBy: ['current'] },
      { type: 'version', seq, size: 3, keptBy: ['history.versions', 'snapshot:monday'] },
    ]);
    expect((await cli(['versions', store, 'a.txt'])).out).toContain('snapshot:monday');
    expect((await cli(['versions', store, 'none'])).code).toBe(3);
  });

  test('policies are shown, tried, set and taken away', async () => {
    const { store } = await storeWithPast();
    expect((await cli(['history', store])).out).toBe("the store's own keys: history: 5 versions, 0 ms\n");
    const [plan] = (await cli(['history', store, '--versions', '0', '--dry-run', '--json'])).json();
    // The snapshot keeps the only one.
    expect(plan).toMatchObject({
      type: 'retention-plan',
      versions: 1,
      kept: 1,
      keptBy: { 'snapshot:monday': 1 },
      dropped: 0,
      list: [],
    });
    const tried = (await cli(['history', store, '--last', '1', '--dry-run'])).out;
    expect(tried).toContain('1 superseded version of 1 key\n');
    expect(tried).toContain('  1  retention.last\n');
    const set = ['history', store, '--space', 'docs', '--daily', '7', '--quota', '2048', '--ttl', '5000'];
    const [policy] = (await cli([...set, '--json'])).json();
    expect(policy).toEqual({
      type: 'policy',
      space: 'docs',
      ttlMs: 5000,
      retention: { daily: 7 },
      quotaBytes: 2048,
      usedBytes: 0,
    });
    expect((await cli(['history', store])).out).toContain(
      'docs: retention: daily 7; values expire after 5000 ms; quota: 2 KiB, 0 B used\n',
    );
    await cli(['history', store, '--space', 'docs', '--reset', 'ttl', 'quota', 'retention']);
    expect((await cli(['history', store, '--space', 'docs'])).out).toBe('docs: no policies\n');
    expect((await cli(['history', store, '--reset', 'everything'])).code).toBe(2);
    expect((await cli(['history', store, '--space', 'none', '--dry-run'])).code).toBe(3);
  });

  test('changes come with values, and of every space', async () => {
    const { store, seq } = await storeWithPast();
    const asked = ['changes', store, '--since', String(seq - 1), '--values', '--all-spaces'];
    const lines = (await cli([...asked, '--json'])).json();
    expect(lines.slice(0, 3)).toMatchObject([
      { op: 'put', key: 'a.txt', base64: Buffer.from('one').toString('base64') },
      { op: 'put', key: 'b.txt' },
      { op: 'put', space: 's', key: 'k', base64: Buffer.from('v').toString('base64') },
    ]);
    expect(lines.at(-1)).toMatchObject({ op: 'deleteRange', space: 's', range: {} });
    expect(lines[0]).not.toHaveProperty('space');
    expect((await cli(asked)).out).toContain('s: put     k  1 B  v\n');
  });

  test('snapshots are made, listed and deleted', async () => {
    const { store } = await storeWithPast();
    const listed = (await cli(['snapshot', 'list', store, '--json'])).json();
    expect(listed).toMatchObject([{ name: 'monday', note: 'first' }, { name: 'tuesday' }]);
    expect((await cli(['snapshot', 'create', store, 'monday'])).code).toBe(1);
    const [made] = (await cli(['snapshot', 'create', store, 'x', '--note', 'n', '--json'])).json();
    expect(made).toMatchObject({ type: 'snapshot', name: 'x', note: 'n', seq: expect.any(Number) });
    expect((await cli(['snapshot', 'delete', store, 'x'])).code).toBe(0);
    expect((await cli(['snapshot', 'delete', store, 'x'])).code).toBe(3);
    expect((await cli(['snapshot', 'list', store])).out).not.toContain(' x');
  });

  test('diff lists what was added, changed and removed', async () => {
    const { store } = await storeWithPast();
    expect((await cli(['diff', store, 'monday', 'tuesday'])).out).toBe('~ a.txt\n+ c.txt\n');
    expect((await cli(['diff', store, 'tuesday', 'monday', '--json'])).json()).toMatchObject([
      { type: 'difference', key: 'a.txt', change: 'changed', before: { size: 6 }, after: { size: 3 } },
      { type: 'difference', key: 'c.txt', change: 'removed', before: { size: 3 } },
    ]);
    expect((await cli(['diff', store, 'monday', 'tuesday', '--space', 's'])).out).toBe('- k\n');
    expect((await cli(['diff', store, 'monday', 'tuesday', '--prefix', 'c'])).out).toBe('+ c.txt\n');
    await cli(['rm', store, 'b.txt']);
    expect((await cli(['diff', store, 'tuesday'])).out).toBe('- b.txt\n');
  });

  test('a snapshot whose name looks like a date or a number is named with its kind', async () => {
    const { store } = await storeWithPast();
    for (const name of ['2026-11-21', '1']) {
      await cli(['snapshot', 'create', store, name]);
      expect((await cli(['get', store, 'a.txt', '--at', `snapshot:${name}`])).out).toBe('second');
    }
    expect((await cli(['get', store, 'a.txt', '--at', 'snapshot:none'])).code).toBe(3);
    expect((await cli(['get', store, 'a.txt', '--at', '2026-02-31'])).code).toBe(2);
  });

  test('points in time are numbers, dates in UTC, or names', () => {
    expect(pointArgument('17')).toBe(17);
    expect(pointArgument('2026-11-21')).toEqual(new Date('2026-11-21T00:00:00Z'));
    expect(pointArgument('2026-11-21 10:30')).toEqual(new Date('2026-11-21T10:30:00Z'));
    expect(pointArgument('2026-11-21T10:30:00+02:00')).toEqual(new Date('2026-11-21T08:30:00Z'));
    expect(timeArgument('2026-11-21T10:30')).toEqual(new Date('2026-11-21T10:30:00Z'));
    for (const text of ['2026-02-30', '2026-02-31T10:00Z', 'noon', '2026-11-21T25:00'])
      expect(() => timeArgument(text), text).toThrow('Not a date');
    expect(pointArgument('monday')).toEqual({ snapshot: 'monday' });
    expect(pointArgument('2026-backup')).toEqual({ snapshot: '2026-backup' });
  });
});
