import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { openEngine } from '../../src/index.ts';
import { cli, freshDir, hostileTree, snapshot } from './kit.ts';

/** The drill of docs/BACKUP.md: every command of it, in its order. */
describe('disaster drill', () => {
  test('a store that was destroyed is back from its vault, key by key, and as files', async () => {
    const dir = await freshDir();
    const [tree, store, vault] = [join(dir, 'tree'), join(dir, 'data'), join(dir, 'vault')];
    const { mkdir } = await import('node:fs/promises');
    await mkdir(tree);
    await hostileTree(tree);
    expect((await cli(['import', store, tree, '--prefix', 'home/'])).code).toBe(0);
    expect((await cli(['put', store, 'note'], { stdin: 'first' })).code).toBe(0);
    expect((await cli(['backup', store, vault, '--label', 'drill'])).code).toBe(0);
    expect((await cli(['put', store, 'note'], { stdin: 'second' })).code).toBe(0);
    const second = await cli(['backup', store, vault, '--json']);
    expect(second.json()[0]).toMatchObject({ type: 'backup', ok: true, mode: 'incremental' });
    expect((await cli(['vault', 'verify', vault])).code).toBe(0);
    const before = await cli(['ls', store, '--long', '--json']);

    await rm(store, { recursive: true });

    const restored = await cli(['restore', vault, store]);
    expect(restored).toMatchObject({ code: 0 });
    expect(restored.out).toContain('proved');
    expect((await cli(['ls', store, '--long', '--json'])).out).toBe(before.out);
    expect((await cli(['verify', store, '--level', 'full'])).code).toBe(0);
    const files = join(dir, 'files');
    expect((await cli(['restore', vault, files, '--files', '--prefix', 'home/'])).code).toBe(0);
    const again = join(dir, 'again');
    expect((await cli(['export', store, again, '--prefix', 'home/'])).code).toBe(0);
    expect(await snapshot(files)).toEqual(await snapshot(again));
    expect((await cli(['backup', store, vault])).code).toBe(0);
  });
});

describe('vault commands', () => {
  test('list, stats, diff, forget and prune', async () => {
    const dir = await freshDir();
    const [store, vault] = [join(dir, 'data'), join(dir, 'vault')];
    await cli(['put', store, 'k'], { stdin: 'none'.repeat(2000) });
    const first = await cli(['backup', store, vault, '--dry-run']);
    expect(first).toMatchObject({ code: 0, out: expect.stringContaining('would send 1 key (7.81 KiB)') });
    expect(first.err).toContain('this would be the first backup');
    expect((await cli(['vault', 'list', vault])).code).toBe(3);
    for (const text of ['one', 'two', 'three']) {
      await cli(['put', store, 'k'], { stdin: text.repeat(2000) });
      expect((await cli(['backup', store, vault, '--tag', text])).code).toBe(0);
    }
    const list = (await cli(['vault', 'list', vault, '--json'])).json();
    expect(list.map(({ tags }) => tags)).toEqual([['one'], ['two'], ['three']]);
    expect((await cli(['vault', 'list', vault])).out).toContain('incremental');
    const diff = await cli(['vault', 'diff', vault, String(list[0]!.id), 'latest']);
    expect(diff.out).toBe('~ k 9.77 KiB\n');
    const dry = await cli(['vault', 'forget', vault, '--keep-last', '1', '--dry-run', '--prune']);
    expect(dry.out).toContain('2 backups would be removed, 1 backup kept');
    const forgot = await cli(['vault', 'forget', vault, '--keep-last', '1', '--keep-tag', 'two', '--prune']);
    expect(forgot.out).toContain('1 backup removed, 2 backups kept');
    expect((await cli(['vault', 'stats', vault, '--json'])).json()[0]).toMatchObject({
      type: 'vault',
      backups: 2,
    });
    expect((await cli(['vault', 'stats', vault])).out).toContain('packs');
    expect((await cli(['vault', 'prune', vault])).out).toContain('0 packs');
    const repacked = await cli(['vault', 'prune', vault, '--repack-below', '100', '--dry-run']);
    expect(repacked.out).toContain('kept');
    expect((await cli(['vault', 'prune', vault, '--repack-below', '200'])).code).toBe(2);
    expect((await cli(['vault', 'verify', vault, '--subset', '1/2', '--json'])).json()[0]).toMatchObject({
      ok: true,
    });
  });

  test('exit codes tell what happened', async () => {
    const dir = await freshDir();
    const [store, vault] = [join(dir, 'data'), join(dir, 'vault')];
    await cli(['put', store, 'k'], { stdin: 'v'.repeat(5000) });
    expect((await cli(['vault', 'list', vault])).code).toBe(3);
    expect((await cli(['backup', join(dir, 'no'), vault])).code).toBe(3);
    expect((await cli(['backup', store, vault, '--mode', 'other'])).code).toBe(2);
    expect((await cli(['backup', store, vault])).code).toBe(0);
    expect((await cli(['vault', 'forget', vault])).code).toBe(2);
    expect((await cli(['restore', vault, join(dir, 'r'), '--backup', 'ffff'])).code).toBe(3);
    expect((await cli(['restore', vault, join(dir, 'r'), '--at', '2001-01-01'])).code).toBe(3);
    expect((await cli(['restore', vault, store])).code).toBe(1);
    const packs = join(vault, 'packs');
    const [pack] = (await readdir(packs, { recursive: true })).filter((name) => name.endsWith('.pack'));
    const bytes = await readFile(join(packs, pack!));
    bytes[200]! ^= 1;
    await writeFile(join(packs, pack!), bytes);
    const found = await cli(['vault', 'verify', vault]);
    expect(found.code).toBe(4);
    expect(found.out).toContain('(k)');
    expect((await cli(['restore', vault, join(dir, 'r')])).code).toBe(4);
  });

  test('a store in use is backed up as it was', async () => {
    const dir = await freshDir();
    const [store, vault] = [join(dir, 'data'), join(dir, 'vault')];
    const engine = await openEngine(store);
    await engine.put('k', 'v'.repeat(5000));
    const result = await cli(['backup', store, vault, '--json']);
    await engine.close();
    expect(result.code).toBe(0);
    expect(result.err).toContain('in use');
    expect(result.json()[0]).toMatchObject({ keys: 1, ok: true });
  });
});

