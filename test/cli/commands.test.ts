import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openEngine } from '../../src/index.ts';
import { bigBytes, cli, closingStream, freshDir, hostileTree, snapshot } from './kit.ts';

async function storeWith(values: Record<string, string>): Promise<string> {
  const store = join(await freshDir(), 'store');
  const engine = await openEngine(store, { durability: 'os' });
  for (const [key, value] of Object.entries(values)) await engine.put(key, value);
  await engine.close();
  return store;
}

describe('put and get', () => {
  test('a value goes in from stdin or a file and comes out byte for byte', async () => {
    const dir = await freshDir();
    const store = join(dir, 'store');
    const bytes = bigBytes(300_000);
    await writeFile(join(dir, 'file'), bytes);
    expect(await cli(['put', store, 'a'], { stdin: bytes })).toMatchObject({ code: 0 });
    expect((await cli(['put', store, 'b', join(dir, 'file'), '--json'])).json()).toMatchObject([
      { type: 'put', key: 'b', size: 300_000, newBytes: 0 },
    ]);
    expect((await cli(['get', store, 'a'])).stdout.equals(bytes)).toBe(true);
    expect((await cli(['get', store, 'b', '-o', join(dir, 'out')])).code).toBe(0);
    expect((await readFile(join(dir, 'out'))).equals(bytes)).toBe(true);
    expect((await readdir(dir)).sort()).toEqual(['file', 'out', 'store']);
    const [value] = (await cli(['get', store, 'a', '--json'])).json();
    expect(Buffer.from(value!.base64 as string, 'base64').equals(bytes)).toBe(true);
  });

  test('content type, tags and metadata are kept and shown', async () => {
    const store = join(await freshDir(), 'store');
    const args = [
      '--content-type',
      'text/plain',
      '--tag',
      'b',
      '--tag',
      'a',
      '--meta',
      'x=1',
      '--meta',
      '{"n":[1]}',
    ];
    expect((await cli(['put', store, 'k', ...args, '--sha256'], { stdin: 'v' })).code).toBe(0);
    const [stat] = (await cli(['stat', store, 'k', '--json'])).json();
    expect(stat).toMatchObject({
      type: 'stat',
      key: 'k',
      size: 1,
      contentType: 'text/plain',
      tags: ['a', 'b'],
      metadata: { x: '1', n: [1] },
      sha256: '4c94485e0c21ae6c41ce1dfe7b6bfaceea5ab68e40a2476f50208e526f506080',
    });
    expect((await cli(['stat', store, 'k'])).out).toContain('text/plain');
  });

  test('--if-seq keeps a value that changed meanwhile', async () => {
    const store = await storeWith({ k: 'first' });
    expect((await cli(['put', store, 'k', '--if-seq', '0'], { stdin: 'x' })).code).toBe(1);
    expect((await cli(['get', store, 'k'])).out).toBe('first');
  });

  test('keys that are not UTF-8 are given in hex', async () => {
    const store = await storeWith({});
    expect((await cli(['put', store, 'ff00', '--hex'], { stdin: 'v' })).code).toBe(0);
    expect((await cli(['get', store, 'ff00', '--hex'])).out).toBe('v');
    expect((await cli(['ls', store])).out).toBe('\\xff\\x00\n');
    expect((await cli(['ls', store, '--json'])).json()).toMatchObject([{ keyHex: 'ff00' }]);
    expect((await cli(['get', store, 'f', '--hex'])).code).toBe(2);
  });

  test('neither a wrong file nor a reading command makes a store', async () => {
    const dir = await freshDir();
    const store = join(dir, 'store');
    expect((await cli(['put', store, 'k', join(dir, 'none')])).code).toBe(3);
    expect((await cli(['put', store, 'k', dir])).code).toBe(2);
    expect((await cli(['import', store, join(dir, 'none')])).code).toBe(3);
    const reading = [
      ['get', store, 'k'],
      ['ls', store],
      ['stat', store, 'k'],
      ['stats', store],
    ];
    const others = [
      ['export', store, dir],
      ['rm', store, 'k'],
      ['inspect', store],
      ['doctor', store],
    ];
    for (const argv of [...reading, ...others]) expect((await cli(argv)).code, argv[0]).toBe(3);
    expect(await readdir(dir)).toEqual([]);
  });

  test('spaces have keys of their own', async () => {
    const store = await storeWith({ k: 'main' });
    expect((await cli(['put', store, 'k', '--space', 's'], { stdin: 'space' })).code).toBe(0);
    expect((await cli(['get', store, 'k'])).out).toBe('main');
    expect((await cli(['get', store, 'k', '--space', 's'])).out).toBe('space');
    expect((await cli(['get', store, 'k', '--space', 'none'])).code).toBe(3);
  });
});

