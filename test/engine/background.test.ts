import { describe, expect, test } from 'vitest';
import { corrupt, VarveError } from '../../src/base/errors.ts';
import { Background, type BackgroundOptions } from '../../src/engine/background/background.ts';
import { HealthBook } from '../../src/engine/health/health-book.ts';
import { fsError } from '../../src/fs/fs-errors.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { TestClock } from './engine-kit.ts';

function kit(step: (n: number) => void, due: () => boolean) {
  const clock = new TestClock();
  const fs = new MemoryFileSystem();
  const env = { fs, lock: memoryLock(fs, clock), clock, random: (n: number) => new Uint8Array(n) };
  const health = new HealthBook();
  const log = { failure: undefined as VarveError | undefined };
  const options = { env, health, logger: {}, log } as unknown as BackgroundOptions;
  let steps = 0;
  let under = 0;
  const work = new Background(options, {
    what: 'the work of a test',
    isDue: due,
    step: async () => {
      expect(++under).toBe(1);
      try {
        step(++steps);
        await clock.turn();
      } finally {
        under--;
      }
    },
  });
  return { clock, health, log, work, steps: () => steps };
}

describe('work in the background', () => {
  test('steps follow each other until nothing is due', async () => {
    let left = 3;
    const { work, steps, log } = kit(
      () => left--,
      () => left > 0,
    );
    work.startIfDue();
    work.startIfDue();
    expect(work.isRunning).toBe(true);
    await work.idle();
    expect(steps()).toBe(3);
    left = 5;
    work.startIfDue();
    await work.stop();
    work.startIfDue();
    await work.idle();
    expect(steps()).toBe(4);
    expect(work.isOver).toBe(true);
    const other = kit(
      () => undefined,
      () => true,
    );
    other.log.failure = new VarveError('VARVE_IO', 'failed');
    other.work.startIfDue();
    await other.work.idle();
    expect(other.steps()).toBe(0);
    expect(log.failure).toBeUndefined();
  });

  test('a step that fails is tried again later, damage is not', async () => {
    // A file that cannot be written is not one that is damaged.
    let error: Error | undefined = fsError('EIO', 'write failed', 'cat/000000000000000a.cat');
    let left = 1;
    const { work, steps, clock, health } = kit(
      () => {
        if (error !== undefined) throw error;
        left--;
      },
      () => left > 0,
    );
    work.startIfDue();
    await work.idle();
    expect([steps(), work.failures, work.stuck]).toEqual([1, 1, undefined]);
    expect(health.report(false).damage).toEqual([]);
    work.startIfDue();
    await work.idle();
    expect(steps()).toBe(1);
    await clock.advance(1000);
    work.startIfDue();
    await work.idle();
    expect(steps()).toBe(2);
    await clock.advance(1999);
    work.startIfDue();
    expect(work.isRunning).toBe(false);
    await clock.advance(1);
    error = undefined;
    work.startIfDue();
    await work.idle();
    expect([steps(), left]).toEqual([3, 0]);
    left = 1;
    error = corrupt('damaged', { file: 'tab/x' });
    work.startIfDue();
    await work.idle();
    expect(work.stuck).toBe(error);
    expect(health.report(false).damage).toHaveLength(1);
    await clock.advance(100_000);
    work.startIfDue();
    await work.idle();
    expect(steps()).toBe(4);
  });

  test('stop ends the waits that are under way, whatever becomes of what they wait for', async () => {
    const { work, clock } = kit(
      () => undefined,
      () => false,
    );
    const failed = Promise.reject(new Error('of the wait'));
    await expect(work.orStopped(failed)).rejects.toThrow('of the wait');
    await work.orStopped(clock.turn());
    const never = new Promise<void>(() => undefined);
    const wait = work.orStopped(never);
    expect(work.signal.aborted).toBe(false);
    await work.stop();
    await wait;
    await work.orStopped(never);
    await work.orStopped(Promise.reject(new Error('nobody hears of it')));
    expect(work.signal.aborted).toBe(true);
  });
});
