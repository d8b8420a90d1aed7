import { expect, test } from 'vitest';
import { awaited } from '../../src/base/clock.ts';
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

test('a call keeps the process alive until it has settled, whether it fails or not', async () => {
  const before = timers();
  const calls = [
    awaited(systemClock, () => systemClock.sleep(5)),
    awaited(systemClock, async () => {
      await systemClock.sleep(5);
      throw new Error('failed');
    }),
  ];
  expect(timers()).toBe(before + 2);
  expect((await Promise.allSettled(calls)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  expect(timers()).toBe(before);
});
