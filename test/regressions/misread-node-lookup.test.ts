import { expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsFault } from '../../src/fs/sim-machine.ts';
import { auditDisk } from '../crash/audit.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = { durability: 'full', algorithm: 'fastcdc', inlineMax: 0, segmentBytes: 65_536 };
const value = new Prng(1).bytes(60_000);

// Whether a list node is stored already was asked once: a read of the chunk table that failed, or gave other
// bytes than the file has, made it "no", and the children of the node were counted once too often for good.
test('a lookup of a list node that is read wrong three times leaves reference counts exact', async () => {
  const before = new MemoryFileSystem();
  const engine = await openOn(before, shape, 1);
  await engine.put('first', value);
  await engine.close();
  const wrong: FsFault[] = [{ errno: 'EIO' }, { lie: 'rot', bit: 4001 }, { lie: 'misdirected', pos: 8 }];
  for (const fault of wrong) {
    for (let from = 0, hits = 3; hits === 3; from++) {
      const disk = before.fork();
      const again = await openOn(disk, shape, 2, { memory: { blockCacheBytes: 0, trailerCacheBytes: 0 } });
      let seen = 0;
      hits = 0;
      disk.faults = ({ kind, path }) => {
        if (kind !== 'read' || !path.startsWith('tab/') || seen++ < from || hits === 3) return undefined;
        hits++;
        return fault;
      };
      const put = await again.put('again', value).catch((error: unknown) => error);
      disk.faults = undefined;
      // Where the commit itself needs what cannot be read it fails, and so does what comes after.
      if (isVarveError(put)) await expect(again.close()).rejects.toThrow();
      else await again.close();
      const { problems } = await auditDisk(disk);
      expect({ fault, from, problems }).toEqual({ fault, from, problems: [] });
    }
  }
});
