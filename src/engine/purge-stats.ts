/** Figures of old versions and of what was given back of them. */
import type { Store } from './store.ts';

/** Superseded versions whose values lie in chunks; counters since the engine was opened. */
export interface PurgeStats {
  /**
   * Versions that something still keeps, or that nobody has looked at yet; after an open as far as the work
   * in the background has met them.
   */
  trash: number;
  /** Versions whose chunks were given back. */
  purged: number;
  /**
   * Bytes of their values: what cleaning can free at most, since chunks may be shared with values that stay.
   */
  purgedBytes: number;
  /** List nodes that wait for a look, and that were given back. */
  nodesPending: number;
  nodes: number;
  /** Purging is under way. */
  running: boolean;
  /** Steps that failed. */
  failures: number;
}

export function purgeStats({ parts: { write } }: Store): PurgeStats {
  const purger = write?.purger;
  return {
    trash: purger?.pending ?? 0,
    purged: purger?.counters.purged ?? 0,
    purgedBytes: purger?.counters.bytes ?? 0,
    nodesPending: purger?.nodes.pending ?? 0,
    nodes: purger?.nodes.died ?? 0,
    running: purger?.isRunning ?? false,
    failures: purger?.failures ?? 0,
  };
}
