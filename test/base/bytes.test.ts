import { expect, test } from 'vitest';
import { wordsOf } from '../../src/base/bytes.ts';

test('words are little-endian, copied as they lie or one by one', () => {
  const bytes = new Uint8Array([9, 9, 1, 2, 3, 4, 0xff, 0, 0, 0x80]).subarray(2);
  for (const words of [wordsOf(bytes), wordsOf(bytes, false), wordsOf(bytes, true)]) {
    expect(Array.from(words)).toEqual([0x04030201, 0x800000ff]);
    expect(words.buffer).not.toBe(bytes.buffer);
  }
});
