import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { chunkMaxCeiling, inlineBytesMax } from '../../src/base/limits.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { chunkRefBytes, writeChunkRef } from '../../src/format/chunk-ref-bytes.ts';
import { encodeMetadata } from '../../src/format/metadata.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import {
  deleteRecord,
  goneRecord,
  parseValueRecord,
  type RecordBody,
  type RecordFields,
  recordForm,
  recordForms,
  recordKind,
  recordSize,
  recordTime,
  refHint,
  refIdAt,
  refRawLen,
  type ValueRecord,
  visitRecordRefs,
  writeValueRecord,
} from '../../src/format/value-record.ts';

const place = { file: 'tab', offset: 1000 };
const timeMs = 0x0197_0000_0001;

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isVarveError(error)) return error.code;
    throw error;
  }
  return 'accepted';
};

const encode = (fields: RecordFields): Uint8Array => {
  const w = new ByteWriter(8);
  writeValueRecord(w, fields);
  return w.take();
};

const idOf = (n: number): Uint8Array => new Uint8Array(32).fill(n);

function listBody(lengths: number[]): RecordBody {
  const refs = new Uint8Array(lengths.length * chunkRefBytes);
  lengths.forEach((rawLen, i) => {
    writeChunkRef(refs, i * chunkRefBytes, idOf(i + 1), 0, {
      segment: i + 5,
      off8: 8 + i,
      storedLen: rawLen + 1,
      rawLen,
    });
  });
  return { form: recordForms.list, size: lengths.reduce((a, b) => a + b, 0), refs };
}

const treeBody = (size: number, leafCount: number, height: number): RecordBody => ({
  form: recordForms.tree,
  size,
  root: { id: idOf(9), segment: 3, off8: 4, storedLen: 5, rawLen: 24 + 40 * 2 },
  height,
  leafCount,
});

const inline = (bytes: Uint8Array): RecordBody => ({ form: recordForms.inline, size: bytes.length, bytes });

/** Writes a parsed record again. */
function rewrite(r: ValueRecord): Uint8Array {
  if (r.kind !== rowKinds.put)
    return r.kind === rowKinds.gone
      ? encode({ kind: rowKinds.gone, timeMs: r.timeMs, seq: r.goneSeq })
      : encode({ kind: r.kind as typeof rowKinds.delete, timeMs: r.timeMs });
  const refs = r.buf.slice(r.bodyFrom, r.bodyFrom + r.chunks * chunkRefBytes);
  const bytes = r.buf.slice(r.bodyFrom, r.bodyFrom + r.size);
  const id = r.buf.slice(refIdAt(r, 0), refIdAt(r, 0) + 32);
  let body: RecordBody;
  if (r.form === recordForms.inline) body = { form: recordForms.inline, size: r.size, bytes };
  else if (r.form === recordForms.list) body = { form: recordForms.list, size: r.size, refs };
  else {
    const at = r.bodyFrom;
    const view = new DataView(r.buf.buffer, r.buf.byteOffset);
    const root = {
      id,
      segment: view.getUint32(at + 32, true),
      off8: view.getUint32(at + 36, true),
      storedLen: view.getUint32(at + 40, true),
      rawLen: refRawLen(r, 0),
    };
    body = { form: recordForms.tree, size: r.size, root, height: r.height, leafCount: r.chunks };
  }
  return encode({
    kind: rowKinds.put,
    timeMs: r.timeMs,
    body,
    expireAtMs: r.expireAtMs,
    createdMs: r.createdMs,
    metadata: r.buf.slice(r.metadataFrom, r.metadataTo),
  });
}

