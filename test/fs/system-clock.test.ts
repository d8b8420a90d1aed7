import { expect, test } from 'vitest';
import { awaited, type Clock } from '../../src/base/clock.ts';
import { deferred } from '../../src/base/sync.ts';
import { systemClock } from '../../src/fs/system-clock.ts';

const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

test('a sleep that a caller waits for keeps the process alive, others do not', async () => {
  const before = timers();
  const over = new AbortController();
  const sleeps = [systemClock.sleep(60_000, over.signal), systemClock.sleep(60_000, over.signal, false)];
  expect(timers()).toBe(before);
  sleeps.push(systemClock.sleep(60_000, over.signal, true));
  expect(timers()).toBe(before + 1);
  over.abort();
  for (const { status } of await Promise.allSettled(sleeps)) expect(status).toBe('rejected');
  expect(timers()).toBe(before);
});

test('the process is kept alive from a call to its release', () => {
  // Nothing comes in between: timers of whoever runs the tests neither begin nor end here.
  const before = timers();
  const release = systemClock.keepAlive();
  const held = timers();
  release();
  expect([held, timers()]).toEqual([before + 1, before]);
});

test('a call keeps the process alive until it has settled, whether it fails or not', async () => {
  let held = 0;
  const clock: Pick<Clock, 'keepAlive'> = {
    keepAlive() {
      held++;
      return () => held--;
    },
  };
  const [one, other] = [deferred<void>(), deferred<void>()];
  const calls = [awaited(clock, () => one.promise), awaited(clock, () => other.promise)];
  expect(held).toBe(2);
  one.resolve();
  await calls[0];
  expect(held).toBe(1);
  other.reject(new Error('failed'));
  await expect(calls[1]).rejects.toThrow('failed');
  expect(held).toBe(0);
});
