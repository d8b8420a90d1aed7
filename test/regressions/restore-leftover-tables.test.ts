/**
 * A restore that went on with so many sealed segments that it made a table of their chunks at once took that
 * table for something the run before had left, and removed it, or met a table of that name: the store was
 * reported whole, and what lay in those segments was missing.
 */
import { expect, test } from 'vitest';
import { runRestore } from '../../src/backup/restore-run.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { everything, vaultOn } from '../backup/backup-kit.ts';
import { bytesOf, newStore, openOn } from '../engine/engine-kit.ts';

test('tables that a restore makes of the segments it goes on with are not removed', async () => {
  const { engine } = await newStore();
  for (let i = 0; i < 40; i++) await engine.put(`k${i}`, bytesOf(i, 12_000));
  const vault = await vaultOn();
  await engine.backup(vault);
  const bounds = { segmentBytes: 32 * 1024, memtableBytes: 16 * 1024 };
  const dry = new MemoryFileSystem();
  await runRestore(vault.env, dry, {}, bounds);
  const disk = new MemoryFileSystem();
  disk.failAt(dry.opCount - 8, 'crash');
  await expect(runRestore(vault.env, disk, {}, bounds)).rejects.toBeInstanceOf(CrashNow);
  const after = disk.crash('all');
  expect(await after.stat('SUPER')).toBeNull();
  expect(await runRestore(vault.env, after, {}, bounds)).toMatchObject({ ok: true, proved: true });
  const copy = await openOn(after);
  expect(await everything(copy)).toEqual(await everything(engine));
  await copy.close();
});
