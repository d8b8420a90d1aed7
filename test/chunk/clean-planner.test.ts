import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CleanLimits,
  garbageShare,
  type PlanSegment,
  planCleaning,
  withinRoom,
} from '../../src/chunk/clean-planner.ts';

const limits: CleanLimits = {
  inputBytes: 1000,
  inputFrames: 100,
  maxGarbage: 0.15,
  liveMax: 0.85,
  liveSoft: 0.5,
  smallBytes: 10,
  smallCount: 3,
  segmentBytes: 100,
};

const segment = (no: number, dataLen: number, live: number, frames = 1): PlanSegment => ({
  no,
  dataLen,
  live,
  frames,
});
const none = new Set<number>();

describe('planCleaning', () => {
  test('dead segments come all, whatever their number', () => {
    const dead = Array.from({ length: 50 }, (_, i) => segment(i + 1, 100, 0));
    const plan = planCleaning([...dead, segment(60, 100, 100)], limits, none);
    expect(plan.dead).toHaveLength(50);
    expect(plan.victims).toEqual([]);
    expect(plan.freedBytes).toBe(5000);
    expect(planCleaning(dead, limits, new Set([1])).dead).toHaveLength(49);
  });

  test('those at most half live come first, and only they while there is little garbage', () => {
    const full = Array.from({ length: 40 }, (_, i) => segment(i + 10, 100, 100));
    const few = [segment(1, 100, 80), segment(2, 100, 45), ...full];
    expect(planCleaning(few, limits, none).victims).toEqual([2]);
    const much = [segment(1, 100, 80), segment(2, 100, 45), segment(3, 100, 50), segment(4, 100, 90)];
    const { victims, copyBytes } = planCleaning(much, limits, none);
    expect(victims).toEqual([2, 3, 1]);
    expect(copyBytes).toBe(175);
  });

  test('of two with the same share the older one comes first', () => {
    const plan = planCleaning([segment(9, 100, 40), segment(2, 100, 40)], limits, none);
    expect(plan.victims).toEqual([2, 9]);
  });

  test('small segments are joined where that makes fewer', () => {
    const smalls = [segment(1, 9, 9), segment(2, 9, 9), segment(3, 9, 9)];
    expect(planCleaning(smalls, limits, none).victims).toEqual([1, 2, 3]);
    expect(planCleaning(smalls.slice(1), limits, none).victims).toEqual([]);
  });

  test('a plan shrinks to the room there is', () => {
    const all = [
      segment(1, 10_000, 0),
      segment(2, 10_000, 3000),
      segment(3, 10_000, 4500),
      segment(4, 10_000, 2000),
    ];
    const wide = { ...limits, inputBytes: 100_000 };
    const plan = planCleaning(all, wide, none);
    expect(plan).toMatchObject({ victims: expect.arrayContaining([2, 3, 4]), copyBytes: 9500 });
    expect(withinRoom(plan, all, 9500)).toEqual(plan);
    const some = withinRoom(plan, all, 6000);
    expect(some.victims).toEqual(plan.victims.filter((no) => no !== 3));
    expect(some).toMatchObject({ dead: [1], copyBytes: 5000, freedBytes: 25_000 });
    expect(withinRoom(plan, all, 1000)).toMatchObject({ dead: [1], victims: [], freedBytes: 10_000 });
    // With nothing else to do, the caller is to find room for the least.
    const live = all.slice(1);
    const least = withinRoom(planCleaning(live, wide, none), live, 1000);
    expect(least).toMatchObject({ dead: [], victims: [4], copyBytes: 2000 });
  });

  test('a plan stays within its bounds', () => {
    fc.assert(
      fc.property(segmentsArb(), (segments) => {
        const { victims, dead } = planCleaning(segments, limits, none);
        const chosen = segments.filter(({ no }) => victims.includes(no));
        const bytes = chosen.reduce((sum, { dataLen }) => sum + dataLen, 0);
        const frames = chosen.reduce((sum, each) => sum + each.frames, 0);
        if (victims.length > 1) {
          expect(bytes).toBeLessThanOrEqual(limits.inputBytes);
          expect(frames).toBeLessThanOrEqual(limits.inputFrames);
        }
        expect(new Set([...victims, ...dead]).size).toBe(victims.length + dead.length);
        expect(dead).toEqual(segments.filter(({ live }) => live === 0).map(({ no }) => no));
      }),
    );
  });

  test('repeated plans end with garbage below the bound', () => {
    fc.assert(
      fc.property(segmentsArb(), (start) => {
        let segments = start;
        let next = 1000;
        for (let cycles = 0; ; cycles++) {
          expect(cycles).toBeLessThan(200);
          const { dead, victims, copyBytes } = planCleaning(segments, limits, none);
          if (dead.length + victims.length === 0) break;
          segments = segments.filter(({ no }) => !dead.includes(no) && !victims.includes(no));
          for (let left = copyBytes; left > 0; left -= limits.segmentBytes) {
            const bytes = Math.min(left, limits.segmentBytes);
            segments.push(segment(next++, bytes, bytes));
          }
        }
        // What is left has no segment below the bound of live bytes.
        if (garbageShare(segments) > limits.maxGarbage) {
          expect(segments.every(({ live, dataLen }) => live > dataLen * limits.liveMax)).toBe(true);
        }
      }),
    );
  });
});

function segmentsArb(): fc.Arbitrary<PlanSegment[]> {
  const one = fc.tuple(
    fc.integer({ min: 1, max: 400 }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.nat(60),
  );
  return fc
    .array(one, { maxLength: 40 })
    .map((all) => all.map(([bytes, u, frames], i) => segment(i + 1, bytes, Math.floor(bytes * u), frames)));
}
