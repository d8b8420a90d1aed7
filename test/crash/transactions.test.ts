import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { sequenceShape } from './alphabet.ts';
import { crashWorkload, type Effort, newTally } from './campaign.ts';
import type { Call, Workload } from './workload.ts';

const effort: Effort = {
  mixtures: 1,
  singles: 1,
  goOnEvery: 9,
  fallbackEvery: 9,
  innerEvery: 40,
  innerPoints: 4,
  depth: 1,
};

/** Transactions at the same time on shared keys, over two spaces, with values of every form. */
function workloadOf(seed: number): Workload {
  const prng = new Prng(seed);
  const sizes = [10, 700, 900, 3000, 20_000];
  const keys = ['a', 'b', 'c', 'd'];
  const call = (): Call => {
    // The first one is a put: a transaction that commits has a number.
    const chosen = keys.filter((_, i) => i === 0 || prng.chance(0.6));
    const changes = chosen.map((key, i) => ({
      key,
      value: i > 0 && prng.chance(0.3) ? undefined : prng.bytes(prng.pick(sizes)),
    }));
    return { kind: 'transaction', space: prng.pick(['', '', 'one']), changes };
  };
  const steps: Workload['steps'] = [
    { kind: 'calls', calls: [call(), call()] },
    { kind: 'flush' },
    { kind: 'calls', calls: [call(), call(), call()] },
    { kind: 'merge', calls: [call()] },
    { kind: 'reopen' },
    { kind: 'calls', calls: [call(), { kind: 'put', space: '', key: 'a', value: prng.bytes(900) }] },
  ];
  return { seed, shape: sequenceShape, steps };
}

test('transactions are there whole or not at all, whatever was on the disk when the power went', async () => {
  const tally = newTally();
  for (const [i, profile] of (['posix', 'ext4', 'wild'] as const).entries()) {
    const seed = 71 + i;
    await crashWorkload(seed, profile, effort, tally, workloadOf(seed), 5);
  }
  expect(tally.states).toBeGreaterThan(12);
}, 60_000);
