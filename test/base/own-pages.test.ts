import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { grownBytes, grownWords, ownPagesBytes, pagedBytes, pagedWords } from '../../src/base/own-pages.ts';

const MiB = 2 ** 20;

describe('arrays with pages of their own', () => {
  test('a large array is larger than what any heap keeps, a small one as long as it is asked for', () => {
    expect([0, 1, MiB].map(pagedBytes)).toEqual([0, 1, MiB]);
    expect(pagedBytes(MiB + 1)).toBe(ownPagesBytes);
    expect(pagedBytes(ownPagesBytes + 1)).toBe(ownPagesBytes + 1);
    expect(ownPagesBytes).toBeGreaterThan(32 * MiB);
    const words = pagedWords(MiB);
    expect([words.length, words.byteLength, words.buffer.byteLength]).toEqual([MiB, 4 * MiB, ownPagesBytes]);
    expect(words.every((word) => word === 0)).toBe(true);
  });

  test('pages that nobody has written to take no memory', () => {
    const before = process.memoryUsage().rss;
    const held = Array.from({ length: 8 }, () => pagedWords(MiB));
    expect(process.memoryUsage().rss - before).toBeLessThan(8 * MiB);
    expect(held.length).toBe(8);
  });

  test('an array keeps its numbers and has zeros behind them however it grows', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 400_000 }), { maxLength: 3 }), (steps) => {
        let words = new Uint32Array(1).fill(7);
        let bytes = new Uint8Array(1).fill(7);
        let length = 1;
        for (const step of steps) {
          words = grownWords(words, length + step) as typeof words;
          bytes = grownBytes(bytes, length + step) as typeof bytes;
          for (const array of [words, bytes]) {
            expect(array.length).toBe(length + step);
            expect([array[0], array[length - 1], array[length], array[length + step - 1]]).toEqual([
              7, 7, 0, 0,
            ]);
            array.fill(7, length);
          }
          length += step;
        }
      }),
      { numRuns: 8 },
    );
  });

  test('an array that begins inside another is copied', () => {
    const outer = new Uint8Array([1, 2, 3, 4, 5, 6]);
    expect([...grownBytes(outer.subarray(2, 4), 4)]).toEqual([3, 4, 0, 0]);
    expect([...outer]).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
