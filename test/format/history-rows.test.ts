import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import {
  decodeClockRow,
  decodePolicyRow,
  decodeSnapshotRow,
  encodeClockRow,
  encodePolicyRow,
  encodeSnapshotRow,
  isClockKey,
  isPolicyKey,
  isSnapshotKey,
  policyKey,
  policySpaceOf,
  snapshotKey,
  timeKey,
} from '../../src/format/history-rows.ts';
import { codeOf } from '../engine/engine-kit.ts';

const history = { versions: 3, ms: 86_400_000, sinceSeq: 9, sinceMs: 1_700_000_000_000 };
const policy = { history, ttlMs: 5000 };
const snapshot = { seq: 77, timeMs: 1_700_000_000_000, note: 'before: é' };

describe('rows of history', () => {
  test('golden bytes', () => {
    expect(toHex(encodePolicyRow(policy))).toBe(
      '0300000003000000005c2605000000000900000000000000' +
        '0068e5cf8b010000' +
        '8813000000000000' +
        '0'.repeat(16),
    );
    expect(toHex(encodeSnapshotRow(snapshot))).toBe(
      '4d00000000000000' + '0068e5cf8b01' + '0000' + '0a000000' + '00000000' + '6265666f72653a20c3a9',
    );
    expect(toHex(encodeClockRow(1_700_000_000_000))).toBe('0000018bcfe56800');
    expect(toHex(policyKey(258))).toBe('706f6c6963792f00000102');
    expect(toHex(timeKey(258))).toBe('74696d652f0000000000000102');
    expect(toHex(snapshotKey('a'))).toBe('736e61702f61');
  });

  test('what is encoded is decoded', () => {
    for (const row of [policy, { history: undefined, ttlMs: 0 }, { history, ttlMs: undefined }]) {
      expect(decodePolicyRow(encodePolicyRow(row))).toEqual(row);
    }
    const key = snapshotKey('monday');
    expect(decodeSnapshotRow(key, encodeSnapshotRow(snapshot))).toEqual({ name: 'monday', ...snapshot });
    expect(decodeClockRow(encodeClockRow(2 ** 45))).toBe(2 ** 45);
    expect(policySpaceOf(policyKey(0xfffffffe))).toBe(0xfffffffe);
    const kinds = [policyKey(1), key, timeKey(3)].map((k) => [
      isPolicyKey(k),
      isSnapshotKey(k),
      isClockKey(k),
    ]);
    expect(kinds).toEqual([
      [true, false, false],
      [false, true, false],
      [false, false, false],
    ]);
  });

  test('another shape is damage, and unknown flags are a newer format', async () => {
    const whole = encodePolicyRow(policy);
    const key = snapshotKey('a');
    const snap = encodeSnapshotRow(snapshot);
    for (const wrong of [
      () => decodePolicyRow(whole.subarray(1)),
      () => decodePolicyRow(Uint8Array.of(...whole, 0)),
      () => decodePolicyRow(whole.map((byte, i) => (i === 45 ? 1 : byte))),
      () => decodePolicyRow(whole.map((byte, i) => (i === 15 ? 255 : byte))),
      () => policySpaceOf(policyKey(1).subarray(0, 9)),
      () => decodeSnapshotRow(key, snap.subarray(0, 20)),
      () => decodeSnapshotRow(key, snap.subarray(0, snap.length - 1)),
      () => decodeSnapshotRow(Uint8Array.of(...key, 0xff), snap),
      () => decodeClockRow(new Uint8Array(7)),
      () => decodeClockRow(new Uint8Array(8).fill(255)),
    ]) {
      expect(await codeOf(wrong)).toBe('VARVE_CORRUPT');
    }
    for (const newer of [
      () => decodePolicyRow(whole.map((byte, i) => (i === 0 ? 7 : byte))),
      () =>
        decodeSnapshotRow(
          key,
          snap.map((byte, i) => (i === 14 ? 1 : byte)),
        ),
    ]) {
      expect(await codeOf(newer)).toBe('VARVE_FORMAT_VERSION');
    }
  });
});
