import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { chunkMaxCeiling, listNodeEntriesMax, listNodeEntriesMin } from '../../src/base/limits.ts';
import {
  encodeListNode,
  endsListNode,
  listLimits,
  listNodeBytesMax,
  listNodeCountOf,
  parseListNode,
} from '../../src/format/list-node.ts';

const place = { file: 'seg', offset: 64 };

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isVarveError(error)) return error.code;
    throw error;
  }
  return 'accepted';
};

function node(lengths: number[], level = 0, leaves = lengths.length): Uint8Array {
  const ids = new Uint8Array(lengths.length * 32);
  const ends = new Float64Array(lengths.length);
  let end = 0;
  lengths.forEach((length, i) => {
    ids.fill(i + 1, i * 32, (i + 1) * 32);
    end += length;
    ends[i] = end;
  });
  return encodeListNode(level, ids, ends, lengths.length, leaves);
}

describe('list nodes', () => {
  test('golden bytes', () => {
    expect(toHex(node([5, 300], 1, 9))).toBe(
      `4c4e01010200000031010000000000000900000000000000${'01'.repeat(32)}0500000000000000` +
        `${'02'.repeat(32)}3101000000000000`,
    );
  });

  test('a node parses to what it was made of, and every byte belongs to one child', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(lengths, fc.integer({ min: 0, max: 4 }), (parts, level) => {
        const leaves = level === 0 ? parts.length : parts.reduce((a, b) => a + b, 0);
        const parsed = parseListNode(node(parts, level, leaves), place);
        expect([parsed.level, parsed.count, parsed.totalLeaves]).toEqual([level, parts.length, leaves]);
        let at = 0;
        parts.forEach((length, i) => {
          expect(parsed.childStart(i)).toBe(at);
          expect(parsed.childAt(at)).toBe(i);
          expect(parsed.childAt(at + length - 1)).toBe(i);
          at += length;
          expect(parsed.childEnd(i)).toBe(at);
          expect(parsed.bytes[parsed.childIdAt(i)]).toBe(i + 1);
        });
        expect(parsed.totalBytes).toBe(at);
      }),
    );
  });

  test('damage in any field is found, or leaves a node that encodes to the same bytes', () => {
    const sample = node([5, 300, 7], 1, 9);
    const fields = [0, 1, 3, 4, 8, 11, 12, 24 + 33, 24 + 39, 24 + 40 + 32, 24 + 80 + 32];
    for (const at of fields) {
      const bytes = sample.slice();
      bytes[at]! ^= 0x80;
      expect([at, codeOf(() => parseListNode(bytes, place))]).toEqual([at, 'VARVE_CORRUPT']);
    }
    for (let bit = 0; bit < sample.length * 8; bit++) {
      const bytes = sample.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const code = codeOf(() => {
        const n = parseListNode(bytes, place);
        const ids = new Uint8Array(n.count * 32);
        const ends = new Float64Array(n.count);
        for (let i = 0; i < n.count; i++) {
          ids.set(bytes.subarray(n.childIdAt(i), n.childIdAt(i) + 32), i * 32);
          ends[i] = n.childEnd(i);
        }
        expect(toHex(encodeListNode(n.level, ids, ends, n.count, n.totalLeaves))).toBe(toHex(bytes));
      });
      expect(['accepted', 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION']).toContain(code);
    }
    for (let n = 0; n < sample.length; n++)
      expect(codeOf(() => parseListNode(sample.subarray(0, n), place))).toBe('VARVE_CORRUPT');
  });

  test('a newer version is refused as such', () => {
    const bytes = node([1]);
    bytes[2] = 2;
    expect(codeOf(() => parseListNode(bytes, place))).toBe('VARVE_FORMAT_VERSION');
  });

  test('leaf counts and chunk lengths are bounded', () => {
    expect(codeOf(() => parseListNode(node([1, 1], 0, 3), place))).toBe('VARVE_CORRUPT');
    expect(codeOf(() => parseListNode(node([5, 5], 1, 1), place))).toBe('VARVE_CORRUPT');
    expect(codeOf(() => parseListNode(node([5, 5], 1, 11), place))).toBe('VARVE_CORRUPT');
    expect(codeOf(() => parseListNode(node([chunkMaxCeiling]), place))).toBe('accepted');
    expect(codeOf(() => parseListNode(node([chunkMaxCeiling + 1]), place))).toBe('VARVE_CORRUPT');
  });

  test('a node is as long as its count says, at most 2,048 children', () => {
    expect(listNodeBytesMax).toBe(81_944);
    expect(listNodeCountOf(listNodeBytesMax)).toBe(listNodeEntriesMax);
    for (const bytes of [0, 24, 63, 65, listNodeBytesMax + 40]) expect(listNodeCountOf(bytes)).toBe(0);
    const largest = node(new Array<number>(listNodeEntriesMax).fill(1));
    expect(parseListNode(largest, place).count).toBe(listNodeEntriesMax);
  });

  test('a node ends at the fewest entries on a marked id, and at the most on any', () => {
    const marked = new Uint8Array(33);
    marked.fill(7, 0, 29);
    marked[29] = 0;
    marked[30] = 2;
    const plain = new Uint8Array(32).fill(1);
    expect(endsListNode(marked, 1, listNodeEntriesMin - 1, listLimits)).toBe(false);
    expect(endsListNode(marked, 1, listNodeEntriesMin, listLimits)).toBe(true);
    expect(endsListNode(plain, 0, listNodeEntriesMax - 1, listLimits)).toBe(false);
    expect(endsListNode(plain, 0, listNodeEntriesMax, listLimits)).toBe(true);
  });
});
