import { expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { FlushPace } from '../../src/engine/background/flush-pace.ts';
import { TestClock } from './engine-kit.ts';

test('a slow flush is noticed while it runs', async () => {
  const clock = new TestClock();
  const pace = new FlushPace(clock);
  pace.begin(10 * MiB);
  expect(pace.msPerMiB).toBe(0);
  await clock.advance(100);
  expect(pace.msPerMiB).toBe(10);
  pace.end();
  pace.begin(10 * MiB);
  expect(pace.msPerMiB).toBe(5);
  await clock.advance(400);
  expect(pace.msPerMiB).toBe(40);
});

test('flushes before count half as much as the one behind them, and small ones little', async () => {
  const clock = new TestClock();
  const pace = new FlushPace(clock);
  for (const ms of [160, 160, 160]) {
    pace.begin(16 * MiB);
    await clock.advance(ms);
    pace.end();
  }
  pace.begin(1000);
  expect(pace.msPerMiB).toBe(8.75);
  await clock.advance(5);
  pace.end();
  pace.begin(16 * MiB);
  expect(pace.msPerMiB).toBe(6.875);
});
