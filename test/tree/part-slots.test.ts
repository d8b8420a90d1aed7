import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ownPagesBytes } from '../../src/base/own-pages.ts';
import { type PartSlot, PartSlots } from '../../src/tree/part-slots.ts';

describe('slots of pieces', () => {
  test('slots never overlap, and one given back is taken again before any new one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.nat(99), { maxLength: 120 }), (most, ops) => {
        const slots = new PartSlots(64, most);
        const owners: { slot: PartSlot; mark: number }[] = [];
        let peak = 0;
        for (const [i, op] of ops.entries()) {
          if (op % 5 < 3 || owners.length === 0) {
            const owner = { slot: slots.take(), mark: i + 1 };
            owner.slot.words.fill(owner.mark);
            owners.push(owner);
            peak = Math.max(peak, owners.length);
          } else slots.give(owners.splice(op % owners.length, 1)[0]!.slot);
          expect(slots.idleBytes).toBe((peak - owners.length) * 64);
          for (const { slot, mark } of owners) {
            expect(slot.words.length).toBe(16);
            expect(slot.words.every((word) => word === mark)).toBe(true);
          }
        }
        expect(slots.bytes).toBe(Math.ceil(peak / most) * most * 64);
      }),
      { numRuns: 100 },
    );
  });

  test('arrays of a large budget have pages of their own, and none are made before they are needed', () => {
    const slots = new PartSlots(64 * 1024, 2048);
    expect(slots.bytes).toBe(0);
    const words = Array.from({ length: 600 }, () => slots.take().words);
    expect(slots.bytes).toBe(2 * words[0]!.buffer.byteLength);
    expect(words[0]!.buffer.byteLength).toBe(ownPagesBytes);
    expect(new Set(words.map(({ buffer }) => buffer)).size).toBe(2);
  });
});
