import { describe, expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { Forest } from '../../src/tree/forest.ts';
import type { MergePace } from '../../src/tree/merge-slice.ts';
import { chunkMemtableOf, chunkTableOf, dbUuid, putRow, rejection, tableOf } from './table-kit.ts';

const metas: CatalogTable[] = [];
const fs = new MemoryFileSystem();

/** Two tables with several pieces of filter and of index. */
async function tables(): Promise<CatalogTable[]> {
  if (metas.length > 0) return metas;
  for (const no of [1, 2]) {
    const rows = Array.from({ length: 20_000 }, (_, n) => putRow(`${no}${'x'.repeat(90)} ${n}`, n + 1, 'v'));
    metas.push({ ...(await tableOf(fs, rows, no)) });
  }
  return metas;
}

async function forest(): Promise<Forest> {
  const budgets = { memtableBytes: 2 ** 20, tableFilterBytes: 2 ** 22, tableIndexBytes: 2 ** 22 };
  return (await Forest.open(fs, [], { dbUuid, cache: new BlockCache(0), ...budgets })).forest;
}

/** Each look at the clock is a slice later. */
function paceOf(cancelledAfter = Number.POSITIVE_INFINITY): MergePace & { turns: number } {
  let ms = 0;
  return {
    turns: 0,
    monotonic: () => (ms += 4),
    async turn() {
      this.turns++;
      await new Promise((resolve) => setImmediate(resolve));
    },
    cancelled() {
      return this.turns >= cancelledAfter;
    },
  } as MergePace & { turns: number };
}

describe('opening what a merge made', () => {
  test('pieces of tables are read in slices, and the tables are the same', async () => {
    const made = await tables();
    const plain = await forest();
    const sliced = await forest();
    const whole = await plain.prepare([], made);
    const expected = [plain.stats().filterBytes, plain.stats().indexBytes];
    await whole.discard();
    const pace = paceOf();
    const prepared = await sliced.prepare([], made, pace);
    expect(pace.turns).toBeGreaterThan(3);
    expect([sliced.stats().filterBytes, sliced.stats().indexBytes]).toEqual(expected);
    expect(Math.min(...expected)).toBeGreaterThan(0);
    await prepared.discard();
    expect([sliced.stats().filterBytes, sliced.stats().indexBytes]).toEqual([0, 0]);
    await plain.close();
    await sliced.close();
  });

  test('an open that is cancelled in between leaves no table open', async () => {
    const made = await tables();
    for (const after of [0, 1, 2]) {
      let open = 0;
      fs.faults = ({ kind }) => {
        if (kind === 'open') open++;
        if (kind === 'close') open--;
        return undefined;
      };
      const subject = await forest();
      const error = await rejection(() => subject.prepare([], made, paceOf(after)));
      expect(error?.code).toBe('VARVE_ABORTED');
      expect([subject.stats().filterBytes, subject.stats().indexBytes]).toEqual([0, 0]);
      await subject.close();
      fs.faults = undefined;
      expect(open).toBe(0);
    }
  });

  test('a table of chunks is opened with a pace as without', async () => {
    const meta = await chunkTableOf(fs, chunkMemtableOf(9000), 9);
    const subject = await forest();
    const prepared = await subject.prepare([], [meta], paceOf());
    expect(subject.stats().filterBytes).toBeGreaterThan(9000);
    await prepared.discard();
    await subject.close();
  });
});
