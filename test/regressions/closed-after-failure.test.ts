import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = {
  durability: 'full',
  algorithm: 'fastcdc',
  inlineMax: 64,
  segmentBytes: 8 * 1024,
};

/** Files that were opened on `disk` and not closed; call it before anything is. */
function watchOpen(disk: MemoryFileSystem): () => string[] {
  const open: string[] = [];
  const { open: original } = disk;
  disk.open = async (path, mode) => {
    const file = await original.call(disk, path, mode);
    open.push(path);
    const { close } = file;
    let isOpen = true;
    file.close = () => {
      if (isOpen) open.splice(open.indexOf(path), 1);
      isOpen = false;
      return close.call(file);
    };
    return file;
  };
  return () => open.slice();
}

async function killedStore(): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, shape, 1);
  await engine.put('a', new Uint8Array(3000).fill(1));
  await engine.flush();
  await engine.put('b', new Uint8Array(12_000).fill(2));
  await engine.put('c', 'small');
  return disk.crash('all');
}

// An open that failed after it had made its log kept the file open: with the disk full, each try took a
// descriptor, and the file system could not be unmounted.
test.each([
  ['EIO', false],
  ['ENOSPC', true],
] as const)('an open that meets %s at any operation leaves no file open', async (errno, forEver) => {
  const killed = await killedStore();
  for (let nth = 0, met = true; met; nth++) {
    met = false;
    const disk = killed.fork();
    const stillOpen = watchOpen(disk);
    let n = 0;
    disk.faults = ({ kind }) => {
      if (kind === 'close' || kind === 'unlink' || (forEver && kind !== 'write' && kind !== 'create'))
        return undefined;
      const isMet = forEver ? n++ >= nth : n++ === nth;
      met ||= isMet;
      return isMet ? { errno } : undefined;
    };
    const engine = await openOn(disk, shape, 2).catch(() => undefined);
    await engine?.close().catch(() => undefined);
    expect({ nth, open: stillOpen() }).toEqual({ nth, open: [] });
  }
});

test('a store that stops because the disk is full leaves no file open when it is closed', async () => {
  for (let left = 0; left < 40_000; left += 1000) {
    const disk = new MemoryFileSystem();
    const stillOpen = watchOpen(disk);
    disk.capacity = 12_000 + left;
    const engine = await openOn(disk, shape, 1).catch(() => undefined);
    for (let i = 0; i < 8; i++)
      await engine?.put(`k${i}`, new Uint8Array(4000).fill(i)).catch(() => undefined);
    await engine?.close().catch(() => undefined);
    expect({ left, open: stillOpen() }).toEqual({ left, open: [] });
  }
});
