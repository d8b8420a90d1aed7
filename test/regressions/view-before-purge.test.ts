import { expect, test } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, openOn, turn } from '../engine/engine-kit.ts';

/**
 * Found by a simulation (seed 411972). A view that began while a commit waited for the disk saw the version
 * that the commit purged. `compact` found the root of its list without a reference and had it dropped at
 * once, though it waited for that view; where cleaning had moved the root, the view could not find it.
 */
test('a view that began before a purge was published reads what it purged', async () => {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, { changesRetention: { bytes: 0 } });
  const value = bytesOf(1, 120_000);
  for (let i = 0; i < 6; i++)
    await engine.put(i === 3 ? 'k' : `garbage ${i}`, i === 3 ? value : bytesOf(10 + i, 120_000));
  for (let i = 0; i < 6; i++) await engine.delete(`garbage ${i}`);
  // Its root is moved: what the row says of its place is out of date.
  await engine.compact();
  const gate = deferred<void>();
  disk.schedule = ({ kind, path }) =>
    kind === 'dataSync' && path.startsWith('wal/') ? gate.promise : undefined;
  const superseded = engine.put('k', 'small');
  for (let i = 0; i < 20; i++) await turn();
  const view = await engine.view();
  disk.schedule = undefined;
  gate.resolve();
  await superseded;
  await engine.compact();
  await engine.compact();
  expect(await view.get('k')).toEqual(value);
  view.close();
  expect(engine.health().ok).toBe(true);
  await engine.close();
});
