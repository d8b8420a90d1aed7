import { expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { startBytesHere } from '../../src/pool/start-bytes.ts';
import { TestClock } from '../engine/engine-kit.ts';

/** A clock on which the n-th hash of the probe takes `took[n]` ms. */
function clockOf(took: readonly number[]): TestClock {
  const clock = new TestClock();
  let asked = 0;
  let now = 0;
  clock.monotonic = () => {
    if (asked++ % 2 === 1) now += took[(asked / 2 - 1) % took.length]!;
    return now;
  };
  return clock;
}

test('where the calling thread hashes quicker, threads start with more', () => {
  const bytesAt = (took: readonly number[]): number => startBytesHere(64 * MiB, clockOf(took));
  // 256 KiB in 0.65 ms are 2.5 ns a byte.
  expect(bytesAt([0.65])).toBe(64 * MiB);
  expect(bytesAt([0.325])).toBe(128 * MiB);
  // The quickest counts, and a slower machine starts no earlier.
  expect(bytesAt([3, 0.9, 0.13, 0.2])).toBe(320 * MiB);
  expect(bytesAt([5, 4, 6, 3])).toBe(64 * MiB);
});

test('a clock that stands still, or hardly moves, does not put threads off for ever', () => {
  expect(startBytesHere(64 * MiB, clockOf([0]))).toBe(64 * MiB);
  expect(startBytesHere(64 * MiB, clockOf([0.000_001]))).toBe(512 * MiB);
});
