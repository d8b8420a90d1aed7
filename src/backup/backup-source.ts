/** What a backup needs of a store; the engine makes one of these over a pinned moment. */
import type { Seq } from '../base/brands.ts';
import type { BackupRow } from '../format/vault-records.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';
import type { RowSource, Step } from '../tree/cursor.ts';
import type { StoreParams } from './backup-info.ts';
import type { LoggedChanges } from './logged-changes.ts';

/**
 * The rows of all keys that a reader of the moment sees, in order of the key tree, all spaces. After `step`
 * says OK the cursor stands on one; MISS: `load`, then step again. VARVE_CORRUPT on damage.
 */
export interface SourceRows {
  step(): Step;
  load(): Promise<void>;
  readonly cursor: RowSource;
  /** Ends the use. */
  close(): void;
}

/** A system row that belongs into a backup: names of spaces, policies, definitions. */
export interface SystemRow {
  /** Encoded row prefix of the system tree. */
  readonly prefix: Uint8Array;
  readonly seq: Seq;
  readonly value: Uint8Array;
}

export interface BackupSource {
  readonly dbUuid: Uint8Array;
  readonly timelineId: number;
  /** The moment: the last commit that is seen. */
  readonly seq: Seq;
  readonly params: StoreParams;
  /** In order. */
  readonly system: readonly SystemRow[];
  /** A new pass over the keys. */
  rows(): SourceRows;
  /**
   * What was committed behind `since`, up to the moment; undefined where the log is not kept any more, or
   * that is so much that reading all rows is better.
   */
  changes(since: Seq): Promise<LoggedChanges | undefined>;
  readonly segments: SegmentSet;
  readonly chunks: ChunkTree;
  /** What the store remembers of its last backup into this vault. */
  readonly last: BackupRow | undefined;
}

/** Bytes of all chunks of the store, about: nothing is read for it. */
export function chunkBytesOf({ chunks, params }: BackupSource): number {
  const entries = chunks.tables.reduce((sum, { meta }) => sum + meta.entries, chunks.active.entries);
  return entries * params.chunkAvg;
}
