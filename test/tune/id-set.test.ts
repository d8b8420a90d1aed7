import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { IdSet } from '../../src/tune/id-set.ts';

test('an id is new once, also after the set has grown', () => {
  const prng = new Prng(7);
  const set = new IdSet();
  const model = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    // Few different halves, so that slots collide.
    const [low, high] = [prng.below(3000), prng.below(4)];
    // 0, 0 and 1, 0 share their place: the first stands for a free slot.
    const name = low === 0 && high === 0 ? '1 0' : `${low} ${high}`;
    const isKnown = model.has(name);
    const said = [set.has(low, high), !set.add(low, high)];
    if (said.some((known) => known !== isKnown))
      throw new Error(`${name} is ${isKnown ? 'known' : 'new'}: ${said}`);
    model.add(name);
  }
  expect(set.count).toBe(model.size);
});
