/** Shapes of what callers give to and get from compact(), and of the figures of space. */

/** Options of compact(). */
export interface CompactOptions {
  /** Called after each step. */
  onProgress?: (progress: CompactProgress) => void;
  /**
   * Only says what would be freed, by one scan of the chunk index: no segment is emptied and no table merged.
   * Deletes are carried out first, as in the background. Default false.
   */
  dryRun?: boolean;
  /** Ends it after the step under way; what is done stays done, and another call goes on. VARVE_ABORTED. */
  signal?: AbortSignal;
  /** Bytes of chunks copied, about, after which no further segment is begun. */
  maxBytes?: number;
  /** Share of the time that scans and copies may work, above 0 up to 1 (default). */
  share?: number;
  /**
   * Ends once all chunk frames take no more than so many times the live ones: 1.25 leaves a fifth of garbage.
   * Default 1: everything worth freeing goes.
   */
  amplification?: number;
  /** For what is known of frames while segments are emptied; from 1 MiB. Default 13 MiB. */
  memoryBytes?: number;
  /** Bytes read and written a second while segments are emptied. Default: as fast as it goes. */
  bytesPerSecond?: number;
}

/** How far a compaction is. */
export interface CompactProgress {
  phase: 'checkpoint' | 'tables' | 'segments' | 'finish';
  /** Copied so far in this phase; bytes. */
  done: number;
  /** What is known to be left and done, bytes; undefined while nobody knows. */
  total: number | undefined;
  unit: 'bytes';
  bytesPerSecond: number;
}

/** Space that cannot be freed now, and what holds it. */
export interface PinnedSpace {
  /**
   * `reads`: begun before the segments were emptied. `writes`: values on their way in. `damage`: segments
   * with damaged chunks. `checkpoint`: waits for the next one.
   */
  by: 'reads' | 'writes' | 'damage' | 'checkpoint';
  bytes: number;
}

/** What a compaction did, or would do. */
export interface CompactReport {
  /** Everything that could be freed was, and no damage was met. Of a dry run: no damage is known. */
  ok: boolean;
  dryRun: boolean;
  /** False when `maxBytes` ended it. */
  complete: boolean;
  segmentsBefore: number;
  segmentsAfter: number;
  /** Bytes of segments and tables. */
  bytesBefore: number;
  bytesAfter: number;
  /**
   * Bytes of files removed less bytes of files written; of a dry run: garbage, and superseded values that
   * nothing keeps (before deduplication).
   */
  reclaimedBytes: number;
  /** Bytes of chunks copied out of segments that were emptied. */
  copiedBytes: number;
  removedSegments: number;
  tables: { before: number; after: number; bytesBefore: number; bytesAfter: number; merges: number };
  pinned: PinnedSpace[];
  /** Damaged chunks that were met: their segments stay. */
  damage: { file: string; offset?: number; message: string }[];
  ms: number;
}

/** A snapshot, view or read that keeps superseded values. */
export interface SpaceHolder {
  by: 'snapshot' | 'view' | 'reads';
  /** Of a snapshot. */
  name?: string;
  /** The state it keeps: that after this commit. */
  seq: number;
  /** How long a view has been open, ms, and where in the program it was opened. */
  ageMs?: number;
  openedAt?: string;
  /** Superseded values with chunks that it keeps, and their bytes, before deduplication. */
  versions: number;
  bytes: number;
  /** Of those bytes, what nothing else pins: about what ending it frees. */
  aloneBytes: number;
}

/** Superseded values with chunks, and what keeps them: as of the last scan for cleaning, or compact. */
export interface HeldSpace {
  measuredSeq: number;
  /** False: there were too many to look at all of them. */
  complete: boolean;
  versions: number;
  bytes: number;
  /** Of these, what nothing keeps: it is given back next. The rest is kept by history. */
  goingBytes: number;
  /** Those that hold most alone come first. */
  holders: SpaceHolder[];
}

/** Where the bytes of segments go, as far as it is known without reading. */
export interface SpaceStats {
  /** Bytes of all chunk frames. */
  dataBytes: number;
  /** Of these, referenced, and not, when the index was last scanned (by compact or in the background). */
  liveBytes: number;
  deadBytes: number;
  /** Number of the last commit that scan saw; 0 = there was none since the store was opened. */
  measuredSeq: number;
  /** Dead bytes by then and what may have become garbage since: an upper bound. */
  reclaimableBytes: number;
  pinned: PinnedSpace[];
  /** Who keeps superseded values; absent before the first look. */
  held?: HeldSpace;
  /** Segments by state. `leaving`: emptied, and kept until nothing needs them. */
  segments: { open: number; sealed: number; leaving: number; damaged: number };
  cleaning: {
    running: boolean;
    /** By pauseCleaning. */
    paused: boolean;
    cycles: number;
    copiedBytes: number;
    removedSegments: number;
    removedBytes: number;
    failures: number;
  };
}
