import { describe, expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { Part, PartRoom } from '../../src/tree/part-room.ts';

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

  test('what is borrowed is given back when its lender takes it', () => {
    const lenders = [new PartRoom(4000), new PartRoom(9000)];
    const cache = new BlockCache(2000, { most: 10_000, leaves: 1000 });
    expect(cache.budget).toBe(2000);
    cache.borrow(lenders);
    expect(cache.budget).toBe(12_000);
    for (let i = 0; i < 20; i++) cache.set(1, i * 8, new Uint8Array(840));
    expect(cache.used).toBe(2000);
    for (let i = 0; i < 20; i++) cache.set(1, i * 8, new Uint8Array(840), true);
    expect(cache.used).toBe(12_000);
    // Who may not borrow takes the place of others.
    cache.set(2, 0, new Uint8Array(840));
    expect([cache.used, cache.get(1, 64), cache.get(2, 0)?.length]).toEqual([12_000, undefined, 840]);
    cache.set(1, 19 * 8, new Uint8Array(840), true);
    const owner = { no: 7, dropped: () => undefined };
    const parts = lenders.map((room, i) => new Part(owner, i, room.budget - 500));
    expect(lenders[0]!.hold(parts[0]!)).toBe(true);
    expect([cache.budget, cache.used]).toEqual([10_500, 10_000]);
    expect(lenders[1]!.hold(parts[1]!)).toBe(true);
    expect([cache.budget, cache.used]).toEqual([2000, 2000]);
    // The newest ones are left.
    for (let i = 0; i < 20; i++) expect(cache.get(1, i * 8) !== undefined).toBe(i === 19);
    for (const [i, room] of lenders.entries()) room.give(parts[i]!);
    expect(cache.budget).toBe(12_000);
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