describe('value records', () => {
  test('golden bytes of every kind and form', () => {
    const put = { kind: rowKinds.put, timeMs } as const;
    expect(toHex(encode({ ...put, body: inline(Uint8Array.of(1, 2, 3)) }))).toBe('010001000000970103010203');
    expect(
      toHex(
        encode({
          ...put,
          body: inline(Uint8Array.of(7)),
          expireAtMs: timeMs + 1,
          createdMs: timeMs - 200,
          metadata: encodeMetadata({ tags: ['a'] }),
        }),
      ),
    ).toBe('0107010000009701010200000097' + '01c8010794c091a161c0c007');
    expect(toHex(encode({ ...put, body: listBody([300]) }))).toBe(
      `1100010000009701ac0201${'01'.repeat(32)}05000000080000002d0100002c010000`,
    );
    expect(toHex(encode({ ...put, body: treeBody(1000, 20, 1) }))).toBe(
      `2100010000009701e807${'09'.repeat(32)}03000000040000000500000068000000` +
        '01000000000000001400000000000000',
    );
    expect(toHex(deleteRecord(timeMs))).toBe('0200010000009701');
    expect(toHex(deleteRecord(timeMs, true))).toBe('0400010000009701');
    expect(toHex(goneRecord(timeMs, 258))).toBe('03000100000097010201000000000000');
  });

  test('markers made directly equal those written into a buffer', () => {
    expect(toHex(encode({ kind: rowKinds.delete, timeMs }))).toBe(toHex(deleteRecord(timeMs)));
    expect(toHex(encode({ kind: rowKinds.lateDelete, timeMs }))).toBe(toHex(deleteRecord(timeMs, true)));
    expect(toHex(encode({ kind: rowKinds.gone, timeMs, seq: 7 }))).toBe(toHex(goneRecord(timeMs, 7)));
  });

  test('every record parses to its fields, peeks agree, and writing it again gives the same bytes', () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map(inline),
      fc.array(fc.integer({ min: 1, max: chunkMaxCeiling }), { minLength: 1, maxLength: 16 }).map(listBody),
      fc
        .tuple(
          fc.integer({ min: 1, max: 2 ** 40 }),
          fc.integer({ min: 0, max: 1000 }),
          fc.integer({ min: 1, max: 5 }),
        )
        .map(([leaves, extra, height]) => treeBody(leaves + extra, leaves, height)),
    );
    const time = fc.integer({ min: 0, max: 2 ** 48 - 1 });
    const fields = fc.record({
      body,
      at: time,
      age: fc.oneof(fc.constant(0), fc.nat()),
      expireAtMs: fc.option(time, { nil: undefined }),
      tags: fc.array(fc.string({ unit: 'grapheme-ascii', maxLength: 5 }), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(fields, fc.nat(9), (given, before) => {
        const metadata = encodeMetadata({ tags: given.tags });
        const createdMs = Math.max(0, given.at - given.age);
        const { expireAtMs } = given;
        const bytes = encode({
          kind: rowKinds.put,
          timeMs: given.at,
          body: given.body,
          expireAtMs,
          createdMs,
          metadata,
        });
        const buf = new Uint8Array(before + bytes.length + 3).fill(0xee);
        buf.set(bytes, before);
        const r = parseValueRecord(buf, before, before + bytes.length, place);
        expect(r.timeMs).toBe(given.at);
        expect(r.size).toBe(given.body.size);
        expect(r.expireAtMs).toBe(expireAtMs);
        expect(r.createdMs).toBe(createdMs);
        expect(toHex(buf.subarray(r.metadataFrom, r.metadataTo))).toBe(toHex(metadata));
        expect(toHex(rewrite(r))).toBe(toHex(bytes));
        expect(recordKind(buf, before)).toBe(rowKinds.put);
        expect(recordForm(buf, before)).toBe(given.body.form);
        expect(recordTime(buf, before)).toBe(given.at);
        expect(recordSize(buf, before)).toBe(given.body.size);
      }),
    );
  });

  test('references name their chunk, its length and its place', () => {
    const bytes = encode({ kind: rowKinds.put, timeMs, body: listBody([10, 20]) });
    const r = parseValueRecord(bytes, 0, bytes.length, place);
    expect(r.chunks).toBe(2);
    expect(toHex(bytes.subarray(refIdAt(r, 1), refIdAt(r, 1) + 32))).toBe(toHex(idOf(2)));
    expect(refRawLen(r, 1)).toBe(20);
    expect(refHint(r, 1)).toEqual({ segment: 6, off8: 9, storedLen: 21, rawLen: 20 });
    bytes.fill(0, refIdAt(r, 1) + 32, refIdAt(r, 1) + 36);
    expect(refHint(r, 1)).toBeUndefined();
  });

  test('counted references are the chunks of a list, the root of a tree and none else', () => {
    const ids = (bytes: Uint8Array): number[] => {
      const seen: number[] = [];
      visitRecordRefs(bytes, 0, bytes.length, (at) => seen.push(bytes[at]!));
      return seen;
    };
    const put = { kind: rowKinds.put, timeMs } as const;
    expect(ids(encode({ ...put, body: listBody([1, 2, 3]) }))).toEqual([1, 2, 3]);
    expect(ids(encode({ ...put, body: treeBody(100, 20, 2) }))).toEqual([9]);
    expect(ids(encode({ ...put, body: inline(new Uint8Array(500).fill(9)) }))).toEqual([]);
    expect(ids(deleteRecord(timeMs))).toEqual([]);
    expect(ids(goneRecord(timeMs, 3))).toEqual([]);
    expect(codeOf(() => visitRecordRefs(new Uint8Array(3), 0, 3, () => undefined))).toBe('VARVE_CORRUPT');
  });

  test('any change to the bytes either parses to a record that writes the same bytes or is refused', () => {
    const put = { kind: rowKinds.put, timeMs } as const;
    const metadata = encodeMetadata({ contentType: 'x' });
    const samples = [
      encode({ ...put, body: inline(Uint8Array.of(1, 2)), expireAtMs: 5, createdMs: 9, metadata }),
      encode({ ...put, body: listBody([300, 5]) }),
      encode({ ...put, body: treeBody(5000, 200, 2) }),
      deleteRecord(timeMs),
      goneRecord(timeMs, 3),
    ];
    for (const sample of samples) {
      for (let bit = 0; bit < sample.length * 8; bit++) {
        const bytes = sample.slice();
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        const code = codeOf(() => {
          expect(toHex(rewrite(parseValueRecord(bytes, 0, bytes.length, place)))).toBe(toHex(bytes));
        });
        expect(['accepted', 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION']).toContain(code);
      }
      for (let n = 0; n < sample.length; n++)
        expect(codeOf(() => parseValueRecord(sample, 0, n, place))).toBe('VARVE_CORRUPT');
      const longer = new Uint8Array(sample.length + 1);
      longer.set(sample);
      expect(codeOf(() => parseValueRecord(longer, 0, longer.length, place))).toBe('VARVE_CORRUPT');
    }
  });

  test('the bounds of each field hold at the bound and one past it', () => {
    const put = { kind: rowKinds.put, timeMs } as const;
    const code = (bytes: Uint8Array): string => codeOf(() => parseValueRecord(bytes, 0, bytes.length, place));
    expect(code(encode({ ...put, body: inline(new Uint8Array(inlineBytesMax)) }))).toBe('accepted');
    expect(code(encode({ ...put, body: inline(new Uint8Array(inlineBytesMax + 1)) }))).toBe('VARVE_CORRUPT');
    expect(code(encode({ ...put, body: listBody([chunkMaxCeiling]) }))).toBe('accepted');
    expect(code(encode({ ...put, body: listBody([chunkMaxCeiling + 1]) }))).toBe('VARVE_CORRUPT');
    expect(code(encode({ ...put, body: treeBody(20, 20, 5) }))).toBe('accepted');
    expect(code(encode({ ...put, body: treeBody(20, 20, 6) }))).toBe('VARVE_CORRUPT');
    expect(code(encode({ ...put, body: treeBody(20, 20, 0) }))).toBe('VARVE_CORRUPT');
    expect(code(encode({ ...put, body: treeBody(20, 21, 1) }))).toBe('VARVE_CORRUPT');
    expect(code(encode({ ...put, body: treeBody(20 * chunkMaxCeiling + 1, 20, 1) }))).toBe('VARVE_CORRUPT');
    expect(code(encode({ ...put, body: { ...listBody([5, 6]), size: 12 } as RecordBody }))).toBe(
      'VARVE_CORRUPT',
    );
  });

  test('unknown flags are a newer format, unknown kinds and forms are damage, with file and offset', () => {
    const sample = encode({ kind: rowKinds.put, timeMs, body: inline(Uint8Array.of(1)) });
    const changed = (at: number, byte: number): Uint8Array => {
      const bytes = sample.slice();
      bytes[at] = byte;
      return bytes;
    };
    expect(codeOf(() => parseValueRecord(changed(1, 8), 0, sample.length, place))).toBe(
      'VARVE_FORMAT_VERSION',
    );
    for (const byte of [0x00, 0x05, 0x0f, 0x31, 0x12])
      expect(codeOf(() => parseValueRecord(changed(0, byte), 0, sample.length, place))).toBe('VARVE_CORRUPT');
    expect(() => parseValueRecord(sample, 0, 4, place)).toThrow(/^tab at offset 1002/);
  });
});
