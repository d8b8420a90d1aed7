/** Bounds that tests set and callers do not. */

import type { PutGuard } from '../chunk/put-guard.ts';
import type { BulkWrites } from '../chunk/segment-lanes.ts';
import type { IndexStepLimits } from '../secondary/index-steps.ts';
import type { CompactionLimits } from '../tree/compaction-planner.ts';
import type { ValidatorOptions } from '../txn/validator.ts';
import type { ReapLimits } from './background/reaper.ts';
import type { Store } from './store.ts';
import type { ThreadBounds } from './threads.ts';

/** Test-only bounds that are no public options. */
export interface OpenBounds {
  /** Bytes at which a segment is sealed; the superblock's target when not given. */
  readonly segmentBytes?: number;
  /** How values are written past the system's cache; the bounds of the chunk folder when not given. */
  readonly bulk?: BulkWrites;
  /** Chunks a value names before a STAGE frame is written; 4096 when not given. */
  readonly stageBirthsMax?: number;
  /** When and how tables are merged; the bounds of base/limits.ts where not given. 'off': they are not. */
  readonly compaction?: Partial<CompactionLimits> | 'off';
  /** What a step of the reaper does, at most; the bounds of base/limits.ts where not given. */
  readonly reaping?: Partial<ReapLimits>;
  /** 'off': what is superseded goes to the trash, and stays there. */
  readonly purging?: 'off';
  /** What a step of building an index does, at most; the bounds of base/limits.ts where not given. */
  readonly indexing?: Partial<IndexStepLimits>;
  /** Keeps cleaning and puts apart; one of its own when not given. */
  readonly guard?: PutGuard;
  /** Shown the parts of the store before anybody uses them. */
  readonly onOpen?: (store: Store) => void;
  /** Shorter values, and buffers of this size and number, for threads. */
  readonly threads?: ThreadBounds;
  /** `flush` also waits until no merge is due. */
  readonly flushMerges?: boolean;
  /** Leaves out a part of the validation of transactions, to show that checkers of histories notice. */
  readonly weakenedValidation?: ValidatorOptions['weakened'];
}
