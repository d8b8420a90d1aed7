/** How a writer ends: everything it has in memory goes to the disk, and the store is marked as closed. */
import { VarveError } from '../../base/errors.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import type { SegmentLanes } from '../../chunk/segment-lanes.ts';
import { frameTypes } from '../../format/log-frame.ts';
import type { WriteSide } from '../store.ts';
import type { Untouched } from './at-rest.ts';

export interface Closing
  extends Pick<
    WriteSide,
    | 'log'
    | 'checkpointer'
    | 'compactor'
    | 'reaper'
    | 'cleaner'
    | 'cleaning'
    | 'purger'
    | 'expirer'
    | 'indexWork'
    | 'quotas'
  > {
  readonly lanes: SegmentLanes;
  readonly catalogs: CatalogStore;
  readonly opened: Untouched;
}

/**
 * A clean close: merges ended, segments sealed, and everything settled in tables, unless the store is as it
 * was found at rest. After a failure files are only closed; the next open recovers. Rejects with the failure.
 */
export async function close(closing: Closing): Promise<void> {
  const {
    log,
    lanes,
    checkpointer,
    compactor,
    reaper,
    purger,
    expirer,
    indexWork,
    quotas,
    cleaner,
    cleaning,
    catalogs,
  } = closing;
  try {
    cleaner.stop();
    for (const { work } of [cleaning, quotas, reaper, purger, expirer, indexWork]) await work.stop();
    await compactor.stop();
    if (log.failure !== undefined) throw stopped(log.failure);
    await checkpointer.running;
    await log.drained();
    await lanes.sealAll();
    if (log.failure !== undefined) throw stopped(log.failure);
    if (!isUntouched(closing)) await settle(closing);
    await checkpointer.removals.end();
    await catalogs.markClean();
    await checkpointer.logFile?.close();
  } catch (error) {
    // What was under way when a write failed ends before the lock goes: it may still be making a file.
    await Promise.allSettled([checkpointer.running, checkpointer.removals.end(), log.settled()]);
    await lanes.abandon();
    await checkpointer.logFile?.close();
    throw error;
  } finally {
    await catalogs.close();
  }
}

/** No frame, segment or catalog was written: what the open found is what the close leaves. */
function isUntouched({ log, lanes, catalogs, opened }: Closing): boolean {
  const { slot } = catalogs;
  const { sealed } = opened.catalog;
  const hasSegments = lanes.unsealed().length > 0 || lanes.sealed().length > sealed.length;
  return log.isUnused && slot.generation === opened.generation && !hasSegments;
}

/**
 * Memtables in tables, the log ended with SEAL, and the same set of files installed once more, so that the
 * grace of one install keeps nothing back.
 */
async function settle({ log, checkpointer, cleaner, catalogs }: Closing): Promise<void> {
  await checkpointer.run();
  await cleaner.leaving.removeAll();
  await log.frame(frameTypes.seal, [], () => undefined);
  await log.syncNow();
  // Behind the checkpoint came only OPEN and SEAL: the final catalog covers them too.
  const { walFirstNo } = catalogs.catalog;
  await checkpointer.cleanUp(await checkpointer.install(log.lastSeq, walFirstNo, [], []));
}

function stopped(cause: VarveError): VarveError {
  return new VarveError('VARVE_POISONED', 'closed after a failed write; the next open recovers', { cause });
}
