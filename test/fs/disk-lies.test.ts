import { describe, expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsFile } from '../../src/fs/port.ts';
import type { FsFault, FsOp } from '../../src/fs/sim-machine.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** A disk with the durable file `a` of bytes 1 to 8, open for writing. */
async function diskWithFile(): Promise<{ disk: MemoryFileSystem; file: FsFile }> {
  const disk = new MemoryFileSystem();
  const file = await disk.open('a', 'create');
  await file.write(bytes(1, 2, 3, 4, 5, 6, 7, 8), 0);
  await file.sync();
  await disk.syncDir('');
  return { disk, file };
}

/** The next call of this kind gets the fault. */
function once(disk: MemoryFileSystem, kind: FsOp['kind'], fault: FsFault): void {
  disk.faults = (op) => {
    if (op.kind !== kind) return undefined;
    disk.faults = undefined;
    return fault;
  };
}

async function readAt(file: FsFile, pos: number, length: number): Promise<Uint8Array> {
  const buf = new Uint8Array(length);
  return buf.subarray(0, await file.read(buf, pos));
}

describe('a disk that lies', () => {
  test('a lost write is seen until the power cut and is on no disk after it, synced or not', async () => {
    const { disk, file } = await diskWithFile();
    once(disk, 'write', { lie: 'lost' });
    await file.write(bytes(9, 9), 2);
    await file.sync();
    expect(await readAt(file, 0, 8)).toEqual(bytes(1, 2, 9, 9, 5, 6, 7, 8));
    expect(disk.crash('all').bytesOf('a')).toEqual(bytes(1, 2, 3, 4, 5, 6, 7, 8));
  });

  test('a misdirected write lands elsewhere and leaves its own place as it was', async () => {
    const { disk, file } = await diskWithFile();
    once(disk, 'write', { lie: 'misdirected', pos: 6 });
    await file.write(bytes(9, 9), 2);
    await file.sync();
    expect(disk.crash('none').bytesOf('a')).toEqual(bytes(1, 2, 3, 4, 5, 6, 9, 9));
  });

  test('a misdirected read gives the bytes of another place', async () => {
    const { disk, file } = await diskWithFile();
    once(disk, 'read', { lie: 'misdirected', pos: 5 });
    expect(await readAt(file, 0, 3)).toEqual(bytes(6, 7, 8));
    expect(await readAt(file, 0, 3)).toEqual(bytes(1, 2, 3));
  });

  test('a stale read gives what was durable before the last writes', async () => {
    const { disk, file } = await diskWithFile();
    await file.write(bytes(9), 0);
    once(disk, 'read', { lie: 'stale' });
    expect(await readAt(file, 0, 2)).toEqual(bytes(1, 2));
    expect(await readAt(file, 0, 2)).toEqual(bytes(9, 2));
  });

  test('a short read ends early, on the calling thread too', async () => {
    const { disk, file } = await diskWithFile();
    once(disk, 'read', { lie: 'short', length: 3 });
    expect(await readAt(file, 1, 6)).toEqual(bytes(2, 3, 4));
    once(disk, 'read', { lie: 'short', length: 0 });
    expect(file.readSync(new Uint8Array(4), 0)).toBe(0);
  });

  test('a rotten bit is inverted in what one read gives', async () => {
    const { disk, file } = await diskWithFile();
    once(disk, 'read', { lie: 'rot', bit: 9 });
    expect(await readAt(file, 0, 3)).toEqual(bytes(1, 0, 3));
    expect(await readAt(file, 0, 3)).toEqual(bytes(1, 2, 3));
  });

  test.each(['sync', 'dataSync'] as const)('a lost %s says yes and makes nothing durable', async (kind) => {
    const { disk, file } = await diskWithFile();
    await file.write(bytes(9), 0);
    once(disk, kind, { lie: 'lost' });
    await file[kind]();
    expect(disk.crash('none').bytesOf('a')[0]).toBe(1);
    await file[kind]();
    expect(disk.crash('none').bytesOf('a')[0]).toBe(9);
  });

  test('a failed sync may be told to another handle only, and to that one once', async () => {
    const { disk, file } = await diskWithFile();
    const other = await disk.open('a', 'rw');
    await file.write(bytes(9), 0);
    once(disk, 'sync', { errno: 'EIO', elsewhere: true });
    await file.sync();
    await file.sync();
    expect(disk.crash('all').bytesOf('a')[0]).toBe(1);
    await expect(other.dataSync()).rejects.toMatchObject({ errno: 'EIO' });
    await other.dataSync();
  });

  test('reads, writes and syncs lie, other calls do not', async () => {
    const { disk } = await diskWithFile();
    once(disk, 'unlink', { lie: 'lost' });
    await expect(disk.unlink('a')).rejects.toThrow('lie');
    once(disk, 'stat', { lie: 'stale' });
    await expect(disk.stat('a')).rejects.toThrow('lie');
  });

  test('no descriptors left: an open fails by its path and its turn, and later ones do not', async () => {
    const { disk } = await diskWithFile();
    let opens = 0;
    disk.faults = ({ kind, path }) =>
      kind === 'open' && path === 'a' && ++opens === 2 ? { errno: 'EMFILE' } : undefined;
    await disk.open('a', 'read');
    await expect(disk.open('a', 'read')).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EMFILE' });
    expect(() => disk.openSync('a')).not.toThrow();
  });
});

test('large sectors are torn as a whole', async () => {
  for (const [sectorBytes, sectors] of [
    [512, 16],
    [4096, 2],
  ] as const) {
    const disk = new MemoryFileSystem({ sectorBytes });
    const file = await disk.open('a', 'create');
    await file.write(new Uint8Array(8192), 0);
    await file.sync();
    await disk.syncDir('');
    await file.write(new Uint8Array(8192).fill(1), 0);
    expect(disk.fork().pending()[0]!.sectors).toBe(sectors);
    const torn = disk.crash({ keep: () => (sector) => sector === 0 }).bytesOf('a');
    expect(torn.indexOf(0)).toBe(sectorBytes);
  }
});
