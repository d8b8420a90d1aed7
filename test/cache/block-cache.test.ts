import { describe, expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';

describe('block cache', () => {
  test('the cache stays within its budget and drops the least recently used', () => {
    const cache = new BlockCache(10_000);
    for (let i = 0; i < 8; i++) cache.set(1, i * 8, new Uint8Array(1000));
    expect(cache.used).toBe(8 * 1160);
    expect(cache.get(1, 0)).toBeDefined();
    cache.set(1, 64, new Uint8Array(1000));
    expect(cache.used).toBeLessThanOrEqual(cache.budget);
    expect(cache.get(1, 0)).toBeDefined();
    expect(cache.get(1, 8)).toBeUndefined();
    expect([cache.hits, cache.misses]).toEqual([2, 1]);
    cache.set(2, 0, new Uint8Array(20_000));
    expect(cache.get(2, 0)).toBeUndefined();
    cache.clear();
    expect(cache.used).toBe(0);
  });

  test('blocks of files with large numbers stay apart', () => {
    const cache = new BlockCache(2 ** 20);
    const keys: [number, number][] = [
      [1, 0],
      [0, 2 ** 31],
      [2 ** 25 - 1, 2 ** 31 - 8],
      [2 ** 25, 0],
      [2 ** 53 - 1, 8],
      [2 ** 53 - 2, 8],
    ];
    for (const [i, [no, offset]] of keys.entries()) cache.set(no, offset, Uint8Array.of(i));
    for (const [i, [no, offset]] of keys.entries()) expect(cache.get(no, offset)).toEqual(Uint8Array.of(i));
  });

  test('a budget of nothing keeps nothing and a bad one is refused', () => {
    const cache = new BlockCache(0);
    cache.set(1, 0, new Uint8Array(1));
    expect(cache.get(1, 0)).toBeUndefined();
    expect([cache.used, cache.misses]).toEqual([0, 1]);
    cache.clear();
    for (const budget of [-1, 0.5, Number.NaN]) expect(() => new BlockCache(budget)).toThrow(/cache budget/);
  });
});
