/** The public face on a real directory. */
import { chmod, mkdir, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import * as varve from '../../src/index.ts';
import { openEngine, VarveError } from '../../src/index.ts';
import { bytesOf, codeOf, collect, failure, inPieces, keysOf, same, text } from '../engine/engine-kit.ts';
import { tempDir } from '../fs/temp-dir.ts';

test('the package exports what it promises', () => {
  expect(Object.keys(varve).sort()).toEqual([
    'VarveError',
    'checkBlobName',
    'checkBlobPrefix',
    'checkBlobStore',
    'errorCodes',
    'follow',
    'isVarveError',
    'openBackup',
    'openEngine',
    'openVault',
    'repair',
    'restore',
    'runSchedule',
    'tune',
  ]);
});

test('every call of the engine, through a close and a new open', async () => {
  const dir = path.join(await tempDir(), 'new', 'store');
  await mkdir(path.dirname(dir));
  const value = bytesOf(1, 1_000_000);
  let engine = await openEngine(dir);
  const put = await engine.put('big', inPieces(value, 65_536), {
    contentType: 'x/y',
    tags: ['b', 'a'],
    metadata: { n: 1 },
  });
  expect(put).toMatchObject({
    size: 1_000_000,
    newChunks: expect.any(Number),
    digest: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  await engine.put('web', new Blob([value as Uint8Array<ArrayBuffer>]).stream());
  await engine.put(Uint8Array.of(107), 'bytes');
  await engine.batch([
    { type: 'put', key: 'a/1', value: '1' },
    { type: 'put', key: 'a/2', value: '2' },
    { type: 'delete', key: 'k' },
  ]);
  await engine.space('s').put('x', 'y');
  await engine.flush();
  await engine.put('after', 'flush');
  await engine.close();
  engine = await openEngine(dir, { createIfMissing: false });
  expect(same(await engine.get('big'), value)).toBe(true);
  expect(same(engine.getSync('web'), value)).toBe(true);
  expect((await engine.getMany(['a/1', 'no', 'a/2'])).map(text)).toEqual(['1', undefined, '2']);
  expect([await engine.has('k'), await engine.has('after')]).toEqual([false, true]);
  expect(await engine.stat('big')).toMatchObject({
    digest: put.digest,
    contentType: 'x/y',
    tags: ['a', 'b'],
    metadata: { n: 1 },
  });
  expect(
    same(
      await collect(engine.stream('big', { start: 99_999, end: 500_001 })),
      value.subarray(99_999, 500_001),
    ),
  ).toBe(true);
  expect(await keysOf(engine, { delimiter: '/' })).toEqual(['a/*', 'after', 'big', 'web']);
  expect([engine.spaces.list(), text(await engine.space('s').get('x'))]).toEqual([['s'], 'y']);
  expect(await engine.delete('big')).toBe(true);
  expect(engine.health().ok).toBe(true);
  expect(engine.stats().segments.sealed).toBeGreaterThan(0);
  await engine[Symbol.asyncDispose]();
});

describe('directories', () => {
  test('that are not there are made, one level deep and private, unless told not to', async () => {
    const dir = path.join(await tempDir(), 'store');
    expect(await codeOf(openEngine(dir, { createIfMissing: false }))).toBe('VARVE_NOT_FOUND');
    expect(await codeOf(openEngine(dir, { readOnly: true }))).toBe('VARVE_NOT_FOUND');
    await expect(stat(dir)).rejects.toThrow();
    await (await openEngine(dir)).close();
    if (process.platform !== 'win32') expect((await stat(dir)).mode & 0o777).toBe(0o700);
  });

  test('with a file in the way, or of somebody else, are refused', async () => {
    const dir = await tempDir();
    const file = path.join(dir, 'file');
    await writeFile(file, 'mine');
    const inTheWay = await failure(openEngine(file));
    expect(['VARVE_IO', 'VARVE_INVALID_ARGUMENT']).toContain(inTheWay.code);
    const error = await failure(openEngine(dir));
    expect([error.code, error.file]).toEqual(['VARVE_INVALID_ARGUMENT', 'file']);
    expect(await readdir(dir)).toEqual(['file']);
  });

  test.skipIf(process.platform === 'win32' || process.getuid?.() === 0)(
    'that may not be written are VARVE_IO',
    async () => {
      const dir = await tempDir();
      await chmod(dir, 0o500);
      expect(await codeOf(openEngine(path.join(dir, 'store')))).toBe('VARVE_IO');
    },
  );

  test('may be read where they may not be written', async () => {
    const dir = path.join(await tempDir(), 'store');
    const engine = await openEngine(dir);
    await engine.put('k', bytesOf(1, 5000));
    await engine.close();
    const names = async (): Promise<string[]> => (await readdir(dir, { recursive: true })).sort();
    const before = await names();
    const reader = await openEngine(dir, { readOnly: true });
    expect(same(await reader.get('k'), bytesOf(1, 5000))).toBe(true);
    await reader.close();
    expect(await names()).toEqual(before);
  });

  test.skipIf(process.platform === 'win32')('whose superblock is a link are refused', async () => {
    const dir = await tempDir();
    await (await openEngine(path.join(dir, 'real'))).close();
    await mkdir(path.join(dir, 'fake'));
    await symlink(path.join(dir, 'real', 'SUPER'), path.join(dir, 'fake', 'SUPER'));
    const error = await failure(openEngine(path.join(dir, 'fake'), { readOnly: true }));
    expect(error).toBeInstanceOf(VarveError);
    expect(['VARVE_IO', 'VARVE_CORRUPT', 'VARVE_INVALID_ARGUMENT']).toContain(error.code);
  });
});

describe('one writer', () => {
  test('a second one is VARVE_LOCKED with pid and host of the first; readers are not', async () => {
    const dir = path.join(await tempDir(), 'store');
    const engine = await openEngine(dir);
    await engine.put('k', 'v');
    const error = await failure(openEngine(dir));
    expect([error.code, error.retryable]).toEqual(['VARVE_LOCKED', true]);
    const { hostname } = await import('node:os');
    expect(error.actual).toMatchObject({ pid: process.pid, host: hostname() });
    const reader = await openEngine(dir, { readOnly: true });
    expect(text(await reader.get('k'))).toBe('v');
    await reader.close();
    const waiting = openEngine(dir, { lockWaitMs: 10_000 });
    await engine.close();
    await (await waiting).close();
    await rm(dir, { recursive: true });
  });
});
