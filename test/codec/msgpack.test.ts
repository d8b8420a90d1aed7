import fc from 'fast-check';
import { Unpackr } from 'msgpackr/unpack';
import { describe, expect, test } from 'vitest';
import { equalBytes, fromHex, isWellFormed, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { compareText, decodeMsgpack, encodeMsgpack } from '../../src/codec/msgpack.ts';

const place = { file: 'test' };
const decode = (bytes: Uint8Array): unknown => decodeMsgpack(bytes, place);

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isVarveError(error)) return error.code;
    throw error;
  }
  return 'accepted';
};

const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((s) => isWellFormed(s) && s !== '__proto__');
const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  text,
  fc.uint8Array({ maxLength: 300 }),
  fc.date({ noInvalidDate: true }),
);
const value = fc.letrec((tie) => ({
  any: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('any'), { maxLength: 20 }), tie('map')),
  map: fc.dictionary(text, tie('any'), { maxKeys: 20, noNullPrototype: true }),
})).any;

/** What a value looks like after one trip: -0 becomes 0, key order is not part of a value. */
const normal = (v: unknown): unknown =>
  typeof v === 'number'
    ? v + 0
    : Array.isArray(v)
      ? v.map(normal)
      : v !== null && typeof v === 'object' && !(v instanceof Date) && !(v instanceof Uint8Array)
        ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, normal(x)]))
        : v;

