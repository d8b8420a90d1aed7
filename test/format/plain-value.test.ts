import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { chunkRefBytes, writeChunkRef } from '../../src/format/chunk-ref-bytes.ts';
import { plainListFrom, plainValueFrom } from '../../src/format/plain-value.ts';
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

/** The record of a value in chunks of these lengths. */
function listWith(lengths: readonly number[], age: number, metadataBytes: number, expires: boolean) {
  const refs = new Uint8Array(lengths.length * chunkRefBytes);
  for (const [i, rawLen] of lengths.entries()) {
    const place = { segment: i + 1, off8: 7 * i, storedLen: rawLen, rawLen };
    writeChunkRef(refs, i * chunkRefBytes, new Uint8Array(32).fill(i), 0, place);
  }
  const w = new ByteWriter(64);
  const timeMs = 2 ** 41;
  const size = lengths.reduce((sum, length) => sum + length, 0);
  writeValueRecord(w, {
    kind: rowKinds.put,
    timeMs,
    createdMs: timeMs - age,
    body: { form: recordForms.list, size, refs },
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

describe('plainListFrom', () => {
  const lengths = fc.array(
    fc.oneof(fc.constantFrom(1, 127, 128, 16_384, 65_536), fc.integer({ min: 1, max: 9000 })),
    {
      minLength: 1,
      maxLength: 16,
    },
  );

  test('finds the references of every short list without metadata and expiry, and of no other', () => {
    fc.assert(
      fc.property(lengths, ages, fc.boolean(), fc.boolean(), (given, age, meta, expires) => {
        const bytes = listWith(given, age, meta ? 5 : 0, expires);
        const buf = new Uint8Array(bytes.length + 70).fill(1);
        buf.set(bytes, 7);
        const from = plainListFrom(buf, 7, 7 + bytes.length);
        const isLong = given.reduce((sum, length) => sum + length, 0) > 65_536;
        expect(from).toBe(meta || expires || isLong ? -1 : 7 + bytes.length - given.length * chunkRefBytes);
        expect(plainValueFrom(buf, 7, 7 + bytes.length)).toBe(-1);
      }),
      { numRuns: 200 },
    );
  });

  test('a changed or cut record is no plain list unless it parses as one with the same references', () => {
    const change = fc.record({
      at: fc.nat({ max: 70 }),
      byte: fc.nat({ max: 255 }),
      cut: fc.nat({ max: 50 }),
    });
    fc.assert(
      fc.property(lengths, ages, change, (given, age, { at, byte, cut }) => {
        const buf = listWith(given, age, 0, false);
        buf[Math.min(at, buf.length - 1)] = byte;
        const to = Math.max(0, buf.length - cut);
        const from = plainListFrom(buf, 0, to);
        if (from < 0) return;
        const record = parsed(buf, 0, to);
        expect(record).toMatchObject({ form: recordForms.list, bodyFrom: from });
        expect(record!.bodyFrom + record!.chunks * chunkRefBytes).toBe(to);
      }),
      { numRuns: 500 },
    );
  });
});
