import { expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { decodeCheckRecord, encodeCheckRecord } from '../../src/format/check-record.ts';
import { codeOf } from '../engine/engine-kit.ts';

const record = {
  store: '00112233445566778899aabbccddeeff',
  last: { ms: 1_700_000_000_000, level: 2, damage: 0 },
  units: [
    { phase: 1, no: 7, level: 2, ms: 1_700_000_000_000 },
    { phase: 3, no: 9, level: 1, ms: 1_600_000_000_000 },
  ],
};

test('a record of checks has these bytes for ever, and comes back', () => {
  const bytes = encodeCheckRecord(record);
  expect(new TextDecoder().decode(bytes)).toBe(
    'varve-checks 1 af1a92e963afd907\n' +
      '{"store":"00112233445566778899aabbccddeeff","last":[1700000000000,2,0],' +
      '"files":[[1,7,2,1700000000000],[3,9,1,1600000000000]]}\n',
  );
  expect(decodeCheckRecord(bytes, 'checks')).toEqual(record);
  const none = { store: 'x', last: undefined, units: [] };
  expect(decodeCheckRecord(encodeCheckRecord(none), 'checks')).toEqual(none);
});

test('every flipped bit of a record of checks, and every cut, is found', async () => {
  const bytes = encodeCheckRecord(record);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect([toHex(damaged), await codeOf(() => decodeCheckRecord(damaged, 'checks'))]).toEqual([
      toHex(damaged),
      'VARVE_CORRUPT',
    ]);
  }
  for (let length = 0; length < bytes.length; length++) {
    expect(await codeOf(() => decodeCheckRecord(bytes.subarray(0, length), 'checks'))).toBe('VARVE_CORRUPT');
  }
});
