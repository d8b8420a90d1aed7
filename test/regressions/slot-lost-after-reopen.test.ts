import { expect, test } from 'vitest';
import { slotBytes, slotCount } from '../../src/format/superblock.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = {
  durability: 'full',
  algorithm: 'fastcdc',
  inlineMax: 64,
  segmentBytes: 64 * 1024,
};

/** The disk at each operation of an open and of the first put behind it, which begins a log. */
async function duringOpen(disk: MemoryFileSystem): Promise<MemoryFileSystem[]> {
  const states: MemoryFileSystem[] = [];
  disk.faults = () => {
    states.push(disk.fork());
    return undefined;
  };
  const engine = await openOn(disk, shape, 2);
  await engine.put('other', 'value');
  disk.faults = undefined;
  await engine.close();
  return states;
}

/** The slot that differs from those of the closed store, with one byte wrong. */
function loseNewestSlot(state: MemoryFileSystem, closed: Uint8Array): boolean {
  const now = state.bytesOf('SUPER');
  for (let slot = 0; slot < slotCount; slot++) {
    const [from, to] = [slot * slotBytes, (slot + 1) * slotBytes];
    if (Buffer.compare(now.subarray(from, to), closed.subarray(from, to)) === 0) continue;
    state.corrupt('SUPER', (bytes) => {
      bytes[from + 100]! ^= 1;
      return bytes;
    });
    return true;
  }
  return false;
}

// The store had been closed and was being opened again. With the slot of this open lost, the one before said
// that the newest log had to be sealed; it was that of the new life, and the store came up read-only.
test('a slot lost while a closed store is opened again costs nothing', async () => {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, shape, 1);
  await engine.put('key', 'value');
  await engine.close();
  const closed = disk.bytesOf('SUPER').slice();
  let lost = 0;
  for (const state of await duringOpen(disk)) {
    if (!loseNewestSlot(state, closed)) continue;
    lost++;
    const again = await openOn(state, shape, 3);
    expect(again.health().status).not.toBe('degraded');
    expect(Buffer.from((await again.get('key'))!).toString()).toBe('value');
    await again.put('key', 'another');
    await again.close();
  }
  expect(lost).toBeGreaterThan(5);
});