describe('rm and ls', () => {
  test('rm removes keys and says which were not there', async () => {
    const store = await storeWith({ a: '1', b: '2' });
    expect(await cli(['rm', store, 'a', 'x'])).toMatchObject({ code: 3, err: 'varve: no such key: x\n' });
    expect((await cli(['rm', store, 'x', '--force'])).code).toBe(0);
    expect((await cli(['rm', store, 'b', '--json'])).json()).toEqual([
      { type: 'removed', key: 'b', removed: true },
    ]);
    expect((await cli(['ls', store])).out).toBe('');
  });

  test('rm removes all keys that begin with a prefix', async () => {
    const store = await storeWith({ 'a/1': '1', 'a/2': '2', b: '3' });
    expect((await cli(['rm', store])).code).toBe(2);
    expect((await cli(['rm', store, 'b', '--prefix', 'a/'])).code).toBe(2);
    expect((await cli(['rm', store, '--prefix', ''])).code).toBe(2);
    expect(await cli(['rm', store, '--prefix', 'x'])).toMatchObject({
      code: 3,
      err: 'varve: no key begins with x\n',
    });
    expect((await cli(['rm', store, '--prefix', 'a/', '--json'])).json()).toEqual([
      { type: 'removed', prefix: 'a/', removed: true },
    ]);
    expect((await cli(['rm', store, '--prefix', 'a/', '--force'])).code).toBe(0);
    expect((await cli(['ls', store])).out).toBe('b\n');
  });

  test('ls takes prefix, delimiter, limit, after and reverse', async () => {
    const store = await storeWith({ 'a/1': '', 'a/2': '', 'a/b/3': '', c: 'cc' });
    const ls = async (...args: string[]): Promise<string[]> =>
      (await cli(['ls', store, ...args])).out.split('\n').filter((line) => line !== '');
    expect(await ls()).toEqual(['a/1', 'a/2', 'a/b/3', 'c']);
    expect(await ls('--delimiter', '/')).toEqual(['a/', 'c']);
    expect(await ls('--prefix', 'a/', '--delimiter', '/')).toEqual(['a/1', 'a/2', 'a/b/']);
    expect(await ls('--limit', '2', '--after', 'a/1')).toEqual(['a/2', 'a/b/3']);
    expect(await ls('--reverse', '--limit', '1')).toEqual(['c']);
    expect((await ls('--long', '--prefix', 'c'))[0]).toMatch(/^ +2 {2}\d{4}-\d\d-\d\dT[\d:]+Z {2}c$/);
    expect((await cli(['ls', store, '--json', '--delimiter', '/'])).json()).toMatchObject([
      { type: 'prefix', prefix: 'a/' },
      { type: 'entry', key: 'c', size: 2 },
    ]);
  });

  test('a listing whose reader goes away ends early and in order', async () => {
    const values = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`${i}${'k'.repeat(900)}`, '']));
    const store = await storeWith(values);
    expect(await cli(['ls', store], { stdout: closingStream() })).toMatchObject({ code: 0, err: '' });
  });
});

