import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { withoutNewest } from './fallback.ts';
import { openOn } from './machine.ts';
import { record } from './recorder.ts';
import { checkRecovered } from './recovered.ts';
import { workloadOf } from './workload.ts';

const firstSeed = Number(process.env.VARVE_SEED ?? 1);
const count = Number(process.env.VARVE_COUNT ?? 3);

test('losing the newest slot or the newest catalog after a recovery loses no acked commit', async () => {
  let checked = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const workload = workloadOf(seed);
    const { shape } = workload;
    const { points, history } = await record(workload, 'posix');
    const prng = new Prng(seed);
    for (const point of points.filter(({ acked }) => acked > 2 && prng.chance(0.05))) {
      const disk = point.disk.crash('all');
      // Recovery has installed a catalog; then the machine dies.
      await openOn(disk, shape, seed, {}, true);
      for (const [what, damaged] of await withoutNewest(disk.crash('none'), checked)) {
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
  expect(checked).toBeGreaterThan(3);
}, 86_400_000);
