import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { letters, preparation, profiles, sequenceAt, sequenceCount } from './alphabet.ts';
import { crashAll, crashWorkload, type Effort, newTally } from './campaign.ts';
import type { StoreShape } from './machine.ts';
import { ReadAlike } from './read-alike.ts';
import { prepare } from './recorder.ts';
import { StateSet } from './state-set.ts';
import type { Workload } from './workload.ts';

const quick: Effort = {
  mixtures: 1,
  singles: 1,
  goOnEvery: 9,
  fallbackEvery: 9,
  innerEvery: 40,
  innerPoints: 6,
  depth: 1,
};
const nested: Effort = { mixtures: 2, singles: 2, goOnEvery: 20, innerEvery: 6, innerPoints: 2, depth: 2 };

/** Sequences of the campaign that are always looked at: of one, two and three calls, on both stores. */
const samples = [1, 8 + 6 * 3, 3 + 6 * 11, 3 + 6 * 30, 3 + 6 * 60, 4 + 6 * 1500];

describe('crashes', () => {
  test('sampled crash points of random workloads recover to a prefix with every acked commit', async () => {
    const tally = newTally();
    for (const [i, profile] of profiles.entries()) {
      await crashWorkload(i + 1, profile, quick, tally, undefined, 7);
    }
    expect(tally.states).toBeGreaterThan(30);
  }, 60_000);

  test('sequences recover, also when recovery crashes and its recovery crashes again', async () => {
    const tally = newTally();
    const seen = new StateSet();
    const alike = new ReadAlike();
    for (const n of samples) {
      const { name, profile, isPrepared, workload } = sequenceAt(n);
      const steps = preparation;
      const base = isPrepared ? await prepare({ seed: 1, shape: workload.shape, steps }, profile) : undefined;
      await crashAll({ name, profile, workload, effort: nested, tally, seen, alike, base, pointsMax: 5 });
    }
    expect(tally.states).toBeGreaterThan(20);
    expect(tally.inner).toBeGreaterThan(4);
    expect(tally.mended).toBeGreaterThan(2);
  }, 60_000);

  test('every number is a sequence of its own', () => {
    const names = new Set(Array.from({ length: sequenceCount }, (_, n) => sequenceAt(n).name));
    expect(names.size).toBe(
      2 * profiles.length * (letters.length + letters.length ** 2 + letters.length ** 3),
    );
  });

  test.each([
    ['here', false],
    ['on threads that die', true],
  ])(
    'a value so large that it stages its chunks is there whole or not at all (%s)',
    async (_name, threads) => {
      const shape: StoreShape = {
        threads,
        durability: 'full',
        algorithm: 'fastcdc',
        inlineMax: 1024,
        segmentBytes: 2 ** 16,
        stageBirthsMax: 16,
      };
      const large = new Prng(11).bytes(100_000);
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
    },
    60_000,
  );
});
