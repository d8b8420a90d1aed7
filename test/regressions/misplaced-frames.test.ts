import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn } from '../crash/machine.ts';

const shape = { durability: 'full', algorithm: 'sieve', inlineMax: 40, segmentBytes: 65_536 } as const;

test('a put of bytes whose segment holds other chunks in their place stores them anew', async () => {
  const [ours, theirs] = [new Prng(1).bytes(900), new Prng(2).bytes(900)];
  const disk = new MemoryFileSystem();
  await (await openOn(disk, shape, 1)).close();
  const other = disk.fork();
  for (const [where, value] of [
    [disk, ours],
    [other, theirs],
  ] as const) {
    const engine = await openOn(where, shape, 2);
    await engine.put('value', value);
    await engine.close();
  }
  // As a restore that mixes two copies of one store does.
  const segment = disk.files().find((file) => file.startsWith('seg/'))!;
  disk.corrupt(segment, () => other.bytesOf(segment));
  for (const read of ['get', 'getSync'] as const) {
    const engine = await openOn(disk.fork(), shape, 3);
    await expect((async () => engine[read]('value'))()).rejects.toMatchObject({
      code: 'VARVE_CORRUPT',
      file: segment,
    });
    expect(engine.health()).toMatchObject({ status: 'warning', damage: [{ file: segment }] });
    await engine.put('copy', ours);
    expect(Buffer.compare((await engine.get('copy'))!, ours)).toBe(0);
    await engine.close();
  }
});