describe('import and export', () => {
  test('a tree goes in and out, reports are JSON where asked for', async () => {
    const dir = await freshDir();
    const store = join(dir, 'store');
    await mkdir(join(dir, 'tree'));
    await hostileTree(join(dir, 'tree'));
    const imported = await cli(['import', store, join(dir, 'tree'), '--prefix', 't/', '--json']);
    expect(imported.code).toBe(0);
    expect(imported.json()).toMatchObject([{ type: 'import', ok: true, links: 3, failed: [], skipped: [] }]);
    expect((await cli(['export', store, join(dir, 'out'), '--prefix', 't/'])).out).toContain(
      '3 links written',
    );
    expect(await snapshot(join(dir, 'out'))).toEqual(await snapshot(join(dir, 'tree')));
    expect((await cli(['export', store, join(dir, 'out')])).code).toBe(2);
    expect((await cli(['export', store, join(dir, 'new'), '--prefix', 'mistyped/'])).code).toBe(3);
    expect((await cli(['stats', store, '--json'])).json()).toMatchObject([
      { type: 'stats', health: { ok: true } },
    ]);
  });

  test('an export with refused keys writes the rest, lists them and fails', async () => {
    const store = await storeWith({ '../up': '', fine: '' });
    const out = join(await freshDir(), 'out');
    const run = await cli(['export', store, out, '--json']);
    expect(run.code).toBe(1);
    expect(run.json()).toMatchObject([{ type: 'export', ok: false, files: 1, failed: [{ path: '../up' }] }]);
  });

  test('an interrupted import ends with 130 and the store opens again', async () => {
    const dir = await freshDir();
    await mkdir(join(dir, 'tree'));
    await hostileTree(join(dir, 'tree'));
    const store = await storeWith({ k: 'v' });
    const run = await cli(['import', store, join(dir, 'tree')], { signal: AbortSignal.abort('SIGINT') });
    expect(run.code).toBe(130);
    expect((await cli(['get', store, 'k'])).out).toBe('v');
  });
});

describe('usage, locks and help', () => {
  test('wrong usage ends with 2 and says what is wrong', async () => {
    const wrong = [
      [],
      ['bogus'],
      ['ls'],
      ['ls', 'a', 'b'],
      ['ls', 'a', '--limit', '-1'],
      ['ls', 'a', '--bogus'],
      ['put', 'a', 'b', '--meta', 'x'],
    ];
    for (const argv of wrong) {
      const run = await cli(argv);
      expect(run.code, argv.join(' ')).toBe(2);
      expect(run.err).not.toBe('');
      expect(run.out).toBe('');
    }
    expect((await cli(['ls', '--json'])).json()).toMatchObject([{ type: 'error', code: 'USAGE' }]);
  });

  test('every command has help with examples', async () => {
    const commands = [
      'put',
      'get',
      'rm',
      'ls',
      'stat',
      'import',
      'export',
      'stats',
      'inspect',
      'dump',
      'doctor',
      'changes',
    ];
    for (const name of commands) {
      const run = await cli([name, '--help']);
      expect(run.code).toBe(0);
      expect(run.out).toMatch(/Examples:\n {2}\$ varve/);
      expect(run.out).toContain('--json');
    }
    expect((await cli(['--help'])).out).toContain('Exit codes');
    expect((await cli(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test('a store that is open for writing is locked for writers and open for readers', async () => {
    const store = join(await freshDir(), 'store');
    const engine = await openEngine(store);
    try {
      await engine.put('k', 'v');
      const run = await cli(['put', store, 'k', '--json'], { stdin: 'x' });
      expect(run.code).toBe(5);
      expect(run.json()).toMatchObject([{ type: 'error', code: 'VARVE_LOCKED', retryable: true }]);
      expect((await cli(['get', store, 'k'])).out).toBe('v');
      const [report] = (await cli(['doctor', store, '--json'])).json();
      expect(report).toMatchObject({ store: { opens: true, lock: { held: true, pid: process.pid } } });
    } finally {
      await engine.close();
    }
  });

  test('doctor names the providers', async () => {
    const [report] = (await cli(['doctor', '--json'])).json();
    expect(report).toMatchObject({ type: 'doctor', hash: 'node:crypto', checksum: 'xxhash-wasm' });
    expect((await cli(['doctor'])).out).toContain('socket guard');
  });

  test('control characters in keys do not reach a terminal', async () => {
    const store = await storeWith({ '\u001b[2Jx': '' });
    expect((await cli(['ls', store])).out).toBe('\\x1b[2Jx\n');
    expect((await cli(['get', store, '\u001b[0m'])).err).toContain('\\x1b[0m');
  });

  test('-o does not follow a link in place of the file', async () => {
    const store = await storeWith({ k: 'new' });
    const dir = await freshDir();
    await writeFile(join(dir, 'real'), 'kept');
    await symlink('real', join(dir, 'link'));
    expect((await cli(['get', store, 'k', '-o', join(dir, 'link')])).code).toBe(0);
    expect(await readFile(join(dir, 'real'), 'utf8')).toBe('kept');
    expect(await readFile(join(dir, 'link'), 'utf8')).toBe('new');
  });
});
