import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../../src/base/limits.ts';
import { Prng } from '../../../src/base/prng.ts';
import { chunkAll, createChunker } from '../../../src/kernels/chunker/chunker.ts';
import { fastcdcKernel } from '../../../src/kernels/chunker/fastcdc.ts';
import { fastcdcReferenceKernel } from '../../../src/kernels/chunker/fastcdc-reference.ts';
import { deriveChunkerKey } from '../../../src/kernels/chunker/key.ts';
import { type ChunkerParams, solveParams } from '../../../src/kernels/chunker/params.ts';
import { sieveKernel } from '../../../src/kernels/chunker/sieve.ts';
import { sieveReferenceKernel } from '../../../src/kernels/chunker/sieve-reference.ts';
import { sha256Hex } from '../../../src/kernels/hash/sha256.ts';
import { cutsInPieces } from './in-pieces.ts';
import { naiveCuts, naivePositions } from './naive.ts';

const algorithms = ['fastcdc', 'sieve'] as const;
const small = (algorithm: (typeof algorithms)[number]): ChunkerParams =>
  solveParams({ algorithm, min: 256, avg: 1024, max: 4096 });
const usual = (algorithm: (typeof algorithms)[number]): ChunkerParams =>
  solveParams({ algorithm, min: 4096, avg: 16_384, max: 65_536 });

/** Inputs that are hard on chunkers in one way each. */
const inputs: [string, (n: number) => Uint8Array][] = [
  ['random', (n) => new Prng(1).bytes(n)],
  ['two values', (n) => new Prng(2).bytes(n).map((b) => b & 1)],
  ['text', (n) => new Prng(3).bytes(n).map((b) => 97 + (b % 26))],
  ['zeros', (n) => new Uint8Array(n)],
  ['period 3', (n) => Uint8Array.from({ length: n }, (_, i) => i % 3)],
  [
    'period 1000',
    (n) => Uint8Array.from({ length: n }, (_, i) => (Math.imul(i % 1000, 0x9e3779b9) >>> 11) & 255),
  ],
  ['counter', (n) => new Uint8Array(Uint32Array.from({ length: (n >> 2) + 1 }, (_, i) => i).buffer, 0, n)],
  ['sparse', (n) => Uint8Array.from({ length: n }, (_, i) => (i % 512 === 0 ? i >> 9 : 0))],
];

