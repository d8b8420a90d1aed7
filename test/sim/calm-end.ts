/** What calm leaves on the disk. */
import type { Engine } from '../../src/engine/engine.ts';
import { leaseDeadMs } from '../../src/engine/leases/lease-gate.ts';
import { readersDir } from '../../src/format/file-names.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { strayFiles } from '../crash/audit.ts';
import type { Scheduler } from './scheduler.ts';

/**
 * Readers that died with a process have leases, which hold files until they have stood still for long. Where
 * there are none, nothing has to be outlived: files go with the installs.
 */
export async function outliveLeases(
  engine: Engine,
  scheduler: Scheduler,
  disk: MemoryFileSystem,
): Promise<void> {
  for (let looks = 0; looks < 3; looks++) {
    await engine.put('calm', String(looks));
    await engine.flush();
    if (disk.files().some((path) => path.startsWith(`${readersDir}/`)))
      await scheduler.sleep(leaseDeadMs + 1);
  }
  await engine.delete('calm');
  await engine.flush();
}

/** Throws where there are files that nothing names; `mayKeep`: damage was met, some may be in quarantine. */
export async function checkNothingLeft(disk: MemoryFileSystem, mayKeep: boolean): Promise<void> {
  const stray = (await strayFiles(disk)).filter(
    (path) => !path.startsWith(`${readersDir}/`) && (!mayKeep || !path.startsWith('quarantine/')),
  );
  if (stray.length > 0) throw new Error(`files left over: ${stray.join(', ')}`);
}
