import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { filePath, superName } from '../../src/format/file-names.ts';
import { slotBytes } from '../../src/format/superblock.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn } from './machine.ts';
import { record } from './recorder.ts';
import { checkRecovered } from './recovered.ts';
import { workloadOf } from './workload.ts';

const firstSeed = Number(process.env.VARVE_SEED ?? 1);
const count = Number(process.env.VARVE_COUNT ?? 4);

/** The disk without the newest slot of SUPER, and without the catalog it names. */
async function withoutNewest(disk: MemoryFileSystem): Promise<[string, MemoryFileSystem][]> {
  const { slot, catalog } = await CatalogStore.load(disk);
  const noSlot = disk.fork();
  noSlot.corrupt(superName, (bytes) =>
    bytes.fill(0, slot.slotIndex * slotBytes, (slot.slotIndex + 1) * slotBytes),
  );
  const noCatalog = disk.fork();
  noCatalog.corrupt(filePath('cat', catalog.no), (bytes) => bytes.fill(0));
  return [
    ['slot', noSlot],
    ['catalog', noCatalog],
  ];
}

test('losing the newest slot or the newest catalog after a recovery loses no acked commit', async () => {
  let checked = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const workload = workloadOf(seed);
    const { shape } = workload;
    const { points, history } = await record(workload, 'posix');
    const prng = new Prng(seed);
    for (const point of points.filter(({ acked }) => acked > 2 && prng.chance(0.08))) {
      const disk = point.disk.crash('all');
      // Recovery has installed a catalog; then the machine dies.
      await openOn(disk, shape, seed);
      for (const [what, damaged] of await withoutNewest(disk.crash('none'))) {
        const plan = { floor: point.acked, shape, seed, goOn: false, mayKeep: true };
        try {
          await checkRecovered(damaged, history, plan);
        } catch (error) {
          const where = `seed ${seed}, operation ${point.op?.index}, without the newest ${what}`;
          throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
        }
        checked++;
      }
    }
  }
  expect(checked).toBeGreaterThan(10);
}, 86_400_000);
