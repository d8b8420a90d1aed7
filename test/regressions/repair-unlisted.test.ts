import { expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { envOf, openOn, type StoreShape } from '../crash/machine.ts';
import { loseNewestSlot, mend } from '../crash/mended.ts';

const shape: StoreShape = { durability: 'full', algorithm: 'fastcdc', inlineMax: 0, segmentBytes: 8192 };

// A repair that met EIO when it listed a directory took it for an empty one: with seg/ every chunk was
// written off, and the next open removed the segments, which no catalog named any more.
test('a repair to which the disk does not list a directory ends, and the store is as it was', async () => {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, shape, 1);
  for (let i = 0; i < 8; i++) await engine.put(`key ${i}`, new Prng(i).bytes(4000));
  await engine.flush();
  await engine.put('last', new Prng(9).bytes(4000));
  disk.faults = () => 'crash';
  const killed = disk.crash('all');
  await loseNewestSlot(killed);
  let lists = 0;
  const whole = killed.fork();
  whole.faults = ({ kind }) => {
    if (kind === 'list') lists++;
    return undefined;
  };
  await mend(envOf(whole, 2), shape);
  let ended = 0;
  for (let n = 0; n < lists; n++) {
    const failing = killed.fork();
    let seen = 0;
    failing.faults = ({ kind }) => (kind === 'list' && seen++ === n ? { errno: 'EIO' } : undefined);
    try {
      // To the check at the beginning it is a finding.
      expect(await mend(envOf(failing, 2), shape)).toMatchObject({ ok: true });
    } catch (error) {
      if (!isVarveError(error, 'VARVE_IO')) throw error;
      ended++;
    }
    failing.faults = undefined;
    const again = await openOn(failing, shape, 3);
    for (let i = 0; i < 8; i++) expect(await again.get(`key ${i}`)).toEqual(new Prng(i).bytes(4000));
    expect(await again.get('last')).toEqual(new Prng(9).bytes(4000));
    await again.close();
  }
  expect(ended).toBeGreaterThan(5);
});
