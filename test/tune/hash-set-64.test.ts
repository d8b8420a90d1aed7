import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { HashSet64 } from '../../src/tune/hash-set-64.ts';

test('a hash is new once, also after the set has grown', () => {
  const prng = new Prng(7);
  const set = new HashSet64();
  const model = new Set<bigint>();
  for (let i = 0; i < 20_000; i++) {
    // Few different halves, so that slots collide, but spread as those of a hash are; 0 and 1 share a place.
    const low = Math.imul(prng.below(3000), 0x9e37_79b1) >>> 0;
    const hash = prng.below(1000) === 0 ? BigInt(i % 2) : (BigInt(prng.below(8)) << 32n) | BigInt(low);
    const isKnown = model.has(hash || 1n);
    const said = [set.has(hash), !set.add(hash)];
    if (said.some((known) => known !== isKnown))
      throw new Error(`${hash} is ${isKnown ? 'known' : 'new'}: ${said}`);
    model.add(hash || 1n);
  }
  expect(set.size).toBe(model.size);
});
