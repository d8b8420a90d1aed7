import { describe, expect, test } from 'vitest';
import { corrupt } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { fuzz, fuzzTargets } from '../campaigns/fuzz.ts';
import { Coverage } from './coverage.ts';
import { Fuzzer } from './fuzzer.ts';
import { mutate } from './mutate.ts';
import type { Target } from './target.ts';

const quiet = { seed: 1, onProgress: () => undefined };
const refusal = (): Error => corrupt('not the one', { file: 'planted' });

/** Four conditions deep lies a fault: found by keeping what got one condition further, hardly by chance. */
const planted: Target = {
  name: 'planted',
  sample: () => new Uint8Array(12),
  run(bytes) {
    if (bytes[3] !== 0x56) throw refusal();
    if (bytes[5] !== 0x52) throw refusal();
    if (bytes[8] !== 0x0d) throw refusal();
    if (bytes[11] !== 0x1a) throw refusal();
    throw new TypeError('the planted fault');
  },
};

describe('fuzzing', () => {
  test('every decoder refuses damaged bytes with a typed error and re-encodes what it accepts', async () => {
    const { failed, lines, tried } = await fuzz({ ...quiet, count: 12_000 }, fuzzTargets);
    expect({ failed, lines: failed === 0 ? [] : lines }).toEqual({ failed: 0, lines: [] });
    expect(tried).toBe(12_000);
  });

  test('the fuzzer finds a fault four conditions deep', () => {
    const coverage = new Coverage((url) => url.includes('fuzz.test'));
    const fuzzer = new Fuzzer(planted, coverage, 1);
    for (let i = 0; i < 600 && fuzzer.failed === 0; i++) fuzzer.batch();
    coverage.close();
    expect(fuzzer.failures.join()).toContain('the planted fault');
  });

  test('a decoder that accepts two forms of one value is reported', async () => {
    const loose: Target = {
      name: 'loose',
      sample: () => Uint8Array.of(7, 0),
      run: (bytes) => {
        if (bytes.length !== 2 || bytes[0] !== 7) throw refusal();
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
