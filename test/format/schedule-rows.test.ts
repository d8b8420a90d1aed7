import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { initChecksum } from '../../src/codec/checksum.ts';
import {
  decodeRunNote,
  decodeScheduleRow,
  decodeScheduleRunRow,
  encodeRunNote,
  encodeScheduleRow,
  encodeScheduleRunRow,
  isScheduleKey,
  scheduleKey,
  scheduleRunKey,
} from '../../src/format/schedule-rows.ts';
import { decodeRotation, encodeRotation } from '../../src/format/vault-records.ts';
import { codeOf } from '../engine/engine-kit.ts';

const row = { definedMs: 1_700_000_000_000, policy: { cron: '@daily', vault: '/v' } };
const run = {
  failures: 2,
  dueMs: 1_700_000_000_000,
  startedMs: 1_700_000_000_001,
  endedMs: 1_700_000_000_002,
  okDueMs: 3,
  okMs: 4,
  verifiedMs: 5,
  backup: 'ab',
  error: undefined,
};

describe('rows of schedules', () => {
  test('golden bytes', () => {
    expect(toHex(scheduleKey('a'))).toBe('7363686564756c652f61');
    expect(toHex(scheduleRunKey('a'))).toBe('736368656472756e2f61');
    expect(toHex(encodeScheduleRow(row))).toBe(
      '00000000000000000068e5cf8b010000' + '82a463726f6ea6406461696c79a57661756c74a22f76',
    );
    expect(toHex(encodeScheduleRunRow(run))).toBe(
      '0000000002000000' +
        '0068e5cf8b010000' +
        '0168e5cf8b010000' +
        '0268e5cf8b010000' +
        '0300000000000000' +
        '0400000000000000' +
        '0500000000000000' +
        '0000000000000000' +
        '92a26162c0',
    );
  });

  test('what is encoded is decoded', () => {
    expect(decodeScheduleRow(scheduleKey('nightly'), encodeScheduleRow(row))).toEqual({
      name: 'nightly',
      ...row,
    });
    expect(decodeScheduleRunRow(scheduleRunKey('n'), encodeScheduleRunRow(run))).toEqual({
      name: 'n',
      ...run,
    });
    const failed = { ...run, backup: undefined, error: 'VARVE_IO: no' };
    expect(decodeScheduleRunRow(scheduleRunKey('n'), encodeScheduleRunRow(failed))).toEqual({
      name: 'n',
      ...failed,
    });
    expect([scheduleKey('n'), scheduleRunKey('n')].map(isScheduleKey)).toEqual([true, false]);
  });

  test('another shape is damage, and unknown flags are a newer format', async () => {
    const whole = encodeScheduleRow(row);
    const ran = encodeScheduleRunRow(run);
    const key = scheduleKey('n');
    for (const wrong of [
      () => decodeScheduleRow(key, whole.subarray(0, 12)),
      () => decodeScheduleRow(key, whole.subarray(0, whole.length - 1)),
      () => decodeScheduleRow(key, Uint8Array.of(...whole, 0)),
      () => decodeScheduleRow(key, Uint8Array.of(...whole.subarray(0, 16), 0x90)),
      () => decodeScheduleRow(key, Uint8Array.of(...whole.subarray(0, 16), 0xc0)),
      () => decodeScheduleRow(scheduleKey(''), whole),
      () => decodeScheduleRow(Uint8Array.of(...key, 0xff), whole),
      () => decodeScheduleRunRow(scheduleRunKey('n'), ran.subarray(0, 63)),
      () => decodeScheduleRunRow(scheduleRunKey('n'), Uint8Array.of(...ran.subarray(0, 64), 0xc0)),
      () => decodeScheduleRunRow(scheduleRunKey('n'), Uint8Array.of(...ran.subarray(0, 64), 0x92, 1, 0xc0)),
      () => decodeScheduleRunRow(key, ran),
    ])
      expect(await codeOf(wrong)).toBe('VARVE_CORRUPT');
    const flagged = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i === 0 ? 1 : byte));
    expect(await codeOf(() => decodeScheduleRow(key, flagged(whole)))).toBe('VARVE_FORMAT_VERSION');
    expect(await codeOf(() => decodeScheduleRunRow(scheduleRunKey('n'), flagged(ran)))).toBe(
      'VARVE_FORMAT_VERSION',
    );
  });
});

describe('record of verifies', () => {
  test('golden bytes, and any flipped bit is damage', async () => {
    await initChecksum();
    const record = { last: new Uint8Array(32).fill(7), roundMs: 1_700_000_000_000, coveredMs: 9 };
    const bytes = encodeRotation(record);
    expect(toHex(bytes)).toBe(
      `${'07'.repeat(32)}0068e5cf8b0100000900000000000000${'0'.repeat(16)}${toHex(bytes.subarray(56))}`,
    );
    expect(toHex(bytes.subarray(56))).toBe('4969c21cfc316b6d');
    expect(decodeRotation(bytes, 'f')).toEqual(record);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(await codeOf(() => decodeRotation(flipped, 'f'))).toBe('VARVE_CORRUPT');
    }
    expect(await codeOf(() => decodeRotation(bytes.subarray(0, 63), 'f'))).toBe('VARVE_CORRUPT');
  });
});

describe('notes of runs in a vault', () => {
  const dbUuid = new Uint8Array(16).fill(5);

  test('golden bytes, and what is encoded is decoded', () => {
    const bytes = encodeRunNote(dbUuid, 'n', run);
    const [key, value] = [scheduleRunKey('n'), encodeScheduleRunRow(run)];
    const head = `${'05'.repeat(16)}0a00000045000000`;
    expect(toHex(bytes.subarray(8))).toBe(head + toHex(key) + toHex(value));
    expect(toHex(bytes.subarray(0, 8))).toBe('5a5d5e892da4fbc8');
    expect(decodeRunNote(bytes, 'f')).toEqual({ dbUuid, name: 'n', ...run });
  });

  test('every flipped bit, and every cut, is damage', async () => {
    const bytes = encodeRunNote(dbUuid, 'n', run);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(await codeOf(() => decodeRunNote(flipped, 'f')), `bit ${bit}`).toBe('VARVE_CORRUPT');
    }
    for (let length = 0; length < bytes.length; length++)
      expect(await codeOf(() => decodeRunNote(bytes.subarray(0, length), 'f'))).toBe('VARVE_CORRUPT');
  });
});
