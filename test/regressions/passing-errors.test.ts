import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = { durability: 'full', algorithm: 'fastcdc', inlineMax: 0, segmentBytes: 8192 };

test('running out of file descriptors is not damage, and leaves every reference count exact', async () => {
  const values = Array.from({ length: 6 }, (_, n) => new Prng(n).bytes(30_000));
  for (const kind of ['open', 'read'] as const) {
    const disk = new MemoryFileSystem();
    const engine = await openOn(disk, shape, 1);
    for (const [n, value] of values.entries()) await engine.put(`first/${n}`, value);
    await engine.close();
    const again = await openOn(disk, shape, 2);
    disk.faults = (op) => (op.kind === kind ? { errno: 'EMFILE' } : undefined);
    const puts = await Promise.allSettled(values.map((value, n) => again.put(`again/${n}`, value)));
    const gets = await Promise.allSettled(values.map((_, n) => again.get(`first/${n}`)));
    disk.faults = undefined;
    for (const outcome of [...puts, ...gets]) {
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ code: 'VARVE_IO', errno: 'EMFILE' });
    }
    expect(again.health()).toMatchObject({ status: 'healthy', damage: [] });
    for (const [n, value] of values.entries()) {
      expect(Buffer.compare((await again.get(`first/${n}`))!, value)).toBe(0);
      await again.put(`again/${n}`, value);
    }
    await again.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
  }
});
