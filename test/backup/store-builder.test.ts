/** What `StoreBuilder` does behind its caller's back: segments are sealed while the next one fills. */
import { expect, test } from 'vitest';
import { runRestore } from '../../src/backup/restore-run.ts';
import { VarveError } from '../../src/base/errors.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, newStore, openOn } from '../engine/engine-kit.ts';
import { everything, vaultOn } from './backup-kit.ts';

test('a segment that cannot be sealed fails the restore with that error, and no store is there', async () => {
  const { engine } = await newStore();
  for (let i = 0; i < 12; i++) await engine.put(`k${i}`, bytesOf(i, 20_000));
  const vault = await vaultOn();
  await engine.backup(vault);
  const bounds = { segmentBytes: 32 * 1024 };
  let syncs = 0;
  const failing = (which: number) => async (disk: MemoryFileSystem) => {
    syncs = 0;
    const fs = alteredPort(disk, {
      open: async (path, mode) => {
        const file = await disk.open(path, mode);
        if (!path.startsWith('seg/') || mode !== 'create') return file;
        const sync = file.sync.bind(file);
        file.sync = async () => {
          if (++syncs === which) throw new VarveError('VARVE_IO', 'the disk refused it', { file: path });
          await sync();
        };
        return file;
      },
    });
    return await runRestore(vault.env, fs, {}, bounds);
  };
  const whole = new MemoryFileSystem();
  expect((await failing(0)(whole)).proved).toBe(true);
  const count = syncs;
  expect(count).toBeGreaterThan(5);
  for (let which = 1; which <= count; which++) {
    const disk = new MemoryFileSystem();
    await expect(failing(which)(disk), `sync ${which}`).rejects.toThrow('the disk refused it');
    expect(await disk.stat('SUPER')).toBeNull();
    // What was sealed is used again.
    expect(await runRestore(vault.env, disk, {}, bounds)).toMatchObject({ ok: true, proved: true });
    const copy = await openOn(disk);
    expect(await everything(copy)).toEqual(await everything(engine));
    await copy.close();
  }
});
