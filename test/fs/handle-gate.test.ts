import { expect, test } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import { HandleGate } from '../../src/fs/handle-gate.ts';

test('close waits for every operation under way, also failing ones, and closes once', async () => {
  const gate = new HandleGate();
  const one = deferred<void>();
  const two = deferred<void>();
  const first = gate.run(() => one.promise);
  const second = gate.run(() => two.promise);
  let closes = 0;
  const close = async (): Promise<void> => {
    closes++;
  };
  const closed = gate.close(close);
  expect(gate.close(close)).toBe(closed);
  one.resolve();
  await first;
  expect(closes).toBe(0);
  two.reject(new Error('no'));
  await expect(second).rejects.toThrow('no');
  await closed;
  expect(closes).toBe(1);
});

test('an operation after close is refused before it starts', async () => {
  const gate = new HandleGate();
  await gate.close(async () => undefined);
  let started = false;
  const run = gate.run(async () => {
    started = true;
  });
  await expect(run).rejects.toThrow('file is open');
  expect(started).toBe(false);
  expect(() => gate.check()).toThrow('file is open');
});
