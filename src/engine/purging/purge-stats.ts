/** What is known of old versions and of what was given back of them. */

import type { Store } from '../store.ts';
import type { PurgeStats } from './purge-types.ts';

/** Figures of purging; reads no file. */
export function purgeStats({ parts: { write } }: Store): PurgeStats {
  const purger = write?.purger;
  return {
    trash: purger?.pending ?? 0,
    purged: purger?.counters.purged ?? 0,
    purgedBytes: purger?.counters.bytes ?? 0,
    nodesPending: purger?.nodes.pending ?? 0,
    nodes: purger?.nodes.died ?? 0,
    expired: write?.expirer.deleted ?? 0,
    running: purger?.work.isRunning ?? false,
    failures: purger?.work.failures ?? 0,
  };
}
