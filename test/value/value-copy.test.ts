import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { copyOut } from '../../src/value/value-copy.ts';

describe('copyOut', () => {
  test('copies are independent of each other and of their source', () => {
    const lengths = fc.array(fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 9000 })), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(lengths, fc.nat({ max: 50 }), (sizes, from) => {
        const source = new Uint8Array(10_000).map((_, i) => (i * 7 + 1) & 255);
        const before = source.slice();
        const copies = sizes.map((size) => copyOut(source, from, from + size));
        for (const [i, copy] of copies.entries()) {
          expect(Buffer.compare(copy, before.subarray(from, from + copy.length))).toBe(0);
          expect(copy.length).toBe(sizes[i]);
          copy.fill(i & 255);
        }
        for (const [i, copy] of copies.entries()) expect(copy.every((byte) => byte === (i & 255))).toBe(true);
        expect(Buffer.compare(source, before)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('no other thread can take the memory that small copies share', () => {
    const copy = copyOut(new Uint8Array(100).fill(1), 0, 100);
    const other = copyOut(new Uint8Array(1000).fill(2), 0, 1000);
    for (const { buffer } of [copy, other]) {
      // Node 20 copies what may not be taken, newer ones throw.
      try {
        structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
      } catch (error) {
        expect((error as Error).name).toBe('DataCloneError');
      }
    }
    expect([copy.length, other.length]).toEqual([100, 1000]);
    expect(copy.every((byte) => byte === 1)).toBe(true);
  });

  test('the copy is a plain Uint8Array, whatever the source is', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(64)).fill(3);
    for (const source of [Buffer.alloc(64, 3), shared]) {
      const copy = copyOut(source, 8, 40);
      expect(Object.getPrototypeOf(copy)).toBe(Uint8Array.prototype);
      expect(copy.buffer).toBeInstanceOf(ArrayBuffer);
    }
  });
});
