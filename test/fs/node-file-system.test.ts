import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { ensureDir, writeNewFile } from '../../src/fs/dirs.ts';
import { openNodeFileSystem } from '../../src/fs/node-file-system.ts';
import { tempDir } from './temp-dir.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe('opening the directory', () => {
  test('a missing directory is VARVE_NOT_FOUND unless it may be made', async () => {
    const dir = path.join(await tempDir(), 'a', 'b');
    await expect(openNodeFileSystem(dir)).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND', file: dir });
    const fs = await openNodeFileSystem(dir, { create: true });
    expect(fs.root).toBe(dir);
    expect(await fs.list('')).toEqual([]);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    await openNodeFileSystem(dir, { create: true });
  });

  test('a file in its place is refused with ENOTDIR', async () => {
    const file = path.join(await tempDir(), 'f');
    writeFileSync(file, 'x');
    for (const create of [true, false]) {
      await expect(openNodeFileSystem(file, { create })).rejects.toMatchObject({
        code: 'VARVE_IO',
        errno: 'ENOTDIR',
      });
    }
    await expect(openNodeFileSystem(path.join(file, 'g'), { create: true })).rejects.toMatchObject({
      code: 'VARVE_IO',
      errno: 'ENOTDIR',
    });
    for (const dir of ['', 'a\0b', undefined, null, 5, {}]) {
      const call = openNodeFileSystem(dir as string);
      await expect(call).rejects.toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' });
    }
    const both = { create: true, readOnly: true };
    await expect(openNodeFileSystem(file, both)).rejects.toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' });
  });

  test('a read-only port changes nothing', async () => {
    const dir = await tempDir();
    const writer = await openNodeFileSystem(dir);
    await ensureDir(writer, 'd');
    await writeNewFile(writer, 'd/a', bytes(1));
    const fs = await openNodeFileSystem(dir, { readOnly: true });
    const refused = { code: 'VARVE_READ_ONLY' };
    await expect(fs.open('d/a', 'rw')).rejects.toMatchObject(refused);
    await expect(fs.open('d/b', 'create')).rejects.toMatchObject(refused);
    await expect(fs.mkdir('e')).rejects.toMatchObject(refused);
    await expect(fs.rename('d/a', 'd/b')).rejects.toMatchObject(refused);
    await expect(fs.unlink('d/a')).rejects.toMatchObject(refused);
    await expect(fs.rmdir('d')).rejects.toMatchObject(refused);
    await expect(fs.syncDir('d')).rejects.toMatchObject(refused);
    const file = await fs.open('d/a', 'read');
    await expect(file.write(bytes(1), 0)).rejects.toMatchObject(refused);
    expect(() => file.writeSync(bytes(1), 0)).toThrow(expect.objectContaining(refused));
    await expect(file.truncate(0)).rejects.toMatchObject(refused);
    await expect(file.sync()).rejects.toMatchObject(refused);
    await expect(file.dataSync()).rejects.toMatchObject(refused);
    expect(await file.size()).toBe(1);
    await file.close();
    expect(await fs.list('d')).toEqual([{ name: 'a', kind: 'file' }]);
  });
});

describe.skipIf(process.platform === 'win32')('what lies in the directory', () => {
  test('links are not followed, neither as files nor as directories', async () => {
    const dir = await tempDir();
    const other = await tempDir();
    writeFileSync(path.join(other, 'secret'), 'x');
    symlinkSync(path.join(other, 'secret'), path.join(dir, 'file'));
    symlinkSync(other, path.join(dir, 'sub'));
    symlinkSync(path.join(other, 'made'), path.join(dir, 'dangling'));
    const fs = await openNodeFileSystem(dir);
    for (const mode of ['read', 'rw', 'create'] as const) {
      await expect(fs.open('file', mode)).rejects.toMatchObject({ code: 'VARVE_IO' });
      await expect(fs.open('sub/secret', mode)).rejects.toMatchObject({ errno: 'ENOTDIR' });
      await expect(fs.open('dangling', mode)).rejects.toMatchObject({ code: 'VARVE_IO' });
    }
    expect(() => fs.openSync('file')).toThrow(expect.objectContaining({ code: 'VARVE_IO' }));
    expect(() => fs.openSync('sub/secret')).toThrow(expect.objectContaining({ errno: 'ENOTDIR' }));
    await expect(fs.list('sub')).rejects.toMatchObject({ errno: 'ENOTDIR' });
    await expect(fs.unlink('sub/secret')).rejects.toMatchObject({ errno: 'ENOTDIR' });
    await expect(fs.rename('sub/secret', 'x')).rejects.toMatchObject({ errno: 'ENOTDIR' });
    await expect(fs.mkdir('sub')).rejects.toMatchObject({ errno: 'ENOTDIR' });
    expect((await fs.stat('sub'))?.kind).toBe('other');
    expect((await fs.list('')).map((entry) => entry.kind)).toEqual(['other', 'other', 'other']);
    expect(readFileSync(path.join(other, 'secret'), 'utf8')).toBe('x');
  });

  test('a pipe in the place of a file is refused and does not hang the open', async () => {
    const dir = await tempDir();
    execFileSync('mkfifo', [path.join(dir, 'pipe')]);
    const fs = await openNodeFileSystem(dir);
    for (const mode of ['read', 'rw'] as const) {
      await expect(fs.open('pipe', mode)).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EINVAL' });
    }
    expect(() => fs.openSync('pipe')).toThrow(expect.objectContaining({ errno: 'EINVAL' }));
    expect((await fs.stat('pipe'))?.kind).toBe('other');
  });

  test('modes are 0600 and 0700 whatever the umask', async () => {
    const dir = await tempDir();
    const fs = await openNodeFileSystem(dir);
    for (const [i, mask] of [0o000, 0o277].entries()) {
      const before = process.umask(mask);
      try {
        await fs.mkdir(`d${i}`);
        await (await fs.open(`d${i}/a`, 'create')).close();
      } finally {
        process.umask(before);
      }
      expect(statSync(path.join(dir, `d${i}`)).mode & 0o777).toBe(0o700);
      expect(statSync(path.join(dir, `d${i}/a`)).mode & 0o777).toBe(0o600);
    }
    chmodSync(path.join(dir, 'd0/a'), 0o640);
    await (await fs.open('d0/a', 'rw')).close();
    expect(statSync(path.join(dir, 'd0/a')).mode & 0o777).toBe(0o640);
  });

  test('free space is told and a directory replaced by a link is noticed after a rename', async () => {
    const dir = await tempDir();
    const fs = await openNodeFileSystem(dir);
    expect(await fs.free()).toBeGreaterThan(0);
    mkdirSync(path.join(dir, 'd'));
    await writeNewFile(fs, 'd/a', bytes(1));
    await fs.rename('d', 'e');
    symlinkSync(path.join(dir, 'e'), path.join(dir, 'd'));
    await expect(fs.open('d/a', 'read')).rejects.toMatchObject({ errno: 'ENOTDIR' });
  });
});
