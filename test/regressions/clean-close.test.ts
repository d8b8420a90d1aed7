import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

// The last catalog of a clean close covers the number of SEAL itself. The reader of the log left out what the
// catalog covers, missed the seal, and called every cleanly closed store damaged.
test('a store closed cleanly opens healthy, for reading and for writing', async () => {
  const shape: StoreShape = {
    durability: 'full',
    algorithm: 'fastcdc',
    inlineMax: 64,
    segmentBytes: 2 ** 20,
  };
  const disk = new MemoryFileSystem();
  const first = await openOn(disk, shape, 1);
  await first.put('key', 'value');
  await first.close();
  for (const readOnly of [true, false, true]) {
    const engine = await openOn(disk, shape, 2, { readOnly });
    expect(engine.health()).toMatchObject({ ok: true, status: 'healthy' });
    expect(await engine.has('key')).toBe(true);
    await engine.close();
  }
});
