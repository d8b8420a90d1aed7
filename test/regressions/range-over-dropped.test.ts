import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { envOf } from '../crash/machine.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const chunking = { min: 256, avg: 1024, max: 8192 } as const;
const bounds = {
  compaction: { level0Tables: 1, tableBytes: 1024, level1Bytes: 2048, levelRatio: 2, tombstonesMin: 1 },
  reaping: { rows: 1, deletes: 1, bytes: 1 },
  flushMerges: true,
};

// A merge dropped the row that had ended a version in the trash, because a newer put had superseded it. The
// range delete between the two, still under way, took the version for the one it had to end, and put it into
// the trash a second time: its chunks were given back twice, and with them those of others.
for (const ending of ['a delete', 'a put', 'a range delete'] as const) {
  test(`what ${ending} has ended is ended once, whatever merges drop beside a range delete`, async () => {
    const disk = new MemoryFileSystem();
    const engine = await openWithEnv(envOf(disk, 1), { chunking, inlineMax: 1024 }, bounds);
    const rest = async (): Promise<void> => {
      while (engine.stats().ranges.pending > 0) await turn();
      await engine.flush();
    };
    const shared = new Prng(1).bytes(9000);
    await engine.put('a', shared);
    await engine.put('z', shared);
    await engine.snapshots.create('kept');
    if (ending === 'a delete') await engine.delete('z');
    else if (ending === 'a put') await engine.put('z', 'short');
    else await engine.deleteRange({ gte: 'z' });
    await rest();
    for (let n = 0; n < 120; n++) await engine.put(`k${n + 100}`, 'x');
    await engine.deleteRange({ gte: 'k', lte: 'z' });
    await engine.put('z', 'new');
    await engine.flush();
    expect(engine.stats().ranges.pending).toBe(1);
    await rest();
    await engine.snapshots.delete('kept');
    await engine.flush();
    for (let n = 0; n < 200; n++) await turn();
    expect(Buffer.compare((await engine.get('a'))!, shared)).toBe(0);
    await engine.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
  });
}
