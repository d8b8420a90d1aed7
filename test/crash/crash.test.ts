import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { crashWorkload, type Effort, newTally, profiles } from './campaign.ts';
import type { StoreShape } from './machine.ts';
import type { Workload } from './workload.ts';

/**
 * `VARVE_SEED=1 VARVE_COUNT=300 npx vitest run test/crash/crash.test.ts` visits every crash point of 300
 * workloads; without a count a few seconds' worth are visited. VARVE_PROFILES=all runs each on all profiles,
 * VARVE_EFFORT=quick samples fewer of the states a crash may leave at each point.
 */
const firstSeed = Number(process.env.VARVE_SEED ?? 1);
const count = Number(process.env.VARVE_COUNT ?? 0);
const isThorough = count > 0 && process.env.VARVE_EFFORT !== 'quick';
const everyProfile = process.env.VARVE_PROFILES === 'all';

const quick: Effort = { mixtures: 1, singles: 1, goOnEvery: 9, innerEvery: 40, innerPoints: 6, depth: 1 };
const thorough: Effort = { mixtures: 2, singles: 6, goOnEvery: 6, innerEvery: 60, innerPoints: 8, depth: 2 };

describe('crashes', () => {
  test('every crash point of random workloads recovers to a prefix with every acked commit', async () => {
    const tally = newTally();
    const workloads = count > 0 ? count : 6;
    for (let seed = firstSeed; seed < firstSeed + workloads; seed++) {
      const chosen = everyProfile ? profiles : [profiles[seed % profiles.length]!];
      for (const profile of chosen) await crashWorkload(seed, profile, isThorough ? thorough : quick, tally);
      if (count > 0 && seed % 10 === 0) console.log(`seed ${seed}: ${JSON.stringify(tally)}`);
    }
    console.log(`seeds ${firstSeed} to ${firstSeed + workloads - 1}: ${JSON.stringify(tally)}`);
    expect(tally.workloads).toBeGreaterThan(0);
  }, 86_400_000);

  test('a value so large that it stages its chunks is there whole or not at all', async () => {
    const shape: StoreShape = {
      durability: 'full',
      algorithm: 'fastcdc',
      inlineMax: 1024,
      segmentBytes: 2 ** 20,
    };
    const large = new Prng(11).bytes(5_500_000);
    const workload: Workload = {
      seed: 11,
      shape,
      steps: [
        {
          kind: 'calls',
          calls: [{ kind: 'put', space: '', key: 'first', value: large.subarray(0, 40_000) }],
        },
        {
          kind: 'calls',
          calls: [
            { kind: 'stream', space: '', key: 'large', value: large },
            { kind: 'put', space: '', key: 'small', value: large.subarray(0, 10) },
          ],
        },
        { kind: 'calls', calls: [{ kind: 'delete', space: '', key: 'first' }] },
      ],
    };
    const sparse: Effort = {
      mixtures: 0,
      singles: 0,
      goOnEvery: 7,
      innerEvery: 1000,
      innerPoints: 0,
      depth: 0,
    };
    const tally = newTally();
    await crashWorkload(11, 'posix', sparse, tally, workload, 12);
    expect(tally.states).toBeGreaterThan(10);
  }, 60_000);
});
