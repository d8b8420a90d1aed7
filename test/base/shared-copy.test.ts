import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { copyShared } from '../../src/base/shared-copy.ts';

test('a copy out of shared memory is exact, wherever source and target begin', () => {
  const plain = new Prng(1).bytes(300);
  const shared = new Uint8Array(new SharedArrayBuffer(300));
  shared.set(plain);
  const lengths = [0, 1, 7, 8, 9, 100];
  for (const source of [plain, shared, shared.subarray(3), plain.subarray(3)]) {
    for (let start = 0; start < 20; start++) {
      for (let at = 8; at < 20; at++) {
        for (const length of lengths) {
          const to = new Uint8Array(160).fill(0xee).subarray(at % 3);
          copyShared(to, at, source, start, start + length);
          expect(Buffer.compare(to.subarray(at, at + length), source.subarray(start, start + length))).toBe(
            0,
          );
          // Nothing else changes but the word in front.
          expect(to.subarray(0, at - 8).every((byte) => byte === 0xee)).toBe(true);
          expect(to.subarray(at + length).every((byte) => byte === 0xee)).toBe(true);
        }
      }
    }
  }
});

test('without a word in front of the target it copies as set does', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(20)).map((_, i) => i);
  const source = new Uint8Array(new SharedArrayBuffer(20));
  source.set(shared);
  const to = new Uint8Array(8);
  copyShared(to, 3, source, 5, 9);
  expect(Array.from(to)).toEqual([0, 0, 0, 5, 6, 7, 8, 0]);
});
