import { expect, test } from 'vitest';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { decodeLease, encodeLease } from '../../src/format/lease.ts';

const lease = { dbUuid: fromHex('00112233445566778899aabbccddeeff'), generation: 7, beats: 9 };

test('a lease has these bytes for ever, and comes back', () => {
  const bytes = encodeLease(lease);
  expect(toHex(bytes)).toBe(
    '8956524c0d0a1a0a00112233445566778899aabbccddeeff07000000000000000900000000000000' +
      '0000000000000000000000000000000040bf63f8ac930298',
  );
  expect(decodeLease(bytes, 'readers/x.lease')).toEqual(lease);
});

test('a lease that is torn, cut or flipped is none', () => {
  const bytes = encodeLease(lease);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect(decodeLease(damaged, 'x')).toBeUndefined();
  }
  for (let length = 0; length < bytes.length; length++)
    expect(decodeLease(bytes.subarray(0, length), 'x')).toBeUndefined();
});
