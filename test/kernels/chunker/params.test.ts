import { describe, expect, test } from 'vitest';
import { MiB } from '../../../src/base/limits.ts';
import {
  type ChunkerAlgorithm,
  type ChunkSizes,
  nameOfAlgorithm,
  paramsProblem,
  solveParams,
} from '../../../src/kernels/chunker/params.ts';

const sizes = (over: Partial<ChunkSizes> = {}): ChunkSizes => ({
  algorithm: 'fastcdc',
  min: 4096,
  avg: 16_384,
  max: 65_536,
  ...over,
});

function refusal(over: Partial<ChunkSizes>): string {
  try {
    solveParams(sizes(over));
  } catch (error) {
    expect(error).toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' });
    return (error as Error).message;
  }
  throw new Error('accepted');
}

describe('solving', () => {
  test('the default sizes give the published integers', () => {
    const common = { min: 4096, normal: 13_474, max: 65_536 };
    expect(solveParams(sizes())).toEqual({ algorithmId: 1, ...common, strict: 2 ** 16, loose: 2 ** 20 });
    expect(solveParams(sizes({ algorithm: 'sieve' }))).toEqual({
      algorithmId: 2,
      ...common,
      strict: 2 ** 24,
      loose: 2 ** 28,
    });
  });

  test('other sizes give the integers they gave before', () => {
    expect(solveParams(sizes({ min: 256, avg: 1024, max: 4096 }))).toMatchInlineSnapshot(`
      {
        "algorithmId": 1,
        "loose": 16777216,
        "max": 4096,
        "min": 256,
        "normal": 842,
        "strict": 1048576,
      }
    `);
    expect(solveParams(sizes({ algorithm: 'sieve', min: 256, avg: 1024, max: 4096 }))).toMatchInlineSnapshot(`
      {
        "algorithmId": 2,
        "loose": 4294967295,
        "max": 4096,
        "min": 256,
        "normal": 842,
        "strict": 268435456,
      }
    `);
    expect(solveParams(sizes({ min: 10_000, avg: 50_000, max: 300_000 }))).toMatchInlineSnapshot(`
      {
        "algorithmId": 1,
        "loose": 343597,
        "max": 300000,
        "min": 10000,
        "normal": 41721,
        "strict": 21474,
      }
    `);
    expect(solveParams(sizes({ min: MiB, avg: 4 * MiB, max: 16 * MiB }))).toMatchInlineSnapshot(`
      {
        "algorithmId": 1,
        "loose": 4096,
        "max": 16777216,
        "min": 1048576,
        "normal": 3449413,
        "strict": 256,
      }
    `);
  });

  test('every usual shape of sizes is solvable and passes the check of stored parameters', () => {
    for (const algorithm of ['fastcdc', 'sieve'] as const) {
      for (let avg = 1024; avg <= 4 * MiB; avg = Math.floor(avg * 1.37)) {
        for (const [low, high] of [
          [4, 4],
          [2, 4],
          [4, 2],
          [8, 3],
        ] as const) {
          const params = solveParams({ algorithm, min: Math.floor(avg / low), avg, max: avg * high });
          expect(paramsProblem(params)).toBeUndefined();
        }
      }
    }
  });
});

describe('refusals', () => {
  test('sizes at their bounds are accepted and one past them refused', () => {
    solveParams(sizes({ min: 64, avg: 1024, max: 4096 }));
    expect(refusal({ min: 63, avg: 1024, max: 4096 })).toContain('at least 64');
    expect(refusal({ min: 64, avg: 1023, max: 4096 })).toContain('at least 1024');
    solveParams(sizes({ max: 16 * MiB }));
    expect(refusal({ max: 16 * MiB + 1 })).toContain(`at most ${16 * MiB}`);
  });

  test('sizes out of order are refused', () => {
    expect(refusal({ min: 16_384 })).toContain('min < avg < max');
    expect(refusal({ max: 16_384 })).toContain('min < avg < max');
    expect(refusal({ min: 70_000 })).toContain('min < avg < max');
  });

  test('anything but whole numbers is refused', () => {
    for (const bad of [4096.5, Number.NaN, Number.POSITIVE_INFINITY, -1, '4096' as unknown as number]) {
      refusal({ min: bad });
      refusal({ avg: bad });
      refusal({ max: bad });
    }
  });

  test('an average that no normal point gives is refused with the range that is possible', () => {
    expect(refusal({ min: 15_000 })).toMatch(/mean lies between \d+ and \d+/);
    expect(refusal({ max: 16_500 })).toMatch(/mean lies between \d+ and \d+/);
    refusal({ min: 16_383, max: 16_385 });
  });

  test('an unknown algorithm is refused', () => {
    expect(refusal({ algorithm: 'rabin' as ChunkerAlgorithm })).toContain('fastcdc, sieve');
    expect(refusal({ algorithm: 'toString' as ChunkerAlgorithm })).toContain('fastcdc, sieve');
  });
});

test('stored parameters that no chunker can run on are named', () => {
  const good = solveParams(sizes());
  expect(paramsProblem(good)).toBeUndefined();
  expect(paramsProblem({ ...good, algorithmId: 3 })).toContain('algorithm');
  expect(paramsProblem({ ...good, min: 63 })).toContain('64');
  expect(paramsProblem({ ...good, max: 16 * MiB + 1 })).toContain(String(16 * MiB));
  expect(paramsProblem({ ...good, normal: good.min })).toContain('normal point');
  expect(paramsProblem({ ...good, normal: good.max })).toContain('normal point');
  expect(paramsProblem({ ...good, strict: 0 })).toContain('thresholds');
  expect(paramsProblem({ ...good, strict: good.loose + 1 })).toContain('thresholds');
  for (const field of ['algorithmId', 'min', 'normal', 'max', 'strict', 'loose'] as const) {
    for (const bad of [1.5, -1, 2 ** 32, Number.NaN]) {
      expect(paramsProblem({ ...good, [field]: bad })).toContain('32-bit integer');
    }
  }
});

test('algorithm ids are 1 for fastcdc and 2 for sieve', () => {
  expect([0, 1, 2, 3].map(nameOfAlgorithm)).toEqual([undefined, 'fastcdc', 'sieve', undefined]);
});
