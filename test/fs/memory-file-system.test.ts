import { describe, expect, test } from 'vitest';
import { equalBytes } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { ensureDir, hasErrno, readExact, readWhole, writeNewFile } from '../../src/fs/dirs.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow, type FsOp } from '../../src/fs/sim-machine.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const errno = (name: string) => expect.objectContaining({ errno: name });

describe('faults', () => {
  test('a crash fault switches the machine off for every later call', async () => {
    const disk = new MemoryFileSystem();
    await writeNewFile(disk, 'a', bytes(1));
    const file = await disk.open('a', 'rw');
    disk.failAt(disk.opCount + 1, 'crash');
    await file.write(bytes(2), 0);
    await expect(file.sync()).rejects.toBeInstanceOf(CrashNow);
    expect(disk.off).toBe(true);
    await expect(file.read(new Uint8Array(1), 0)).rejects.toBeInstanceOf(CrashNow);
    expect(() => file.readSync(new Uint8Array(1), 0)).toThrow(CrashNow);
    expect(() => file.writeSync(bytes(1), 0)).toThrow(CrashNow);
    await expect(disk.open('b', 'create')).rejects.toBeInstanceOf(CrashNow);
    await expect(disk.list('')).rejects.toBeInstanceOf(CrashNow);
    await expect(disk.stat('a')).rejects.toBeInstanceOf(CrashNow);
    await expect(file.close()).rejects.toBeInstanceOf(CrashNow);
    expect(disk.crash('none').bytesOf('a')).toEqual(bytes(1));
    expect(disk.crash('all').bytesOf('a')).toEqual(bytes(2));
  });

  test('the hook sees each call with its kind, path and index, and its fault is acted out', async () => {
    const disk = new MemoryFileSystem();
    const seen: FsOp[] = [];
    disk.faults = (op) => {
      seen.push(op);
      return op.kind === 'rename' ? { errno: 'EACCES' } : undefined;
    };
    await writeNewFile(disk, 'a', bytes(1, 2));
    await expect(disk.rename('a', 'b')).rejects.toEqual(errno('EACCES'));
    expect(seen.filter((op) => op.kind !== 'close').map((op) => [op.kind, op.path, op.index])).toEqual([
      ['create', 'a', 0],
      ['write', 'a', 1],
      ['sync', 'a', 2],
      ['syncDir', '', 3],
      ['rename', 'a', 4],
    ]);
    expect(disk.trace.map((op) => op.index)).toEqual([0, 1, 2, 3, 4]);
    expect(disk.files()).toEqual(['a']);
  });

  test('a short write leaves what it wrote and rejects', async () => {
    const disk = new MemoryFileSystem();
    const file = await disk.open('a', 'create');
    disk.failAt(disk.opCount, { errno: 'ENOSPC', written: 2 });
    await expect(file.write(bytes(1, 2, 3), 0)).rejects.toMatchObject({
      code: 'VARVE_NO_SPACE',
      errno: 'ENOSPC',
    });
    expect(disk.bytesOf('a')).toEqual(bytes(1, 2));
  });

  test('a failed sync rejects once, keeps the cache, and its bytes never become durable', async () => {
    const disk = new MemoryFileSystem();
    await writeNewFile(disk, 'a', bytes(1, 1, 1, 1));
    const file = await disk.open('a', 'rw');
    await file.write(bytes(2, 2), 0);
    disk.failAt(disk.opCount, { errno: 'EIO' });
    await expect(file.dataSync()).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EIO' });
    await file.dataSync();
    expect(disk.bytesOf('a')).toEqual(bytes(2, 2, 1, 1));
    expect(disk.crash('all').bytesOf('a')).toEqual(bytes(1, 1, 1, 1));
    await file.write(bytes(3), 3);
    await file.dataSync();
    expect(disk.crash('none').bytesOf('a')).toEqual(bytes(1, 1, 1, 3));
  });

  test('a failed sync may revert the cache, or leave a range that stays zero', async () => {
    const disk = new MemoryFileSystem({ profile: 'ext4' });
    await writeNewFile(disk, 'a', bytes(1, 1));
    const file = await disk.open('a', 'rw');
    await file.write(bytes(2), 0);
    disk.failAt(disk.opCount, { errno: 'EIO', lost: 'reverted' });
    await expect(file.sync()).rejects.toEqual(errno('EIO'));
    expect(disk.bytesOf('a')).toEqual(bytes(1, 1));
    await file.write(bytes(3, 3), 2);
    disk.failAt(disk.opCount, { errno: 'EIO', lost: 'zeroed' });
    await expect(file.sync()).rejects.toEqual(errno('EIO'));
    await file.write(bytes(4, 4, 4), 2);
    await file.sync();
    expect(disk.bytesOf('a')).toEqual(bytes(1, 1, 4, 4, 4));
    expect(disk.crash('all').bytesOf('a')).toEqual(bytes(1, 1, 0, 0, 4));
  });

  test('a full disk takes what fits and rejects with VARVE_NO_SPACE until there is room', async () => {
    const disk = new MemoryFileSystem({ capacity: 10 });
    const file = await disk.open('a', 'create');
    await file.write(new Uint8Array(8), 0);
    expect(await disk.free()).toBe(2);
    await expect(file.write(new Uint8Array(4), 8)).rejects.toMatchObject({ code: 'VARVE_NO_SPACE' });
    expect(await file.size()).toBe(10);
    await file.write(new Uint8Array(10), 0);
    await expect(file.truncate(11)).rejects.toMatchObject({ code: 'VARVE_NO_SPACE' });
    await file.truncate(4);
    await file.write(new Uint8Array(6), 4);
    expect(await disk.free()).toBe(0);
  });

  test('a scheduler holds back asynchronous calls, and close waits for them', async () => {
    const disk = new MemoryFileSystem();
    const file = await disk.open('a', 'create');
    const waiting: (() => void)[] = [];
    disk.schedule = () => new Promise((resolve) => waiting.push(resolve));
    const write = file.write(bytes(7), 0);
    const closed = file.close();
    expect(disk.bytesOf('a')).toEqual(bytes());
    waiting.shift()!();
    await write;
    await closed;
    expect(disk.bytesOf('a')).toEqual(bytes(7));
  });

  test('a disk that cannot replace open files refuses with EBUSY', async () => {
    const disk = new MemoryFileSystem({ replaceOpen: false });
    await writeNewFile(disk, 'a', bytes(1));
    await writeNewFile(disk, 'b', bytes(2));
    const file = await disk.open('b', 'read');
    await expect(disk.rename('a', 'b')).rejects.toEqual(errno('EBUSY'));
    await expect(disk.unlink('b')).rejects.toEqual(errno('EBUSY'));
    await file.close();
    await disk.rename('a', 'b');
    expect(disk.bytesOf('b')).toEqual(bytes(1));
  });
});

