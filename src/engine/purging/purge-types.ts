/** Figures of old versions and of what was given back of them. */
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
  /** Keys deleted because their time to live was over. */
  expired: number;
  /** Purging is under way. */
  running: boolean;
  /** Steps that failed. */
  failures: number;
}