describe('canonical MessagePack', () => {
  test('golden bytes of one value of every type', () => {
    const bytes = encodeMsgpack({
      b: [null, true, false, 0, 127, 128, 65536, -1, -32, -33, 1.5, 2 ** 40],
      a: 'grün',
      '': Uint8Array.of(1, 2),
      c: [new Date(0), new Date(1500), new Date(-1)],
    });
    expect(toHex(bytes)).toBe(
      '84a0c4020102a161a56772c3bc6ea1629cc0c3c2007fcc80ce00010000ffe0d0dfcb3ff8000000000000cb' +
        '4270000000000000a16393d6ff00000000d7ff7735940000000001c70cff3b8b87c0ffffffffffffffff',
    );
  });

  test('every value comes back, and msgpackr reads the same', () => {
    const reference = new Unpackr({ useRecords: false, mapsAsObjects: true });
    fc.assert(
      fc.property(value, (v) => {
        const bytes = encodeMsgpack(v, 'value', { bytesMax: 1 << 20 });
        const back = decodeMsgpack(bytes, place, 0, bytes.length, { bytesMax: 1 << 20 });
        expect(back).toEqual(normal(v));
        const marked = toHex(bytes).includes('efbbbf');
        if (!marked) expect(normal(reference.unpack(bytes.slice()))).toEqual(back);
        expect(equalBytes(encodeMsgpack(back, 'value', { bytesMax: 1 << 20 }), bytes)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('accepted bytes are exactly those that encode again', () => {
    const check = (bytes: Uint8Array): void => {
      const code = codeOf(() => {
        const again = encodeMsgpack(decode(bytes));
        expect(toHex(again)).toBe(toHex(bytes));
      });
      expect(['accepted', 'VARVE_CORRUPT']).toContain(code);
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 24 }), check), { numRuns: 2000 });
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (v, at, change) => {
        const bytes = encodeMsgpack(v, 'value', { bytesMax: 1 << 20 }).slice(0, 65536);
        if (bytes.length > 2000) return;
        bytes[at % bytes.length]! ^= change;
        check(bytes);
      }),
      { numRuns: 800 },
    );
  });

  test('equal maps give equal bytes whatever the order of their keys', () => {
    const a = encodeMsgpack({ '\u{1f600}': 1, '\uffee': 2, a: 3, aa: 4, '': 5, 10: 6, 9: 7 });
    const b = encodeMsgpack({ 9: 7, 10: 6, '': 5, aa: 4, a: 3, '\uffee': 2, '\u{1f600}': 1 });
    expect(toHex(a)).toBe(toHex(b));
    expect(Object.keys(decode(a) as object).at(-1)).toBe('\u{1f600}');
  });

  test('text compares as its UTF-8 bytes do', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b));
        expect(Math.sign(compareText(a, b))).toBe(bytes);
      }),
    );
  });

  test('a byte order mark at the start of a string stays', () => {
    for (const n of [0, 1, 20, 80, 300]) {
      const v = { [`\ufeff${'k'.repeat(n)}`]: `\ufeff${'x'.repeat(n)}` };
      expect(decode(encodeMsgpack(v))).toEqual(v);
    }
  });

  test.each([
    ['undefined', undefined],
    ['a bigint', 1n],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['an invalid Date', new Date(Number.NaN)],
    ['a class instance', new (class A {})()],
    ['a Map', new Map()],
    ['another typed array', new Uint16Array(1)],
    ['a lone surrogate', '\ud800'],
    ['a key with a lone surrogate', { '\udc00': 1 }],
    ['a symbol key', { [Symbol('s')]: 1 }],
    ['a hole', new Array(1)],
    ['__proto__', JSON.parse('{"__proto__":{"polluted":true}}') as unknown],
  ])('%s is refused with its path', (_name, bad) => {
    expect(codeOf(() => encodeMsgpack(bad))).toBe('VARVE_INVALID_ARGUMENT');
    expect(() => encodeMsgpack({ a: [1, { b: bad }] }, 'metadata')).toThrow(/^metadata\.a\[1\]\.b/);
  });

  test('a cycle is refused, a value used twice is not', () => {
    const loop: Record<string, unknown> = {};
    loop.self = { loop };
    expect(() => encodeMsgpack(loop, 'm')).toThrow(/^m\.self\.loop contains itself/);
    const shared = { a: 1 };
    expect(decode(encodeMsgpack([shared, shared]))).toEqual([shared, shared]);
  });

  test('objects without prototype and with misleading keys are ordinary maps', () => {
    const bare = Object.assign(Object.create(null) as object, { a: 1 });
    expect(decode(encodeMsgpack(bare))).toEqual({ a: 1 });
    const odd = { constructor: 'c', toJSON: 'j', hasOwnProperty: 1, length: 2, toString: 'x' };
    expect(decode(encodeMsgpack(odd))).toEqual(odd);
    expect(codeOf(() => decode(fromHex('81a95f5f70726f746f5f5f80')))).toBe('VARVE_CORRUPT');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test('depth is bounded both ways, at the bound and one past it', () => {
    const nested = (n: number): unknown => (n === 0 ? 1 : [nested(n - 1)]);
    expect(decode(encodeMsgpack(nested(16)))).toEqual(nested(16));
    expect(codeOf(() => encodeMsgpack(nested(17)))).toBe('VARVE_INVALID_ARGUMENT');
    const deep = new Uint8Array(18).fill(0x91);
    deep[17] = 1;
    expect(codeOf(() => decode(deep))).toBe('VARVE_CORRUPT');
    expect(codeOf(() => decode(new Uint8Array(60000).fill(0x91)))).toBe('VARVE_CORRUPT');
  });

  test('length is bounded both ways, at the bound and one past it', () => {
    const at = encodeMsgpack(new Uint8Array(65536 - 3));
    expect(at.length).toBe(65536);
    expect(decode(at)).toHaveLength(65533);
    expect(codeOf(() => encodeMsgpack(new Uint8Array(65534)))).toBe('VARVE_INVALID_ARGUMENT');
    expect(codeOf(() => decode(new Uint8Array(65537)))).toBe('VARVE_CORRUPT');
    const bomb = Array.from({ length: 100 }, () => 'x'.repeat(60000));
    expect(codeOf(() => encodeMsgpack(bomb))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('declared lengths beyond the bytes left are refused before anything is allocated', () => {
    for (const hex of [
      'ddffffffff',
      'dfffffffff',
      'c6ffffffff',
      'dbffffffff',
      'dcffff00',
      'deffff00',
      '9f00',
      'bf',
    ])
      expect(codeOf(() => decode(fromHex(hex)))).toBe('VARVE_CORRUPT');
  });

  test.each([
    ['an integer longer than needed', 'cc7f'],
    ['a float that is an integer', 'cb3ff0000000000000'],
    ['another NaN', 'cb7ff8000000000001'],
    ['minus zero', 'cb8000000000000000'],
    ['a float 32', 'ca3fc00000'],
    ['a 64-bit integer', 'cf0000000000000001'],
    ['a string longer than needed', 'd90161'],
    ['bytes longer than needed', 'c5000101'],
    ['an array longer than needed', 'dc000101'],
    ['keys out of order', '82a16201a16101'],
    ['a key twice', '82a16101a16102'],
    ['a key that is a number', '810101'],
    ['a string that is not UTF-8', 'a1ff'],
    ['an extension', 'd40100'],
    ['a record definition', 'd47200'],
    ['a timestamp longer than needed', 'd7ff0000000000000001'],
    ['a timestamp between milliseconds', 'd7ff0000000400000001'],
    ['bytes after the value', '0101'],
    ['nothing', ''],
    ['the unused type', 'c1'],
  ])('%s is damage', (_name, hex) => {
    expect(codeOf(() => decode(fromHex(hex)))).toBe('VARVE_CORRUPT');
  });

  test('decoded bytes are copies and the input gains no property', () => {
    const bytes = encodeMsgpack(Uint8Array.of(1, 2, 3));
    const back = decode(bytes) as Uint8Array;
    bytes.fill(0);
    expect([...back]).toEqual([1, 2, 3]);
    expect(Object.keys(bytes).filter((k) => Number.isNaN(Number(k)))).toEqual([]);
  });
});
