import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { filterPartitionBytes } from '../../src/format/table.ts';
import { Part, type PartOwner, PartRoom } from '../../src/tree/part-room.ts';

/** Holds parts by their numbers, as a table does. */
class Owner implements PartOwner {
  readonly no = 1;
  readonly parts = new Map<number, Part>();
  dropped(number: number): void {
    this.parts.delete(number);
  }
}

describe('room of parts', () => {
  test('used never exceeds the budget, and is the sum of what is held', () => {
    const op = fc.record({
      what: fc.constantFrom('offer', 'demand', 'use', 'give', 'clear'),
      number: fc.nat(15),
      bytes: fc.integer({ min: 0, max: 60 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), fc.array(op, { maxLength: 200 }), (budget, ops) => {
        const room = new PartRoom(budget);
        const owner = new Owner();
        for (const { what, number, bytes } of ops) {
          const part = owner.parts.get(number);
          if (what === 'clear') room.clear();
          else if (part !== undefined && what === 'use') part.isUsed = true;
          else if (part !== undefined && what === 'give') {
            room.give(part);
            owner.parts.delete(number);
          } else if (part === undefined && (what === 'offer' || what === 'demand')) {
            const made = what === 'offer' ? room.offer(bytes) : room.demand(bytes);
            expect(what === 'demand' && bytes <= budget).toBe(what === 'demand' && made);
            const one = new Part(owner, number, bytes);
            expect(room.hold(one)).toBe(made);
            if (made) owner.parts.set(number, one);
          }
          const held = [...owner.parts.values()].reduce((sum, one) => sum + one.bytes, 0);
          expect(room.used).toBe(held);
          expect(room.used).toBeLessThanOrEqual(budget);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('what slots keep for the next piece is not free', () => {
    const room = new PartRoom(8 * filterPartitionBytes);
    const slots = [1, 2, 3].map(() => room.slots!.take());
    for (const slot of slots) room.slots!.give(slot);
    expect([room.used, room.free]).toEqual([0, 5 * filterPartitionBytes]);
    room.slots!.take();
    expect(room.hold(new Part(new Owner(), 0, filterPartitionBytes))).toBe(true);
    expect(room.free).toBe(5 * filterPartitionBytes);
  });

  test('a piece in use outlives those used once, and a cold one gives way in the end', () => {
    for (const how of ['offer', 'demand'] as const) {
      const room = new PartRoom(100);
      const owner = new Owner();
      let loads = 0;
      for (let i = 0; i < 4000; i++) {
        for (const number of [0, 1, 10 + i]) {
          const part = owner.parts.get(number);
          if (part !== undefined) part.isUsed = true;
          else if (room[how](10)) {
            const one = new Part(owner, number, 10);
            owner.parts.set(number, one);
            room.hold(one);
            loads++;
          }
        }
        // The first look finds all of them in use.
        if (i > 20) expect(owner.parts.has(0) && owner.parts.has(1)).toBe(true);
      }
      expect(Math.max(...owner.parts.keys())).toBeGreaterThan(3900);
      // A room that is full of what is used is no reason to read a piece for each lookup.
      if (how === 'offer') expect(loads).toBeLessThan(4000 / 8);
    }
  });
});
