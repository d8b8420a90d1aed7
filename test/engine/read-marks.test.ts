import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ReadEra, ReadMarks } from '../../src/engine/reading/read-marks.ts';

describe('read marks', () => {
  test('the horizon stays at or below every read under way', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('read', 'end', 'commit', 'look'), fc.nat(20)), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (plan) => {
        let visible = 5;
        let last = 0;
        const marks = new ReadMarks(visible);
        const reads: { at: number; era: ReadEra }[] = [];
        for (const [kind, n] of plan) {
          if (kind === 'read') reads.push({ at: visible, era: marks.enter() });
          else if (kind === 'commit') visible += n;
          else if (kind === 'end' && reads.length > 0) {
            for (const { era } of reads.splice(n % reads.length, 1)) marks.leave(era);
          }
          const horizon = marks.horizon(visible);
          for (const { at } of reads) expect(horizon).toBeLessThanOrEqual(at);
          expect(horizon).toBeGreaterThanOrEqual(last);
          last = horizon;
          if (reads.length === 0) expect(horizon).toBe(visible);
        }
      }),
    );
  });

  test('a pin may be ended more than once', () => {
    const marks = new ReadMarks(1);
    const first = marks.pin(1);
    const second = marks.pin(1);
    first.end();
    first.end();
    expect([[...marks.pinned], first.isOver(), second.isOver()]).toEqual([[1], true, false]);
    second.end();
    expect([...marks.pinned]).toEqual([]);
  });

  test('a number is pinned until its last pin ends', () => {
    const marks = new ReadMarks(1);
    const [a, b, c] = [marks.pin(5), marks.pin(5), marks.pin(3)];
    a.end();
    a.end();
    expect([...marks.pinned].sort()).toEqual([3, 5]);
    b.end();
    c.end();
    expect([...marks.pinned]).toEqual([]);
  });
});
