import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes, encodeUtf8, startsWith, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { integerMax, keyBytesMax } from '../../src/base/limits.ts';
import {
  boundsOf,
  decodeInternalKey,
  decodeSysKey,
  encodeInternalKey,
  encodeRowPrefix,
  encodeSysKey,
  type KeyRange,
  rowKeyBytesMax,
  rowPrefixBytesMax,
  rowPrefixEnd,
  seqOf,
  writeRowKey,
  writeRowPrefixText,
} from '../../src/format/internal-key.ts';

// Few distinct bytes, so that prefixes, zeros and FF meet often.
const byte = fc.constantFrom(0, 1, 2, 0x41, 0xfe, 0xff);
const key = fc.array(byte, { maxLength: 6 }).map((bytes) => Uint8Array.from(bytes));
const space = fc.constantFrom(0, 1, 255, 256, 0xffffffff);
const seq = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, integerMax));

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isVarveError(error)) return error.code;
    throw error;
  }
  return 'accepted';
};

describe('internal keys', () => {
  test('golden bytes', () => {
    const prefix = encodeRowPrefix(0x01020304, Uint8Array.of(0x61, 0, 0xff));
    expect(toHex(prefix)).toBe('010203046100ffff0001');
    expect(toHex(encodeInternalKey(prefix, 0x12_3456_789a))).toBe('010203046100ffff0001ffffffedcba98765');
    expect(toHex(encodeSysKey(encodeUtf8('snap/a'), 1))).toBe('736e61702f610001fffffffffffffffe');
  });

  test('byte order of encoded keys is the order of space, user key and newest first', () => {
    fc.assert(
      fc.property(space, key, seq, space, key, seq, (s1, k1, q1, s2, k2, q2) => {
        const a = encodeInternalKey(encodeRowPrefix(s1, k1), q1);
        const b = encodeInternalKey(encodeRowPrefix(s2, k2), q2);
        const expected = s1 - s2 || compareBytes(k1, k2) || q2 - q1;
        expect(Math.sign(compareBytes(a, b))).toBe(Math.sign(expected));
        const x = encodeSysKey(k1, q1);
        const y = encodeSysKey(k2, q2);
        expect(Math.sign(compareBytes(x, y))).toBe(Math.sign(compareBytes(k1, k2) || q2 - q1));
      }),
      { numRuns: 2000 },
    );
  });

  test('every key decodes to its parts, and what decodes encodes to the same bytes', () => {
    fc.assert(
      fc.property(space, key, seq, fc.nat(5), (s, k, q, at) => {
        const out = new Uint8Array(at + rowKeyBytesMax).fill(0xaa);
        const end = writeRowKey(out, at, s, k, q);
        expect(decodeInternalKey(out, at, end)).toEqual({ space: s, userKey: k, seq: q });
        expect(seqOf(out, end)).toBe(q);
        expect(toHex(out.subarray(at, rowPrefixEnd(out, at, end)))).toBe(toHex(encodeRowPrefix(s, k)));
        expect(out[end]).toBe(0xaa);
        const sys = encodeSysKey(k, q);
        expect(decodeSysKey(sys, 0, sys.length)).toEqual({ sysKey: k, seq: q });
      }),
    );
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 24 }), (bytes) => {
        const buf = Uint8Array.from(bytes);
        const code = codeOf(() => {
          const { space: s, userKey, seq: q } = decodeInternalKey(buf, 0, buf.length);
          expect(toHex(encodeInternalKey(encodeRowPrefix(s, userKey), q))).toBe(toHex(buf));
        });
        expect(['accepted', 'VARVE_CORRUPT']).toContain(code);
      }),
      { numRuns: 2000 },
    );
  });

  test('text keys are written as their UTF-8 form', () => {
    const out = new Uint8Array(rowPrefixBytesMax);
    fc.assert(
      fc.property(space, fc.string({ unit: 'binary', maxLength: 30 }), (s, text) => {
        if (!(text as string & { isWellFormed(): boolean }).isWellFormed()) return;
        const end = writeRowPrefixText(out, 0, s, text);
        expect(toHex(out.subarray(0, end))).toBe(toHex(encodeRowPrefix(s, encodeUtf8(text))));
      }),
    );
    for (const bad of ['\ud800', 'a\udc00', '\ud800a', '\udc00\ud800'])
      expect(codeOf(() => writeRowPrefixText(out, 0, 0, bad))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('keys are accepted at the longest length and refused one past it', () => {
    const out = new Uint8Array(rowKeyBytesMax);
    expect(writeRowKey(out, 0, 7, new Uint8Array(keyBytesMax), 9)).toBe(rowKeyBytesMax);
    expect(decodeInternalKey(out, 0, rowKeyBytesMax).userKey.length).toBe(keyBytesMax);
    expect(codeOf(() => encodeRowPrefix(0, new Uint8Array(keyBytesMax + 1)))).toBe('VARVE_INVALID_ARGUMENT');
    const half = (keyBytesMax - 1) / 2;
    expect(codeOf(() => writeRowPrefixText(out, 0, 0, `${'ü'.repeat(half)}a`))).toBe('accepted');
    for (const long of ['\0'.repeat(keyBytesMax + 1), 'ü'.repeat(half + 1)])
      expect(codeOf(() => writeRowPrefixText(out, 0, 0, long))).toBe('VARVE_INVALID_ARGUMENT');
    expect(codeOf(() => writeRowPrefixText(out, 0, 0, '\0'.repeat(keyBytesMax)))).toBe('accepted');
  });

  test('bounds hold exactly the rows of the keys in the range', () => {
    const maybe = fc.option(key, { nil: undefined });
    const range = fc.record<KeyRange>({ prefix: maybe, gt: maybe, gte: maybe, lt: maybe, lte: maybe });
    fc.assert(
      fc.property(range, space, space, key, seq, (r, wanted, s, k, q) => {
        const { from, to } = boundsOf(r, wanted);
        const row = encodeInternalKey(encodeRowPrefix(s, k), q);
        const inside = compareBytes(row, from) >= 0 && (to === undefined || compareBytes(row, to) < 0);
        const expected =
          s === wanted &&
          (r.prefix === undefined || startsWith(k, r.prefix)) &&
          (r.gt === undefined || compareBytes(k, r.gt) > 0) &&
          (r.gte === undefined || compareBytes(k, r.gte) >= 0) &&
          (r.lt === undefined || compareBytes(k, r.lt) < 0) &&
          (r.lte === undefined || compareBytes(k, r.lte) <= 0);
        expect(inside).toBe(expected);
        if (to !== undefined) expect(compareBytes(from, to)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 2500 },
    );
  });

  test('a sequence number above 2^53-1 is damage with its place', () => {
    const bytes = encodeSysKey(Uint8Array.of(1), 5);
    bytes[3] = 0;
    expect(codeOf(() => decodeSysKey(bytes, 0, bytes.length, { file: 'x', offset: 10 }))).toBe(
      'VARVE_CORRUPT',
    );
  });
});