describe('state', () => {
  test('forks and crashes do not touch the disk they come from', async () => {
    const disk = new MemoryFileSystem();
    await ensureDir(disk, 'd/e');
    await writeNewFile(disk, 'd/e/a', bytes(1, 2, 3));
    const file = await disk.open('d/e/a', 'rw');
    await file.write(bytes(9), 1);
    const before = disk.digest();
    const fork = disk.fork();
    const crashed = disk.crash('none');
    for (const other of [fork, crashed]) {
      const copy = await other.open('d/e/a', 'rw');
      await copy.write(bytes(5, 5, 5, 5), 0);
      await copy.sync();
      await other.unlink('d/e/a');
    }
    expect(disk.digest()).toBe(before);
    expect(disk.fork().crash('all').digest()).toBe(before);
    expect(disk.fork().crash('none').bytesOf('d/e/a')).toEqual(bytes(1, 2, 3));
    expect(fork.opCount).toBe(3);
  });

  test('equal content gives equal digests however it was written', async () => {
    const one = new MemoryFileSystem();
    const two = new MemoryFileSystem();
    const big = new Prng(1).bytes(20_000);
    await writeNewFile(one, 'x', big);
    const file = await two.open('x', 'create');
    await file.write(new Uint8Array(30_000).fill(7), 0);
    await file.truncate(3);
    await file.truncate(20_000);
    for (let at = 0; at < big.length; at += 777) await file.write(big.subarray(at, at + 777), at);
    expect(two.digest()).toBe(one.digest());
    two.flipBit('x', 12_345 * 8 + 3);
    expect(two.digest()).not.toBe(one.digest());
    two.flipBit('x', 12_345 * 8 + 3);
    expect(two.digest()).toBe(one.digest());
    expect(two.crash('none').files()).toEqual([]);
    expect(two.crash('all').digest()).toBe(one.digest());
  });

  test('an unlinked open file stays readable and writable', async () => {
    const disk = new MemoryFileSystem();
    await writeNewFile(disk, 'a', bytes(1, 2));
    const file = await disk.open('a', 'rw');
    expect(await disk.unlink('a')).toBe(true);
    await disk.syncDir('');
    await file.write(bytes(9), 0);
    await file.sync();
    const buf = new Uint8Array(2);
    await readExact(file, buf, 0);
    expect(buf).toEqual(bytes(9, 2));
    await file.close();
    expect(disk.crash('all').files()).toEqual([]);
  });

  test('what is written between a sync and its answer is not on the disk', async () => {
    const disk = new MemoryFileSystem();
    const file = await disk.open('a', 'create');
    await disk.syncDir('');
    file.writeSync(bytes(1), 0);
    disk.schedule = async () => undefined;
    disk.answer = async () => file.writeSync(bytes(2), 1);
    await file.sync();
    expect(disk.crash('none').bytesOf('a')).toEqual(bytes(1));
    expect(disk.crash('all').bytesOf('a')).toEqual(bytes(1, 2));
  });

  test('many small appends stay linear', async () => {
    const disk = new MemoryFileSystem();
    const file = await disk.open('log', 'create');
    const piece = new Uint8Array(64).fill(1);
    for (let i = 0; i < 40_000; i++) file.writeSync(piece, i * 64);
    await file.sync();
    expect(equalBytes(disk.bytesOf('log'), new Uint8Array(40_000 * 64).fill(1))).toBe(true);
  });

  test('a file is corrupted in the cache and on the disk', async () => {
    const disk = new MemoryFileSystem();
    await writeNewFile(disk, 'a', bytes(1, 2, 3));
    disk.corrupt('a', (was) => was.subarray(0, 2));
    expect(await readWhole(disk, 'a', 10)).toEqual(bytes(1, 2));
    expect(disk.crash('none').bytesOf('a')).toEqual(bytes(1, 2));
    await expect(readWhole(disk, 'b', 10)).rejects.toSatisfy((error) => hasErrno(error, 'ENOENT'));
  });
});
