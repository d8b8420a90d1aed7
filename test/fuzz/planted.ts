/** A decoder with a fault, in a file of its own: coverage of anything else in it would mislead the fuzzer. */
import { corrupt } from '../../src/base/errors.ts';
import type { Target } from './target.ts';

const refusal = (): Error => corrupt('not the one', { file: 'planted' });

/** The fault lies four conditions deep: found by keeping what got one condition further, hardly by chance. */
export const planted: Target = {
  name: 'planted',
  sample: () => new Uint8Array(12),
  run(bytes) {
    if (bytes[3]! >> 4 !== 0x5) throw refusal();
    if (bytes[5]! >> 4 !== 0xb) throw refusal();
    if (bytes[8]! >> 4 !== 0x3) throw refusal();
    if (bytes[11]! >> 4 !== 0x9) throw refusal();
    throw new TypeError('the planted fault');
  },
};