describe('varve archive', () => {
  test('any archived moment comes back, into a new store, into one that is there, and as files', async () => {
    const dir = await freshDir();
    const [store, vault] = [join(dir, 'data'), join(dir, 'vault')];
    await cli(['put', store, 'a'], { stdin: 'first' });
    expect((await cli(['archive', store, vault])).code).toBe(3);
    await cli(['backup', store, vault]);
    expect((await cli(['archive', store, vault])).code).toBe(0);
    await cli(['put', store, 'a'], { stdin: 'second' });
    const put = (await cli(['stat', store, 'a', '--json'])).json()[0] as { modified: string };
    await new Promise((resolve) => setTimeout(resolve, 5));
    await cli(['put', store, 'a'], { stdin: 'third' });
    const [round] = (await cli(['archive', store, vault, '--json'])).json();
    expect(round).toMatchObject({ type: 'archive', ok: true, objects: 1, damage: [] });
    expect((await cli(['archive', store, vault])).out).toMatch(/^nothing new; any moment up to 2/);
    expect((await cli(['vault', 'archives', vault, '--json'])).json()).toMatchObject([
      { type: 'archived-log', objects: 2, spans: [{ lastSeq: round!.to }] },
    ]);
    expect((await cli(['vault', 'archives', vault])).out).toContain('any moment up to');
    const at = ['--at', put.modified];
    expect((await cli(['restore', vault, join(dir, 'new'), ...at])).code).toBe(0);
    expect((await cli(['get', join(dir, 'new'), 'a'])).out).toBe('second');
    expect((await cli(['restore', vault, store, '--merge', '--overwrite', ...at])).code).toBe(0);
    expect((await cli(['get', store, 'a'])).out).toBe('second');
    expect((await cli(['restore', vault, join(dir, 'files'), '--files', ...at])).code).toBe(0);
    expect(await readFile(join(dir, 'files', 'a'), 'utf8')).toBe('second');
    expect((await cli(['restore', vault, store, '--merge', '--at', '2999-01-01'])).code).toBe(1);
  });

  test('with --every it goes on until it is ended', async () => {
    const dir = await freshDir();
    const [store, vault] = [join(dir, 'data'), join(dir, 'vault')];
    await cli(['put', store, 'a'], { stdin: 'first' });
    await cli(['backup', store, vault]);
    await cli(['put', store, 'a'], { stdin: 'second' });
    const stop = new AbortController();
    const stdout = new PassThrough();
    stdout.on('data', () => stop.abort('SIGTERM'));
    const result = await cli(['archive', store, vault, '--every', '1'], { signal: stop.signal, stdout });
    expect(result.code).toBe(0);
    expect((await cli(['archive', store, vault])).out).toMatch(/^nothing new/);
  });
});

describe('varve restore --merge', () => {
  test('keys come back into a store that is there, and others stay', async () => {
    const dir = await freshDir();
    const [store, vault] = [join(dir, 'data'), join(dir, 'vault')];
    for (const key of ['a', 'b', 'c']) await cli(['put', store, key], { stdin: `${key} then` });
    await cli(['backup', store, vault]);
    await cli(['rm', store, 'a']);
    await cli(['put', store, 'b'], { stdin: 'b now' });
    const dry = await cli(['restore', vault, store, '--merge', '--dry-run', '--json']);
    expect(dry.json()).toMatchObject([{ type: 'restore', dryRun: true, keys: 1, same: 1, kept: 1 }]);
    expect((await cli(['get', store, 'a'])).code).toBe(3);
    const merged = await cli(['restore', vault, store, '--merge']);
    expect(merged.code).toBe(0);
    expect(merged.out).toMatch(/^1 key \(6 B\) of backup .*, 1 key there already, 1 other kept/);
    expect((await cli(['get', store, 'a'])).out).toBe('a then');
    expect((await cli(['get', store, 'b'])).out).toBe('b now');
    const one = await cli(['restore', vault, store, '--merge', '--key', 'b', '--key', 'a', '--overwrite']);
    expect(one.out).toMatch(/^1 key /);
    expect((await cli(['get', store, 'b'])).out).toBe('b then');
    expect((await cli(['restore', vault, store, '--merge', '--prefix', 'c', '--into', 'old'])).code).toBe(0);
    expect((await cli(['get', store, 'c', '--space', 'old'])).out).toBe('c then');
    const part = join(dir, 'part');
    expect((await cli(['restore', vault, part, '--prefix', 'a', '--prefix', 'c'])).code).toBe(0);
    expect((await cli(['ls', part])).out).toBe('a\nc\n');
    for (const wrong of [
      ['--dry-run'],
      ['--into', 'x'],
      ['--overwrite'],
      ['--files', '--merge'],
      ['--files', '--key', 'a'],
    ])
      expect((await cli(['restore', vault, join(dir, 'w'), ...wrong])).code).toBe(2);
  });
});
