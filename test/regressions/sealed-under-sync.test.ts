import { expect, test } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { WriteBehind } from '../../src/segment/write-behind.ts';

// A sync that began before the last append could end after the sync that sealed the file, and then lowered
// what is known to be durable. The next commit that named the segment found a closed writer, and writing
// stopped.
test('a sync that ends after the seal does not take back what the seal made durable', async () => {
  const fs = new MemoryFileSystem();
  const file = await fs.open('f', 'create');
  const out = new WriteBehind(file, 0, 128);
  const append = (n: number): void => {
    const room = out.room(n);
    out.added(room, n);
  };
  const slow = deferred<void>();
  fs.schedule = ({ kind }) => (kind === 'dataSync' ? slow.promise : undefined);
  append(40);
  const first = out.sync();
  while (out.writtenEnd < 40) await Promise.resolve();
  append(40);
  await out.finish(new Uint8Array(8));
  slow.resolve();
  await first;
  await out.settle();
  expect(out.syncedEnd).toBe(80);
  expect(await out.sync()).toBe(80);
});
