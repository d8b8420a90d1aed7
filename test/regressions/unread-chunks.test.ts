import { expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const values = Array.from({ length: 4 }, (_, n) => new Prng(n).bytes(9000));

// Without a sync per commit the log is cut at the first commit whose chunks never reached the disk. A chunk
// that could not be read for want of a descriptor, or because the disk refused once, was taken for such a
// one: every commit from there on was gone for good, without a word.
test('a read that fails while the log is replayed never cuts the log', async () => {
  const shape: StoreShape = { durability: 'os', algorithm: 'fastcdc', inlineMax: 0, segmentBytes: 16_384 };
  const killed = new MemoryFileSystem();
  const engine = await openOn(killed, shape, 1);
  for (const [n, value] of values.entries()) await engine.put(`key/${n}`, value);
  for (const errno of ['EMFILE', 'EIO']) {
    for (let nth = 0, hit = true; hit; nth++) {
      const disk = killed.fork();
      let seen = 0;
      hit = false;
      disk.faults = ({ kind, path }) => {
        if ((kind !== 'open' && kind !== 'read') || !path.startsWith('seg/') || seen++ !== nth)
          return undefined;
        hit = true;
        return { errno };
      };
      const failed = await openOn(disk, shape, 2).then(
        async (opened) => {
          await opened.close();
          return undefined;
        },
        (error: unknown) => error,
      );
      disk.faults = undefined;
      if (failed !== undefined) expect(isVarveError(failed)).toBe(true);
      const again = await openOn(disk, shape, 3);
      for (const [n, value] of values.entries()) {
        const found = await again.get(`key/${n}`);
        expect({ errno, nth, n, same: found !== undefined && Buffer.compare(found, value) === 0 }).toEqual({
          errno,
          nth,
          n,
          same: true,
        });
      }
      await again.close();
    }
  }
});
