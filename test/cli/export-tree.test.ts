import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { VarveError } from '../../src/base/errors.ts';
import { type ExportSource, exportTree } from '../../src/cli/tree/export-tree.ts';
import type { Engine } from '../../src/index.ts';
import { bytePath, paths, snapshot, withStore } from './kit.ts';

describe('export', () => {
  const put = (
    engine: Engine,
    key: string | Uint8Array,
    metadata?: Record<string, string | number | Uint8Array>,
  ) => engine.put(key, 'data', metadata === undefined ? {} : { metadata });

  test('hostile keys are refused and listed, nothing is written outside', async () => {
    await withStore(async (engine, base) => {
      const bad = ['..', '../up', 'a/../../up', '/abs', 'a//b', './c', 'x/', 'nul\0byte', 'd/.'];
      for (const key of bad) await put(engine, key);
      await put(engine, 'good/file');
      const report = await exportTree(engine, join(base, 'out'));
      expect(paths(report.failed).sort()).toEqual(bad.sort());
      expect(report).toMatchObject({ ok: false, files: 1 });
      expect(Object.keys(await snapshot(join(base, 'out')))).toEqual(['good/', 'good/file']);
      expect((await readdir(base)).sort()).toEqual(['out', 'store']);
    });
  });

  test('a stored link is never written through', async () => {
    await withStore(async (engine, base) => {
      await mkdir(join(base, 'outside'));
      const target = encodeUtf8(join(base, 'outside'));
      await put(engine, 'dir', { type: 'symlink', target });
      await put(engine, 'dir/evil');
      await put(engine, 'file', { type: 'symlink', target: encodeUtf8(join(base, 'outside/new')) });
      const report = await exportTree(engine, join(base, 'out'));
      expect(paths(report.failed)).toEqual(['dir/evil']);
      expect(report).toMatchObject({ links: 2, files: 0 });
      expect(await readdir(join(base, 'outside'))).toEqual([]);
    });
  });

  test('with overwrite, links in the target are replaced or refused, not followed', async () => {
    await withStore(async (engine, base) => {
      await mkdir(join(base, 'outside'));
      await writeFile(join(base, 'outside', 'kept'), 'kept');
      await mkdir(join(base, 'out'));
      await symlink(join(base, 'outside'), join(base, 'out', 'dir'));
      await symlink(join(base, 'outside', 'kept'), join(base, 'out', 'file'));
      await writeFile(join(base, 'out', 'other'), 'stays');
      await put(engine, 'dir/kept');
      await put(engine, 'file');
      await expect(exportTree(engine, join(base, 'out'))).rejects.toMatchObject({
        code: 'VARVE_INVALID_ARGUMENT',
      });
      const report = await exportTree(engine, join(base, 'out'), { overwrite: true });
      expect(paths(report.failed)).toEqual(['dir/kept']);
      expect(await readFile(join(base, 'outside', 'kept'), 'utf8')).toBe('kept');
      expect(await readFile(join(base, 'out', 'file'), 'utf8')).toBe('data');
      expect(await readFile(join(base, 'out', 'other'), 'utf8')).toBe('stays');
    });
  });

  test('of a file and a directory of one name the file stays and the rest is reported', async () => {
    await withStore(async (engine, base) => {
      for (const key of ['a', 'a.b', 'a/x', 'a/y/z', 'b']) await put(engine, key);
      const report = await exportTree(engine, join(base, 'out'));
      expect(paths(report.failed)).toEqual(['a/x', 'a/y/z']);
      expect(report.failed[0]).toMatchObject({ code: 'VARVE_CONFLICT' });
      expect((await readdir(join(base, 'out'))).sort()).toEqual(['a', 'a.b', 'b']);
    });
  });

  test('every value with chunks is read with its hashes checked, however short it is', async () => {
    await withStore(async (engine, base) => {
      await engine.put('inline', 'data');
      await engine.put('short', new Uint8Array(5000).fill(1));
      await engine.put('long', new Uint8Array(400_000).fill(2));
      const read: unknown[] = [];
      const source = {
        scan: (options: Parameters<ExportSource['scan']>[0]) => engine.scan(options),
        get: (key: Uint8Array) => {
          read.push(`get ${Buffer.from(key)}`);
          return engine.get(key);
        },
        stream: (key: Uint8Array, options: { verify: true }) => {
          read.push([`stream ${Buffer.from(key)}`, options]);
          return engine.stream(key, options);
        },
      };
      expect(await exportTree(source, join(base, 'out'))).toMatchObject({ ok: true, files: 3 });
      const verify = { verify: true };
      // A short value comes whole, and is held against its digest.
      expect(read).toEqual(['get inline', ['stream long', verify], 'get short']);
      expect((await readFile(join(base, 'out', 'short'))).equals(Buffer.alloc(5000, 1))).toBe(true);
    });
  });

  test('a short value that is not what its digest says is read again as a stream', async () => {
    await withStore(async (engine, base) => {
      await engine.put('wrong', new Uint8Array(5000).fill(1));
      await engine.put('damaged', new Uint8Array(6000).fill(2));
      const wrongBytes = new Uint8Array(5000).fill(9);
      const source = {
        scan: (options: Parameters<ExportSource['scan']>[0]) => engine.scan(options),
        get: (key: Uint8Array) =>
          Buffer.from(key).toString() === 'wrong'
            ? Promise.resolve(wrongBytes)
            : Promise.reject(new VarveError('VARVE_CORRUPT', 'a chunk is damaged')),
        stream: (key: Uint8Array, options: { verify: true }) => engine.stream(key, options),
      };
      expect(await exportTree(source, join(base, 'out'))).toMatchObject({ ok: true, files: 2 });
      expect((await readFile(join(base, 'out', 'wrong'))).equals(Buffer.alloc(5000, 1))).toBe(true);
      expect((await readFile(join(base, 'out', 'damaged'))).equals(Buffer.alloc(6000, 2))).toBe(true);
    });
  });

  test('metadata that is out of range does no harm', async () => {
    await withStore(async (engine, base) => {
      await put(engine, 'mode', { type: 'file', mode: 1e9, mtimeMs: 1e300, mtimeNs: -4 });
      await put(engine, 'setuid', { type: 'file', mode: 0o6755 });
      await put(engine, 'no-target', { type: 'symlink' });
      await put(engine, 'nul-target', { type: 'symlink', target: Uint8Array.of(0x61, 0) });
      await put(engine, 'dir', { type: 'directory' });
      const report = await exportTree(engine, join(base, 'out'));
      expect(paths(report.failed)).toEqual(['dir', 'no-target', 'nul-target']);
      expect((await stat(join(base, 'out', 'setuid'))).mode & 0o7777).toBe(0o755);
    });
  });

  test('keys without tree metadata become plain files, names that are not UTF-8 too', async () => {
    await withStore(async (engine, base) => {
      const odd = Uint8Array.of(0x6f, 0xff);
      await put(engine, 'made/of/dirs');
      await put(engine, odd);
      expect(await exportTree(engine, join(base, 'out'))).toMatchObject({ ok: true, files: 2 });
      expect(await readFile(bytePath(join(base, 'out'), odd), 'utf8')).toBe('data');
      expect(await readFile(join(base, 'out', 'made/of/dirs'), 'utf8')).toBe('data');
    });
  });

  test('names that Windows cannot have are refused there', async () => {
    await withStore(async (engine, base) => {
      for (const key of ['C:\\x', 'con', 'fine']) await put(engine, key);
      const report = await exportTree(engine, join(base, 'out'), { platform: 'win32' });
      expect(paths(report.failed)).toEqual(['C:\\x', 'con']);
    });
  });
});
