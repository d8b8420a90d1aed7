import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compareBytes,
  concatBytes,
  encodeUtf8,
  fromHex,
  isWellFormed,
  prefixEnd,
  toHex,
} from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import {
  componentEnd,
  decodeIndexKey,
  decodeTuple,
  encodeComponent,
  encodeIndexPrefix,
  encodeOpenComponent,
  hashComponent,
  type IndexValue,
} from '../../src/format/index-key.ts';
import { encodeInternalKey, encodeRowPrefix } from '../../src/format/internal-key.ts';
import { compareTuples, compareValues, valueText } from '../engine/index-kit.ts';

const place = { file: 'test' };
const value: fc.Arbitrary<IndexValue> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double(),
  fc.integer(),
  fc.date({ noInvalidDate: true }),
  fc.string({ unit: 'binary' }).filter(isWellFormed),
  fc.uint8Array({ maxLength: 6 }),
  fc.constantFrom<IndexValue>('', 'a', 'a\u0000', 'a\u0000\u0001', 0, -0, Number.NaN, Uint8Array.of(0, 0xff)),
);
const sign = (order: number): number => Math.sign(order);

describe('golden bytes', () => {
  const goldens: readonly (readonly [string, IndexValue, string])[] = [
    ['null', null, '10'],
    ['false', false, '18'],
    ['true', true, '19'],
    ['NaN', Number.NaN, '200000000000000000'],
    ['minus infinity', Number.NEGATIVE_INFINITY, '20000fffffffffffff'],
    ['-1.5', -1.5, '204007ffffffffffff'],
    ['0', 0, '208000000000000000'],
    ['-0', -0, '208000000000000000'],
    ['1', 1, '20bff0000000000000'],
    ['a date before 1970', new Date(-1), '28400fffffffffffff'],
    ['a date', new Date(1_700_000_000_000), '28c278bcfe56800000'],
    ['an empty string', '', '300001'],
    ['a string with a zero', 'a\u0000b', '306100ff620001'],
    ['a letter beyond ASCII', 'é', '30c3a90001'],
    ['bytes', Uint8Array.of(0, 255), '3800ffff0001'],
  ];
  for (const [name, given, hex] of goldens) {
    test(`the component of ${name} has these bytes`, () => {
      expect(toHex(encodeComponent(given))).toBe(hex);
    });
  }

  test('a hash stands for its tuple', () => {
    expect(toHex(hashComponent(encodeComponent('red')))).toBe('40d3da9caf1fbebbbc');
  });

  test('an entry has index, components, key and number', () => {
    const entry = encodeIndexPrefix(7, encodeComponent('red'), encodeRowPrefix(3, encodeUtf8('k\u0000')));
    expect(toHex(encodeInternalKey(entry, 1))).toBe(
      '00000007307265640001' + '6b00ff0001' + 'fffffffffffffffe',
    );
  });
});

describe('order', () => {
  test('bytes are in the order of values', () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(sign(compareBytes(encodeComponent(a), encodeComponent(b)))).toBe(sign(compareValues(a, b)));
      }),
      { numRuns: 2000 },
    );
  });

  test('components one behind the other are in the order of tuples', () => {
    const tuple = fc.tuple(value, value, value);
    const encoded = (values: readonly IndexValue[]): Uint8Array => concatBytes(values.map(encodeComponent));
    fc.assert(
      fc.property(tuple, tuple, (a, b) => {
        expect(sign(compareBytes(encoded(a), encoded(b)))).toBe(sign(compareTuples(a, b)));
      }),
    );
  });

  test('strings that begin alike lie between the open component and its end', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '\u0000', '\u0001', 'é'), maxLength: 4 });
    fc.assert(
      fc.property(text, text, (prefix, other) => {
        const open = encodeOpenComponent(prefix);
        const at = encodeComponent(other);
        const isWithin = compareBytes(at, open) >= 0 && compareBytes(at, prefixEnd(open)!) < 0;
        expect(isWithin).toBe(other.startsWith(prefix));
      }),
      { numRuns: 1000 },
    );
  });
});

test('a key decodes to what it was made of', () => {
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 3 }),
      fc.uint8Array(),
      fc.maxSafeNat(),
      (values, user, seq) => {
        const tuple = concatBytes(values.map(encodeComponent));
        const keyPrefix = encodeRowPrefix(9, user);
        const key = encodeInternalKey(encodeIndexPrefix(4_000_000_000, tuple, keyPrefix), seq);
        const parts = decodeIndexKey(key, 0, key.length, values.length, 9, place);
        expect(parts.index).toBe(4_000_000_000);
        expect(parts.seq).toBe(seq);
        expect(toHex(parts.tuple)).toBe(toHex(tuple));
        expect(toHex(parts.keyPrefix)).toBe(toHex(keyPrefix));
        expect(decodeTuple(parts.tuple, place).map(valueText)).toEqual(values.map(valueText));
      },
    ),
  );
});

test('what is no component is damage, with its place', () => {
  const bad = ['', '11', '20', '2000', '30', '3061', '306100', '30610002', '40', 'ff', '28ffffffffffffffff'];
  for (const hex of bad) {
    const bytes = fromHex(hex);
    const error = (() => {
      try {
        return decodeTuple(bytes.length === 0 ? Uint8Array.of(0x30, 0) : bytes, place);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(isVarveError(error, 'VARVE_CORRUPT'), hex).toBe(true);
  }
  expect(componentEnd(fromHex('306100ff0001'), 0, 6, place)).toBe(6);
});
