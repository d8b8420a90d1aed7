import { expect, test } from 'vitest';
import xxhash from 'xxhash-wasm';
import { KiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { initChecksum, StreamingChecksum, xxh64 } from '../../src/codec/checksum.ts';

test('ranges that are hashed in pieces have the checksum of the whole', async () => {
  await initChecksum();
  const whole = await xxhash();
  const bytes = new Prng(1).bytes(200 * KiB);
  const piece = 60 * KiB;
  for (const length of [
    0,
    1,
    31,
    32,
    piece - 1,
    piece,
    piece + 1,
    piece + 33,
    2 * piece,
    2 * piece + 7,
    200 * KiB,
  ])
    for (const seed of [0n, 2n ** 64n - 1n]) {
      const range = bytes.subarray(5, 5 + Math.min(length, bytes.length - 5));
      const expected = whole.h64Raw(range, seed);
      expect([length, xxh64(range, seed)]).toEqual([length, expected]);
      const streamed = new StreamingChecksum(seed);
      streamed.update(range);
      expect(streamed.digest()).toBe(expected);
    }
});
