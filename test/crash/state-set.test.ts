import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { StateSet } from './state-set.ts';

test('a number is new once, also after the set has grown', () => {
  const set = new StateSet();
  const model = new Set<bigint>();
  const prng = new Prng(3);
  for (let i = 0; i < 30_000; i++) {
    const low = Math.imul(prng.below(3000), 0x9e37_79b1) >>> 0;
    const state = (BigInt(prng.below(20)) << 32n) | BigInt(low);
    const isNew = !model.has(state || 1n);
    if (set.add(state) !== isNew) throw new Error(`state ${state} is ${isNew ? 'new' : 'known'}`);
    model.add(state || 1n);
  }
  expect(set.size).toBe(model.size);
});
