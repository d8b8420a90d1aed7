import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { encodeMsgpack } from '../../src/codec/msgpack.ts';
import { decodeMetadata, encodeMetadata, type MetadataInput } from '../../src/format/metadata.ts';

const place = { file: 'test' };

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isVarveError(error)) return error.code;
    throw error;
  }
  return 'accepted';
};

describe('metadata', () => {
  test('golden bytes', () => {
    const bytes = encodeMetadata({
      contentType: 'text/plain',
      tags: ['b', 'a', 'b'],
      metadata: { z: 1, a: new Date(1000) },
      system: { sha256: Uint8Array.of(1) },
    });
    expect(toHex(bytes)).toBe(
      '94aa746578742f706c61696e92a161a16282a161d6ff00000001a17a0181a6736861323536c40101',
    );
    expect(decodeMetadata(bytes, place)).toEqual({
      contentType: 'text/plain',
      tags: ['a', 'b'],
      metadata: { z: 1, a: new Date(1000) },
      system: { sha256: Uint8Array.of(1) },
    });
  });

  test('no metadata is no bytes, an empty user map is kept', () => {
    expect(encodeMetadata({})).toHaveLength(0);
    expect(encodeMetadata({ tags: [], system: {} })).toHaveLength(0);
    const bytes = encodeMetadata({ metadata: {} });
    expect(toHex(bytes)).toBe('94c09080c0');
    expect(decodeMetadata(bytes, place)).toEqual({ tags: [], metadata: {} });
  });

  test('any combination of parts comes back and encodes to the same bytes', () => {
    const word = fc.string({ unit: 'grapheme', maxLength: 8 });
    const input = fc.record(
      {
        contentType: word,
        tags: fc.array(word, { maxLength: 5 }),
        metadata: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.oneof(fc.integer(), word), {
          noNullPrototype: true,
        }),
        system: fc.constant({ owner: 'o' }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(input, (given) => {
        const bytes = encodeMetadata(given);
        if (bytes.length === 0) return;
        const padded = new Uint8Array(bytes.length + 5);
        padded.set(bytes, 3);
        const back = decodeMetadata(padded, place, 3, 3 + bytes.length);
        expect(back).toEqual({ ...given, tags: back.tags });
        expect(new Set(back.tags)).toEqual(new Set(given.tags ?? []));
        expect(toHex(encodeMetadata(back))).toBe(toHex(bytes));
      }),
    );
  });

  test.each([
    ['a content type that is no string', { contentType: 1 }],
    ['tags that are no array', { tags: 'a' }],
    ['a tag that is no string', { tags: [1] }],
    ['a tag with a lone surrogate', { tags: ['\ud800'] }],
    ['metadata that is null', { metadata: null }],
    ['metadata that is an array', { metadata: [] }],
    ['metadata that is bytes', { metadata: new Uint8Array(1) }],
    ['metadata that is a Date', { metadata: new Date(0) }],
    ['metadata that is a class instance', { metadata: new Map() }],
    ['metadata that is text', { metadata: 'x' }],
  ])('%s is refused', (_name, bad) => {
    expect(codeOf(() => encodeMetadata(bad as unknown as MetadataInput))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('the message names the path of what is not acceptable', () => {
    const bad = { a: { b: [1n] } } as unknown as MetadataInput['metadata'];
    expect(() => encodeMetadata({ metadata: bad })).toThrow(/metadata\.a\.b\[0\] is a bigint/);
  });

  test('64 KiB in all are accepted, one byte more is refused', () => {
    const empty = encodeMetadata({ contentType: 't', metadata: { b: new Uint8Array(300) } }).length - 300;
    const room = 65536 - empty;
    expect(encodeMetadata({ contentType: 't', metadata: { b: new Uint8Array(room) } })).toHaveLength(65536);
    const over = { contentType: 't', metadata: { b: new Uint8Array(room + 1) } };
    expect(codeOf(() => encodeMetadata(over))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('sixteen levels are accepted and come back, seventeen are refused', () => {
    const nested = (n: number): { [key: string]: unknown } => (n === 1 ? {} : { a: nested(n - 1) });
    const sixteen = nested(16) as MetadataInput['metadata'];
    expect(decodeMetadata(encodeMetadata({ metadata: sixteen }), place).metadata).toEqual(sixteen);
    const more = nested(17) as MetadataInput['metadata'];
    expect(codeOf(() => encodeMetadata({ metadata: more }))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test.each([
    ['three parts', [null, [], null]],
    ['five parts', [null, ['a'], null, null, null]],
    ['a map', { a: 1 }],
    ['nothing in it', [null, [], null, null]],
    ['a content type that is a number', [1, [], null, null]],
    ['tags out of order', [null, ['b', 'a'], null, null]],
    ['a tag twice', [null, ['a', 'a'], null, null]],
    ['a tag that is a number', [null, [1], null, null]],
    ['tags that are nil', [null, null, {}, null]],
    ['a user part that is an array', [null, [], [], null]],
    ['a user part that is bytes', [null, [], new Uint8Array(1), null]],
    ['an empty system map', ['t', [], null, {}]],
    ['a system part that is a Date', ['t', [], null, new Date(0)]],
  ])('%s is damage', (_name, parts) => {
    expect(codeOf(() => decodeMetadata(encodeMsgpack(parts), place))).toBe('VARVE_CORRUPT');
  });
});
