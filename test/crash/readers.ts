/** Readers that open while a writer goes on: the files change under them once, to those of a later moment. */

import { isVarveError } from '../../src/base/errors.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import type { FsPort } from '../../src/fs/port.ts';
import { compareAll } from './compare.ts';
import { envOf, openEnv, type StoreShape } from './machine.ts';
import { stateAt } from './model.ts';
import type { CrashPoint, History } from './recorder.ts';

/**
 * Opens a reader that sees the files of `before` in its first `calls` calls by name, and those of `after`
 * from then on; handles stay with what they were opened on. Throws when the reader is refused, meets damage,
 * lacks a commit acknowledged at `before`, or shows what no moment has had. False when the change came too
 * late.
 */
export async function checkReader(
  before: CrashPoint,
  after: CrashPoint,
  calls: number,
  history: History,
  shape: StoreShape,
): Promise<boolean> {
  const old = before.disk.fork();
  const disk = after.disk.fork();
  let asked = 0;
  const at = (): FsPort => (asked++ < calls ? old : disk);
  const fs = alteredPort(disk, {
    open: (path, mode) => at().open(path, mode),
    openSync: (path) => at().openSync(path),
    list: (path) => at().list(path),
    stat: (path) => at().stat(path),
  });
  const reader = await openEnv({ ...envOf(disk, 1), fs }, shape, { readOnly: true }, false);
  const isLate = asked <= calls;
  const health = reader.health();
  if (!health.ok) throw new Error(`a reader meets damage: ${JSON.stringify(health)}`);
  const { seq } = reader.stats();
  const lost = [...history.rows, ...history.ranges].find((one) => one.seq > seq && one.seq <= before.acked);
  if (lost !== undefined) throw new Error(`a reader sees ${seq}, and ${lost.seq} was acknowledged`);
  try {
    await compareAll(reader, history, stateAt(history, seq));
  } catch (error) {
    // Its files went after it was open: it may have to be opened again.
    if (!isLate || !isVarveError(error, 'VARVE_SNAPSHOT_EXPIRED')) throw error;
  }
  await reader.close();
  return asked > calls;
}
