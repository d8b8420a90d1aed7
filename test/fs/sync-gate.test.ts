import { expect, test } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import { SyncGate } from '../../src/fs/sync-gate.ts';

test('syncs of a file run one after another', async () => {
  const gate = new SyncGate();
  const ends = [deferred<void>(), deferred<void>(), deferred<void>()];
  const order: string[] = [];
  const syncs = ends.map((end, n) =>
    gate.run(async () => {
      order.push(`begin ${n}`);
      await end.promise;
      order.push(`end ${n}`);
    }),
  );
  for (const end of ends.slice().reverse()) end.resolve();
  await Promise.all(syncs);
  expect(order).toEqual(['begin 0', 'end 0', 'begin 1', 'end 1', 'begin 2', 'end 2']);
});

test('after a failed sync no other one is run', async () => {
  const gate = new SyncGate();
  const told = deferred<void>();
  let later = 0;
  const first = gate.run(() => told.promise);
  // As the kernel does: the error went to the first, this one would succeed.
  const beside = gate.run(async () => {
    later++;
  });
  const lost = new Error('EIO');
  told.reject(lost);
  await expect(first).rejects.toBe(lost);
  await expect(beside).rejects.toBe(lost);
  await expect(
    gate.run(async () => {
      later++;
    }),
  ).rejects.toBe(lost);
  expect(later).toBe(0);
});
