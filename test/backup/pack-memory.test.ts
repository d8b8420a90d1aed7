import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PackMemoryKind } from '../../src/backup/pack-builder.ts';
import { givePackMemory, takePackMemory } from '../../src/backup/pack-memory.ts';
import { deferred } from '../../src/base/sync.ts';
import { TestClock, turn } from '../engine/engine-kit.ts';

test('memory is given out once, to whoever it fits', () => {
  const step = fc.oneof(
    fc.record({ give: fc.integer({ min: 1, max: 9 }), shared: fc.boolean() }),
    fc.record({ take: fc.integer({ min: 1, max: 9 }), kind: fc.constantFrom('shared', 'any', 'own') }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      while (takePackMemory(0, 'any') !== undefined);
      const clock = new TestClock();
      // In the order given.
      const model: Uint8Array[] = [];
      for (const one of steps) {
        if ('give' in one) {
          const buffer = one.shared ? new SharedArrayBuffer(one.give) : new ArrayBuffer(one.give);
          model.push(new Uint8Array(buffer));
          givePackMemory(model.at(-1)!.subarray(0, 1), clock);
          if (model.length > 4) model.shift();
          continue;
        }
        const { take, kind } = one;
        const fits = ({ buffer }: Uint8Array): boolean =>
          kind === 'any' || buffer instanceof SharedArrayBuffer === (kind === 'shared');
        const at = model.findLastIndex((memory) => memory.length >= take && fits(memory));
        const taken = takePackMemory(take, kind as PackMemoryKind);
        expect(taken?.buffer).toBe(at < 0 ? undefined : model[at]!.buffer);
        if (at >= 0) model.splice(at, 1);
      }
    }),
  );
});

test('memory that nobody takes is let go', async () => {
  const clock = new TestClock();
  const { promise, resolve } = deferred<void>();
  const sleeps: number[] = [];
  clock.sleep = async (ms) => {
    sleeps.push(ms);
    await promise;
  };
  givePackMemory(new Uint8Array(1 << 20), clock);
  givePackMemory(new Uint8Array(1 << 20), clock);
  expect(takePackMemory(1 << 20, 'own')).toBeDefined();
  resolve();
  await turn();
  expect(takePackMemory(1 << 20, 'own')).toBeUndefined();
  expect(sleeps).toEqual([10_000, 10_000]);
});
