import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { plainValueFrom } from '../../src/format/plain-value.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import {
  parseValueRecord,
  recordForms,
  type ValueRecord,
  writeValueRecord,
} from '../../src/format/value-record.ts';

function recordWith(size: number, age: number, metadataBytes: number, expires: boolean): Uint8Array {
  const w = new ByteWriter(64);
  const timeMs = 2 ** 41;
  writeValueRecord(w, {
    kind: rowKinds.put,
    timeMs,
    createdMs: timeMs - age,
    body: { form: recordForms.inline, size, bytes: new Uint8Array(size).fill(0x81) },
    ...(metadataBytes > 0 ? { metadata: new Uint8Array(metadataBytes) } : {}),
    ...(expires ? { expireAtMs: timeMs + 1 } : {}),
  });
  return w.take();
}

function parsed(buf: Uint8Array, from: number, to: number): ValueRecord | undefined {
  try {
    return parseValueRecord(buf, from, to, { file: 'test' });
  } catch (error) {
    if (error instanceof VarveError) return undefined;
    throw error;
  }
}

const sizes = fc.oneof(fc.constantFrom(0, 1, 127, 128, 16_383, 16_384, 65_536), fc.nat({ max: 3000 }));
const ages = fc.oneof(fc.constantFrom(0, 1, 127, 128, 2 ** 32, 2 ** 41), fc.nat());

describe('plainValueFrom', () => {
  test('finds the value of every inline record without metadata and expiry, and of no other', () => {
    fc.assert(
      fc.property(sizes, ages, fc.boolean(), fc.boolean(), (size, age, meta, expires) => {
        const bytes = recordWith(size, age, meta ? 5 : 0, expires);
        const buf = new Uint8Array(bytes.length + 20).fill(1);
        buf.set(bytes, 7);
        const from = plainValueFrom(buf, 7, 7 + bytes.length);
        expect(from).toBe(meta || expires ? -1 : 7 + bytes.length - size);
      }),
      { numRuns: 200 },
    );
  });

  test('a changed or cut record is never plain unless it parses as one with the same value', () => {
    const change = fc.record({
      at: fc.nat({ max: 16 }),
      byte: fc.nat({ max: 255 }),
      cut: fc.nat({ max: 3 }),
    });
    fc.assert(
      fc.property(fc.constantFrom(0, 5, 130, 16_390), ages, change, (size, age, { at, byte, cut }) => {
        const buf = recordWith(size, age, 0, false);
        buf[at] = byte;
        const to = Math.max(0, buf.length - cut);
        const from = plainValueFrom(buf, 0, to);
        if (from < 0) return;
        const record = parsed(buf, 0, to);
        expect(record?.bodyFrom).toBe(from);
        expect(record?.size).toBe(to - from);
      }),
      { numRuns: 500 },
    );
  });
});