describe.each(algorithms)('%s', (algorithm) => {
  const key = deriveChunkerKey(algorithm);
  const params = small(algorithm);
  const wasm = createChunker(params, { key });
  const plain = createChunker(params, { key, kernel: 'javascript' });

  test('the kernel in use is WebAssembly unless told otherwise', () => {
    expect([wasm.kind, plain.kind]).toEqual(['wasm', 'javascript']);
  });

  test.each(inputs)('both kernels equal the definition on %s', (_name, make) => {
    const bytes = make(20_000);
    const expected = naiveCuts(params, key, bytes);
    expect([...chunkAll(wasm, bytes)]).toEqual(expected);
    expect([...chunkAll(plain, bytes)]).toEqual(expected);
  });

  test.each(inputs)('the kernels agree on %s at the usual sizes', (_name, make) => {
    const bytes = make(MiB + 17);
    const fast = chunkAll(createChunker(usual(algorithm), { key }), bytes);
    expect(fast).toEqual(chunkAll(createChunker(usual(algorithm), { key, kernel: 'javascript' }), bytes));
  });

  test('both kernels equal the definition at every length around the points of the rule', () => {
    const bytes = new Prng(9).bytes(3 * params.max);
    for (const point of [0, params.min, params.normal, params.max, params.max + params.min, 2 * params.max]) {
      for (let n = Math.max(0, point - 3); n <= point + 50; n += 1) {
        const cut = bytes.subarray(0, n);
        const ends = chunkAll(wasm, cut);
        expect(ends).toEqual(chunkAll(plain, cut));
        if (n <= point + 3) expect([...ends]).toEqual(naiveCuts(params, key, cut));
      }
    }
  });

  test('a stream shorter than the smallest chunk is one chunk and an empty one is none', () => {
    expect([...chunkAll(wasm, new Uint8Array(0))]).toEqual([]);
    for (const n of [1, 63, params.min - 1, params.min]) {
      expect([...chunkAll(wasm, new Prng(1).bytes(n))]).toEqual([n]);
    }
  });

  test('constant bytes are cut at the largest chunk', () => {
    for (const value of [0, 32, 255]) {
      const bytes = new Uint8Array(2 * params.max + params.min + 1).fill(value);
      expect([...chunkAll(wasm, bytes)]).toEqual([params.max, 2 * params.max, bytes.length]);
    }
    expect([...chunkAll(wasm, new Uint8Array(params.max))]).toEqual([params.max]);
    expect([...chunkAll(wasm, new Uint8Array(params.max + 1))]).toEqual([params.max, params.max + 1]);
  });

  test('any split into writes gives the cuts of one write', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 40_000 }),
        fc.integer({ min: 1, max: 3_000 }),
        fc.boolean(),
        fc.nat(),
        (length, longest, plainText, seed) => {
          const prng = new Prng(seed);
          const bytes = prng.bytes(length).map((b) => (plainText ? 97 + (b & 3) : b));
          const whole = [...chunkAll(wasm, bytes)];
          expect(cutsInPieces(wasm, bytes, () => 1 + prng.below(longest))).toEqual(whole);
          expect(cutsInPieces(plain, bytes, () => 1 + prng.below(longest))).toEqual(whole);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('streams longer than the window, in pieces longer than the window too, give the same cuts', () => {
    const bytes = new Prng(4).bytes(4 * MiB + 5);
    const whole = [...chunkAll(wasm, bytes)];
    const prng = new Prng(5);
    expect(cutsInPieces(wasm, bytes, () => 100_000 + prng.below(2 * MiB))).toEqual(whole);
    expect(whole.length).toBeGreaterThan(3_000);
  });

  test('the mean on random data is within 2 percent of the average asked for', () => {
    const chunker = createChunker(usual(algorithm), { key });
    const bytes = new Prng(6).bytes(32 * MiB);
    const ends = chunkAll(chunker, bytes);
    expect(Math.abs(bytes.length / ends.length / 16_384 - 1)).toBeLessThan(0.02);
    const lengths = Array.from(ends, (end, i) => end - (i === 0 ? 0 : ends[i - 1]!));
    expect(Math.max(...lengths)).toBeLessThanOrEqual(65_536);
    expect(Math.min(...lengths.slice(0, -1))).toBeGreaterThanOrEqual(4096);
  });

  test('an insertion changes the chunks around it only', () => {
    const bytes = new Prng(8).bytes(MiB);
    const changed = new Uint8Array(bytes.length + 7);
    changed.set(bytes.subarray(0, 300_000));
    changed.set(bytes.subarray(300_000), 300_007);
    const before = new Set(Array.from(chunkAll(wasm, bytes), (end) => end + 7));
    const after = Array.from(chunkAll(wasm, changed)).filter((end) => end > 330_000);
    expect(after.length).toBeGreaterThan(500);
    expect(after.every((end) => before.has(end))).toBe(true);
  });

  test('a scan may start and end at any position', () => {
    const all = { ...params, strict: 2 ** 32 - 1, loose: 2 ** 32 - 1 };
    const some = algorithm === 'sieve' ? all : { ...params, strict: 2 ** 24, loose: 2 ** 24 };
    const bytes = new Prng(15).bytes(8_192);
    for (const make of algorithm === 'sieve'
      ? [sieveKernel, sieveReferenceKernel]
      : [fastcdcKernel, fastcdcReferenceKernel]) {
      const kernel = make(some, key, bytes.length)!;
      kernel.window.set(bytes);
      const positions = naivePositions(key, bytes, some.loose);
      expect(positions.length).toBeGreaterThan(15);
      let next = 0;
      for (let from = 64; from < bytes.length; from++) {
        if (positions[next]! < from) next++;
        const expected = positions[next] ?? 0;
        if (kernel.scan(from, from, bytes.length) !== expected) expect([from, 0]).toEqual([from, expected]);
        if (expected === 0) continue;
        if (kernel.scan(from, expected, expected) !== 0) expect([from, expected]).toEqual([from, 0]);
      }
    }
  });

  test('another key cuts elsewhere', () => {
    const bytes = new Prng(8).bytes(100_000);
    const other = createChunker(params, { key: deriveChunkerKey(algorithm, new Uint8Array(32)) });
    expect(chunkAll(other, bytes)).not.toEqual(chunkAll(wasm, bytes));
  });

  test('the largest and smallest thresholds work in both kernels', () => {
    const bytes = new Prng(10).bytes(20_000);
    for (const [strict, loose] of [
      [2 ** 32 - 1, 2 ** 32 - 1],
      [1, 2 ** 31],
      [2 ** 31, 2 ** 31 + 1],
    ] as const) {
      const extreme = { ...params, strict, loose };
      const expected = naiveCuts(extreme, key, bytes);
      expect([...chunkAll(createChunker(extreme, { key }), bytes)]).toEqual(expected);
      expect([...chunkAll(createChunker(extreme, { key, kernel: 'javascript' }), bytes)]).toEqual(expected);
    }
  });
});

describe('golden cuts', () => {
  // Bytes: sfc32 seeded with 42 (src/base/prng.ts), 1 MiB; parameters 4 KiB / 16 KiB / 64 KiB; public key.
  const golden = {
    fastcdc: { first: [12690, 31465, 45536, 62749, 85472, 100142], count: 61, hash: '56dcc7fd01282d3b' },
    sieve: { first: [13725, 30222, 44326, 57876, 78615, 93237], count: 64, hash: '6cd88e39bc80f49e' },
  };
  test.each(algorithms)('%s cuts the golden input where it always did', (algorithm) => {
    const ends = chunkAll(createChunker(usual(algorithm)), new Prng(42).bytes(MiB));
    expect([...ends.subarray(0, 6)]).toEqual(golden[algorithm].first);
    expect(ends.length).toBe(golden[algorithm].count);
    const text = new TextEncoder().encode(ends.join(','));
    expect(sha256Hex(text).slice(0, 16)).toBe(golden[algorithm].hash);
  });
});
