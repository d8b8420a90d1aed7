import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { choicesAt, drawn, settle } from './choices.ts';
import { withoutNewest } from './fallback.ts';
import { openOn } from './machine.ts';
import { record } from './recorder.ts';
import { checkRecovered } from './recovered.ts';
import { groupWorkloadOf, workloadOf } from './workload.ts';

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

// Each has a killed process whose chunks were not synced, and failed while recovery relied on its segments.
test('nor does losing it while segments of a killed process were never synced', async () => {
  let checked = 0;
  for (const [seed, profile] of [
    [5_000_065, 'ext4'],
    [5_000_142, 'posix'],
  ] as const) {
    const workload = seed % 4 === 2 ? groupWorkloadOf(seed) : workloadOf(seed, 3, 14);
    const { points, history } = await record(workload, profile);
    const prng = new Prng(seed);
    const loose = points.filter(({ disk }) => disk.pending().some(({ path }) => path.startsWith('seg/')));
    for (const { disk, durable, op } of drawn(prng, loose, 15)) {
      const pending = disk.pending();
      const [choice] = drawn(prng, choicesAt(pending, prng, { mixtures: 2, singles: 2, cuts: 0 }), 1);
      const state = disk.crash(settle(choice!, pending, false).chooser);
      for (const [what, damaged] of await withoutNewest(state, checked)) {
        const plan = { floor: durable, shape: workload.shape, seed, goOn: false, mayKeep: true };
        try {
          await checkRecovered(damaged, history, plan);
        } catch (error) {
          const where = `seed ${seed}, operation ${op?.index}, '${choice!.name}', without the newest ${what}`;
          throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
        }
        checked++;
      }
    }
  }
  expect(checked).toBeGreaterThan(30);
}, 60_000);
