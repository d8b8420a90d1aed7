import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { equalBytes } from '../../src/base/bytes.ts';
import { ensureDir, readExact, readExactSync, readWhole, writeNewFile } from '../../src/fs/dirs.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openNodeFileSystem } from '../../src/fs/node-file-system.ts';
import type { FsFile, FsPort } from '../../src/fs/port.ts';
import { tempDir } from './temp-dir.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const refused = (name: string) => ({ code: 'VARVE_IO', errno: name });

const ports: [string, () => Promise<FsPort>][] = [
  ['memory', async () => new MemoryFileSystem()],
  ['memory ext4', async () => new MemoryFileSystem({ profile: 'ext4' })],
  ['node', async () => openNodeFileSystem(await tempDir())],
];

describe.each(ports)('%s file system', (_name, open) => {
  test('open modes make, find and refuse', async () => {
    const fs = await open();
    await expect(fs.open('a', 'read')).rejects.toMatchObject({ ...refused('ENOENT'), file: 'a' });
    await expect(fs.open('a', 'rw')).rejects.toMatchObject(refused('ENOENT'));
    await expect(fs.open('d/a', 'create')).rejects.toMatchObject(refused('ENOENT'));
    const made = await fs.open('a', 'create');
    expect(made.path).toBe('a');
    await made.write(bytes(1, 2, 3), 0);
    await made.close();
    await expect(fs.open('a', 'create')).rejects.toMatchObject(refused('EEXIST'));
    await expect(fs.open('a/b', 'create')).rejects.toMatchObject(refused('ENOTDIR'));
    const read = await fs.open('a', 'read');
    await expect(read.write(bytes(1), 0)).rejects.toMatchObject(refused('EBADF'));
    expect(() => read.writeSync(bytes(1), 0)).toThrow(expect.objectContaining({ errno: 'EBADF' }));
    await read.close();
    await fs.mkdir('d');
    await expect(fs.open('d', 'read')).rejects.toMatchObject(refused('EISDIR'));
    const sync = fs.openSync('a');
    const buf = new Uint8Array(4);
    expect([sync.path, sync.readSync(buf, 0), buf]).toEqual(['a', 3, bytes(1, 2, 3, 0)]);
    expect(() => sync.writeSync(bytes(1), 0)).toThrow(expect.objectContaining({ errno: 'EBADF' }));
    await sync.close();
    const failing = [
      ['x', 'ENOENT'],
      ['x/y', 'ENOENT'],
      ['d', 'EISDIR'],
      ['a/b', 'ENOTDIR'],
    ] as const;
    for (const [path, name] of failing) {
      expect(() => fs.openSync(path), path).toThrow(
        expect.objectContaining({ ...refused(name), file: expect.any(String) }),
      );
    }
  });

  test('reads stop at the end of the file', async () => {
    const fs = await open();
    const file = await fs.open('a', 'create');
    await file.write(bytes(1, 2, 3), 2);
    expect(await file.size()).toBe(5);
    const buf = new Uint8Array(8).fill(9);
    expect(await file.read(buf, 1)).toBe(4);
    expect(buf).toEqual(bytes(0, 1, 2, 3, 9, 9, 9, 9));
    expect(file.readSync(buf, 4)).toBe(1);
    expect(await file.read(buf, 5)).toBe(0);
    expect(await file.read(buf, 500)).toBe(0);
    await file.truncate(3);
    await file.truncate(6);
    expect(await file.read(buf, 0)).toBe(6);
    expect(buf.subarray(0, 6)).toEqual(bytes(0, 0, 1, 0, 0, 0));
    await file.sync();
    await file.dataSync();
    await file.close();
  });

  test('directories are made, listed, synced and removed', async () => {
    const fs = await open();
    expect(await fs.mkdir('d')).toBe(true);
    expect(await fs.mkdir('d')).toBe(false);
    await expect(fs.mkdir('x/y')).rejects.toMatchObject(refused('ENOENT'));
    await ensureDir(fs, 'd/e/f');
    await ensureDir(fs, 'd/e/f');
    await writeNewFile(fs, 'd/b', bytes(1, 2));
    await writeNewFile(fs, 'd/a', bytes());
    expect(await fs.list('d')).toEqual([
      { name: 'a', kind: 'file' },
      { name: 'b', kind: 'file' },
      { name: 'e', kind: 'directory' },
    ]);
    expect((await fs.list('')).map((entry) => entry.name)).toEqual(['d']);
    expect(await fs.stat('d/b')).toMatchObject({ kind: 'file', size: 2 });
    expect(await fs.stat('d/e')).toMatchObject({ kind: 'directory' });
    expect(await fs.stat('d/x')).toBe(null);
    expect(await fs.stat('nope/x')).toBe(null);
    expect(await fs.rmdir('d/e')).toBe(false);
    expect(await fs.rmdir('d/e/f')).toBe(true);
    expect(await fs.rmdir('d/e/f')).toBe(false);
    expect(await fs.rmdir('d/e')).toBe(true);
    await fs.syncDir('d');
    await fs.syncDir('');
    await expect(fs.list('nope')).rejects.toMatchObject(refused('ENOENT'));
    await expect(fs.list('d/b')).rejects.toMatchObject(refused('ENOTDIR'));
    await expect(fs.syncDir('nope')).rejects.toMatchObject(refused('ENOENT'));
    await expect(fs.mkdir('d/b')).rejects.toMatchObject(refused('ENOTDIR'));
    await expect(ensureDir(fs, 'd/b/c')).rejects.toMatchObject(refused('ENOTDIR'));
  });

  test('a link is a second name of a file and replaces nothing', async () => {
    const fs = await open();
    await writeNewFile(fs, 'a', bytes(1, 2));
    await fs.mkdir('d');
    await fs.link('a', 'd/b');
    await expect(fs.link('a', 'd/b')).rejects.toMatchObject(refused('EEXIST'));
    await expect(fs.link('x', 'y')).rejects.toMatchObject(refused('ENOENT'));
    await fs.syncDir('d');
    await fs.unlink('a');
    expect(await readWhole(fs, 'd/b', 10)).toEqual(bytes(1, 2));
  });

  test('files are renamed, replaced and unlinked', async () => {
    const fs = await open();
    await writeNewFile(fs, 'a', bytes(1));
    await writeNewFile(fs, 'b', bytes(2));
    await fs.mkdir('d');
    await expect(fs.rename('x', 'y')).rejects.toMatchObject(refused('ENOENT'));
    await expect(fs.rename('a', 'd')).rejects.toMatchObject(refused('EISDIR'));
    await fs.rename('a', 'b');
    expect(await readWhole(fs, 'b', 1)).toEqual(bytes(1));
    await fs.rename('b', 'd/c');
    expect(await fs.unlink('b')).toBe(false);
    await expect(fs.unlink('d')).rejects.toMatchObject({ code: 'VARVE_IO' });
    expect(await fs.unlink('d/c')).toBe(true);
    expect(await fs.unlink('d/c')).toBe(false);
    expect(await fs.list('d')).toEqual([]);
    await writeNewFile(fs, 'd/e', bytes(3));
    await fs.rename('d', 'f');
    expect(await readWhole(fs, 'f/e', 1)).toEqual(bytes(3));
    expect(await fs.stat('d')).toBe(null);
  });

  test('reading too much or too long a file is damage with file and offset', async () => {
    const fs = await open();
    await writeNewFile(fs, 'a', bytes(1, 2, 3));
    const file = await fs.open('a', 'read');
    const damage = { code: 'VARVE_CORRUPT', file: 'a', offset: 3, expected: 5, actual: 3 };
    await expect(readExact(file, new Uint8Array(4), 1)).rejects.toMatchObject(damage);
    expect(() => readExactSync(file, new Uint8Array(4), 1)).toThrow(expect.objectContaining(damage));
    readExactSync(file, new Uint8Array(3), 0);
    await file.close();
    expect(await readWhole(fs, 'a', 3)).toEqual(bytes(1, 2, 3));
    await expect(readWhole(fs, 'a', 2)).rejects.toMatchObject({
      code: 'VARVE_CORRUPT',
      expected: 2,
      actual: 3,
    });
    await expect(writeNewFile(fs, 'a', bytes(1))).rejects.toMatchObject(refused('EEXIST'));
  });

  test('close waits for the operations under way and nothing may follow it', async () => {
    const fs = await open();
    const file = await fs.open('a', 'create');
    let written = 0;
    const writes = Array.from({ length: 20 }, async (_, i) => {
      await file.write(new Uint8Array(10_000).fill(i), i * 10_000);
      written++;
    });
    const closed = file.close();
    expect(file.close()).toBe(closed);
    await expect(file.read(new Uint8Array(1), 0)).rejects.toThrow('file is open');
    expect(() => file.readSync(new Uint8Array(1), 0)).toThrow('file is open');
    expect(() => file.writeSync(bytes(1), 0)).toThrow('file is open');
    await closed;
    expect(written).toBe(20);
    await Promise.all(writes);
    expect((await fs.stat('a'))?.size).toBe(200_000);
  });

  test('paths that leave the directory are our own mistake', async () => {
    const fs = await open();
    for (const path of ['/a', '../a', 'a//b', './a', 'a/', 'a\\b', 'c:', 'a\0']) {
      await expect(fs.stat(path), path).rejects.toThrow('path is relative');
    }
  });

  test('a file behaves like an array of bytes', async () => {
    const step = fc.oneof(
      fc.record({
        op: fc.constant('write' as const),
        pos: fc.nat(20_000),
        data: fc.uint8Array({ maxLength: 6_000 }),
      }),
      fc.record({ op: fc.constant('truncate' as const), pos: fc.nat(25_000) }),
      fc.record({ op: fc.constant('read' as const), pos: fc.nat(25_000), length: fc.nat(9_000) }),
      fc.record({ op: fc.constant('sync' as const), data: fc.boolean() }),
    );
    const fs = await open();
    let no = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const file = await fs.open(`f${no++}`, 'create');
        let model = new Uint8Array(0);
        for (const [i, s] of steps.entries()) {
          if (s.op === 'write') {
            if (i % 2 === 0) await file.write(s.data, s.pos);
            else file.writeSync(s.data, s.pos);
            if (s.data.length > 0) model = resized(model, Math.max(model.length, s.pos + s.data.length));
            model.set(s.data, s.data.length === 0 ? 0 : s.pos);
          } else if (s.op === 'truncate') {
            await file.truncate(s.pos);
            model = resized(model, s.pos);
          } else if (s.op === 'sync') {
            if (!(fs instanceof MemoryFileSystem)) continue;
            await (s.data ? file.dataSync() : file.sync());
          } else {
            expect(equalBytes(await read(file, s.length, s.pos), model.slice(s.pos, s.pos + s.length))).toBe(
              true,
            );
          }
        }
        expect(equalBytes(await read(file, 50_000, 0), model)).toBe(true);
        await file.close();
      }),
      { numRuns: 60 },
    );
  });
});

async function read(file: FsFile, length: number, pos: number): Promise<Uint8Array> {
  const buf = new Uint8Array(length);
  const n = await file.read(buf, pos);
  expect(file.readSync(new Uint8Array(length), pos)).toBe(n);
  return buf.subarray(0, n);
}

function resized(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  out.set(bytes.subarray(0, length));
  return out;
}
