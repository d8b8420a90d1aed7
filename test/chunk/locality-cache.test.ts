import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { LocalityCache } from '../../src/chunk/locality-cache.ts';
import { type ChunkLocation, chunkIdBytes } from '../../src/format/chunk-ref.ts';

const idOf = (n: number): Uint8Array => new Prng(n + 1).bytes(chunkIdBytes);
const found = (): ChunkLocation => ({ segment: 0, off8: 0, storedLen: 0, rawLen: 0 });

function trailer(from: number, count: number) {
  const ids = new Uint8Array(count * chunkIdBytes);
  for (let i = 0; i < count; i++) ids.set(idOf(from + i), i * chunkIdBytes);
  const column = (k: number) => Uint32Array.from({ length: count }, (_, i) => from * k + i);
  return { count, ids, off8: column(1), storedLen: column(2), rawLen: column(3) };
}

describe('locality cache', () => {
  test('equals a map of the entries it holds, through growth, loading, sealing and forgetting', () => {
    const command = fc.oneof(
      fc.record({ op: fc.constant('append' as const), n: fc.nat(400) }),
      fc.record({ op: fc.constant('seal' as const), n: fc.nat(5) }),
      fc.record({ op: fc.constant('load' as const), n: fc.nat(300) }),
      fc.record({ op: fc.constant('forget' as const), n: fc.nat(8) }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const cache = new LocalityCache(1e9);
        const model = new Map<number, { segment: number; off8: number }[]>();
        const ever = new Map<number, Set<number>>();
        const add = (n: number, segment: number, off8: number) => {
          model.set(n, [...(model.get(n) ?? []), { segment, off8 }]);
          ever.set(n, (ever.get(n) ?? new Set()).add(segment));
        };
        let segment = 1;
        cache.open(segment);
        for (const { op, n } of commands) {
          if (op === 'append') {
            for (let i = 0; i < 40; i++) {
              cache.append(segment, idOf(n + i), 0, n + i, 7, 8);
              add(n + i, segment, n + i);
            }
          } else if (op === 'seal') {
            cache.seal(segment);
            cache.open(++segment);
          } else if (op === 'load') {
            const at = 1000 + n;
            if (!cache.has(at)) {
              cache.load(at, trailer(n, 50));
              for (let i = 0; i < 50; i++) add(n + i, at, n + i);
            }
          } else if (n !== segment) {
            cache.forget(n);
            for (const [key, places] of model)
              model.set(
                key,
                places.filter((p) => p.segment !== n),
              );
          }
        }
        const out = found();
        for (let n = 0; n < 460; n++) {
          const places = model.get(n) ?? [];
          const hit = cache.find(idOf(n), 0, out);
          if (hit) expect(places).toContainEqual({ segment: out.segment, off8: out.off8 });
          // An id that two segments have had may be lost with the newer one; any other must be found.
          if (places.length > 0 && ever.get(n)!.size === 1) expect(hit).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('answers the next entry of a trailer without a table lookup, unknown ids with a miss', () => {
    const cache = new LocalityCache(1e6);
    cache.load(9, trailer(0, 100));
    const out = found();
    for (let n = 0; n < 100; n++) {
      expect(cache.find(idOf(n), 0, out)).toBe(true);
      expect(out).toEqual({ segment: 9, off8: n, storedLen: n, rawLen: n });
    }
    expect(cache.find(idOf(500), 0, out)).toBe(false);
    expect([cache.hits, cache.misses]).toEqual([100, 1]);
  });

  test('stays within its budget by evicting the oldest trailers, never an open one', () => {
    const cache = new LocalityCache(61 * 250);
    cache.open(1);
    for (let i = 0; i < 100; i++) cache.append(1, idOf(10_000 + i), 0, i, 1, 1);
    for (let segment = 2; segment < 8; segment++) cache.load(segment, trailer(segment * 200, 100));
    expect(cache.bytesUsed).toBeLessThanOrEqual(61 * 250);
    expect(cache.has(1)).toBe(true);
    expect(cache.has(7)).toBe(true);
    expect(cache.has(2)).toBe(false);
    expect(cache.find(idOf(400), 0, found())).toBe(false);
    cache.seal(1);
    cache.clear();
    expect(cache.bytesUsed).toBe(0);
  });
});
