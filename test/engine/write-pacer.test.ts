import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  MiB,
  paceBytesHard,
  paceBytesSoft,
  paceFillSoft,
  paceLevel0Hard,
  paceLevel0Soft,
  paceMsPerMiB,
  paceWaitMsMax,
} from '../../src/base/limits.ts';
import { flushCost, pressureOf, WritePacer } from '../../src/engine/writing/write-pacer.ts';
import { TestClock } from './engine-kit.ts';

/** Counts the sleeps for which the process is to stay alive: without one it would end in a put that waits. */
class AwaitedSleeps extends TestClock {
  awaited = 0;

  override sleep(ms: number, _signal?: AbortSignal, isAwaited?: boolean): Promise<void> {
    if (isAwaited === true) this.awaited++;
    return super.sleep(ms);
  }
}

describe('write pacer', () => {
  test('the cost of a byte grows with the debt, from nothing, without a jump', () => {
    expect(pressureOf({ level0Tables: paceLevel0Soft, bytes: paceBytesSoft })).toBe(0);
    expect(pressureOf({ level0Tables: paceLevel0Hard, bytes: 0 })).toBe(1);
    expect(pressureOf({ level0Tables: 0, bytes: paceBytesHard })).toBe(1);
    expect(pressureOf({ level0Tables: 1e9, bytes: 1e15 })).toBe(2);
    const debts = fc.record({ level0Tables: fc.nat(100), bytes: fc.nat(2 ** 31 - 1).map((n) => n * 8) });
    fc.assert(
      fc.property(debts, (debt) => {
        const more = pressureOf({ level0Tables: debt.level0Tables + 1, bytes: debt.bytes + MiB });
        const less = pressureOf(debt);
        expect(more).toBeGreaterThanOrEqual(less);
        expect(more - less).toBeLessThan(0.05);
      }),
    );
  });

  test('while a flush runs the cost grows with the memory used', () => {
    expect([flushCost(0, 2), flushCost(30, 0), flushCost(30, paceFillSoft)]).toEqual([0, 0, 0]);
    fc.assert(
      fc.property(fc.double({ min: 0, max: 2, noNaN: true }), (fill) => {
        const more = flushCost(30, fill + 0.001);
        const less = flushCost(30, fill);
        expect(more).toBeGreaterThanOrEqual(less);
        expect(more - less).toBeLessThan(1);
      }),
    );
  });

  test('writers that take what they may fill memory when the flush is over, not before', async () => {
    const clock = new TestClock();
    const budget = 32 * MiB;
    const msPerMiB = 30;
    let filled = 0;
    const pacer = new WritePacer(clock, () => flushCost(msPerMiB, filled / budget));
    const began = clock.ms;
    for (let waited = 0; filled < budget; ) {
      for (let i = 0; i < 1000 && filled < budget; i++) {
        filled += 150;
        pacer.charge(150);
      }
      const { waitMs } = pacer;
      waited += waitMs;
      clock.ms += Math.max(waitMs, 1);
      expect(waited).toBeLessThan(10_000);
    }
    const took = clock.ms - began;
    expect(took).toBeGreaterThan(0.9 * msPerMiB * 32);
    expect(took).toBeLessThan(1.5 * msPerMiB * 32);
  });

  test('nobody waits below the soft bounds', async () => {
    const clock = new TestClock();
    const pacer = new WritePacer(clock);
    pacer.charge(1e9);
    expect(pacer.waitMs).toBe(0);
    await pacer.wait();
    expect(pacer.waitedMs).toBe(0);
    expect(clock.sleeping).toBe(0);
  });

  test('nobody waits longer than the bound', async () => {
    const clock = new AwaitedSleeps();
    const pacer = new WritePacer(clock);
    pacer.setDebt({ level0Tables: paceLevel0Hard, bytes: 0 });
    pacer.charge(MiB / 10);
    expect(pacer.waitMs).toBeCloseTo(paceMsPerMiB / 10, 5);
    pacer.charge(100 * MiB);
    expect(pacer.waitMs).toBe(paceWaitMsMax);
    const waiting = pacer.wait();
    expect(clock.sleeping).toBe(1);
    await clock.advance(paceWaitMsMax);
    await waiting;
    expect(pacer.waitedMs).toBe(paceWaitMsMax);
    expect(pacer.waitMs).toBe(0);
    expect(clock.awaited).toBe(1);
  });

  test('small writes wait once they add up', () => {
    const pacer = new WritePacer(new TestClock());
    pacer.setDebt({ level0Tables: paceLevel0Hard, bytes: 0 });
    pacer.charge(100);
    expect(pacer.waitMs).toBe(0);
    for (let i = 0; i < 20; i++) pacer.charge(100);
    expect(pacer.waitMs).toBeGreaterThan(0);
  });

  test('a debt that is paid lets everybody go on', () => {
    const pacer = new WritePacer(new TestClock());
    pacer.setDebt({ level0Tables: paceLevel0Hard, bytes: 0 });
    pacer.charge(MiB);
    pacer.setDebt({ level0Tables: 0, bytes: 0 });
    expect(pacer.waitMs).toBe(0);
  });
});
