import { describe, expect, test } from 'vitest';
import { corrupt } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { fuzz, fuzzTargets } from '../campaigns/fuzz.ts';
import { Coverage } from './coverage.ts';
import { Fuzzer } from './fuzzer.ts';
import { mutate } from './mutate.ts';
import { planted } from './planted.ts';
import type { Target } from './target.ts';

const quiet = { seed: 1, onProgress: () => undefined };
describe('fuzzing', () => {
  test('every decoder refuses damaged bytes with a typed error and re-encodes what it accepts', async () => {
    const { failed, lines, tried } = await fuzz({ ...quiet, count: 6000 }, fuzzTargets);
    expect({ failed, lines: failed === 0 ? [] : lines }).toEqual({ failed: 0, lines: [] });
    expect(tried).toBe(6000);
  });

  test('the fuzzer finds a fault four conditions deep, and finds it by coverage', () => {
    const runs = (isWanted: (url: string) => boolean, batches: number): Fuzzer => {
      const coverage = new Coverage(isWanted);
      const fuzzer = new Fuzzer(planted, coverage, 1);
      for (let i = 0; i < batches && fuzzer.failed === 0; i++) fuzzer.batch();
      return fuzzer;
    };
    const guided = runs((url) => url.includes('/fuzz/planted.'), 300);
    expect(guided.failures.join()).toContain('the planted fault');
    expect(runs(() => false, guided.runs / 1024).failed).toBe(0);
  });

  test('a decoder that accepts two forms of one value is reported', async () => {
    const loose: Target = {
      name: 'loose',
      sample: () => Uint8Array.of(7, 0),
      run: (bytes) => {
        if (bytes.length !== 2 || bytes[0] !== 7) throw corrupt('not the one', { file: 'planted' });
        if (bytes[1] !== 0) throw new Error('accepted bytes encode differently');
      },
    };
    const { failed } = await fuzz({ ...quiet, count: 3000 }, [loose]);
    expect(failed).toBeGreaterThan(0);
  });

  test('the same seed makes the same inputs', () => {
    const inputs = (): Uint8Array[] => {
      const prng = new Prng(9);
      return Array.from({ length: 50 }, () => mutate(prng, new Uint8Array(40), Uint8Array.of(1, 2, 3)));
    };
    expect(inputs()).toEqual(inputs());
  });
});
