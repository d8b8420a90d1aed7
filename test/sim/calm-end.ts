/** What calm leaves on the disk. */
import type { Engine } from '../../src/engine/engine.ts';
import { leaseDeadMs, leaseHoldMsMax } from '../../src/engine/leases/lease-gate.ts';
import { readersDir } from '../../src/format/file-names.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { strayFiles } from '../crash/audit.ts';
import type { Scheduler } from './scheduler.ts';

/** Files for readers are held for so many looks at leases at most. */
const looksMax = Math.ceil(leaseHoldMsMax / leaseDeadMs) + 2;

/**
 * Readers that died with a process have leases, which hold files until they have stood still for long. Where
 * there are none, nothing has to be outlived: files go with the installs. A reader whose reads hang may live
 * on: it holds no file for longer than the bound. Gives what was left over when it began.
 */
export async function outliveLeases(
  engine: Engine,
  scheduler: Scheduler,
  disk: MemoryFileSystem,
): Promise<readonly string[]> {
  const old = await strayFiles(disk.fork());
  for (let looks = 0; looks < 3 || (isRead(disk) && looks < looksMax); looks++) {
    await engine.put('calm', String(looks));
    await engine.flush();
    if (isRead(disk)) await scheduler.sleep(leaseDeadMs + 1);
  }
  await engine.delete('calm');
  await engine.flush();
  return old;
}

/**
 * Throws where there are files that nothing names, or, while a reader lives, such as were `old` before all
 * leases were outlived. `mayKeep`: damage was met, some may be in quarantine.
 */
export async function checkNothingLeft(
  disk: MemoryFileSystem,
  old: readonly string[],
  mayKeep: boolean,
): Promise<void> {
  const stray = (await strayFiles(disk)).filter(
    (path) =>
      !path.startsWith(`${readersDir}/`) &&
      (!mayKeep || !path.startsWith('quarantine/')) &&
      (!isRead(disk) || old.includes(path)),
  );
  if (stray.length > 0) throw new Error(`files left over: ${stray.join(', ')}`);
}

/** Leases are there, of readers that live or of dead ones. */
function isRead(disk: MemoryFileSystem): boolean {
  return disk.files().some((path) => path.startsWith(`${readersDir}/`));
}
