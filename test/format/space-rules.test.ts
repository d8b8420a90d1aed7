import { expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import {
  decodeRulesRow,
  decodeUsedRow,
  encodeRulesRow,
  encodeUsedRow,
  isRulesKey,
  isUsedKey,
  ruledSpaceOf,
  rulesKey,
  usedKey,
} from '../../src/format/space-rules.ts';
import { codeOf } from '../engine/engine-kit.ts';

const retention = { last: 1, hourly: 2, daily: 3, weekly: 4, monthly: 5, yearly: 6, within: 86_400_000 };
const rules = { retention, quotaBytes: 2 ** 40 };
const used = { isWhole: true, fromSeq: 9, added: 4096, removed: 0 };

test('golden bytes', () => {
  expect(toHex(encodeRulesRow(rules))).toBe(
    '03000000' +
      '010000000200000003000000040000000500000006000000' +
      '00000000' +
      '005c260500000000' +
      '0000000000010000' +
      '0'.repeat(32),
  );
  expect(toHex(encodeUsedRow(used))).toBe(
    '0100000000000000' + '0900000000000000' + '0010000000000000' + '0000000000000000',
  );
  expect(toHex(rulesKey(258))).toBe('72756c65732f00000102');
  expect(toHex(usedKey(258))).toBe('757365642f00000102');
});

test('what is encoded is decoded', () => {
  for (const row of [rules, { retention, quotaBytes: undefined }, { retention: undefined, quotaBytes: 0 }]) {
    expect(decodeRulesRow(encodeRulesRow(row))).toEqual(row);
  }
  for (const row of [used, { isWhole: false, fromSeq: 1, added: 5, removed: 7 }]) {
    expect(decodeUsedRow(encodeUsedRow(row))).toEqual(row);
  }
  expect([isRulesKey(rulesKey(1)), isRulesKey(usedKey(1)), isUsedKey(usedKey(1))]).toEqual([
    true,
    false,
    true,
  ]);
  expect([ruledSpaceOf(rulesKey(0xfffffffe)), ruledSpaceOf(usedKey(3))]).toEqual([0xfffffffe, 3]);
});

test('another shape is damage, an unknown flag a newer format', async () => {
  expect(await codeOf(() => decodeRulesRow(encodeRulesRow(rules).subarray(1)))).toBe('VARVE_CORRUPT');
  expect(await codeOf(() => decodeUsedRow(encodeUsedRow(used).subarray(1)))).toBe('VARVE_CORRUPT');
  expect(await codeOf(() => ruledSpaceOf(rulesKey(1).subarray(0, 8)))).toBe('VARVE_CORRUPT');
  const newer = encodeRulesRow(rules);
  newer[0] = 4;
  expect(await codeOf(() => decodeRulesRow(newer))).toBe('VARVE_FORMAT_VERSION');
  const newerUsed = encodeUsedRow(used);
  newerUsed[0] = 2;
  expect(await codeOf(() => decodeUsedRow(newerUsed))).toBe('VARVE_FORMAT_VERSION');
});
