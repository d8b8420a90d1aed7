/** What an open has read before it writes anything. */
import type { FileNo } from '../../base/brands.ts';
import type { BlockCache } from '../../cache/block-cache.ts';
import type { LoadedCatalogs } from '../../catalog/catalog-load.ts';
import type { WriterLock } from '../../fs/lock-port.ts';
import type { LogChain } from '../../log/log-chain.ts';
import type { IndexBook } from '../../secondary/index-book.ts';
import type { SegmentSet } from '../../segment/segment-set.ts';
import type { Forest } from '../../tree/forest.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { CheckedOptions } from '../options.ts';
import type { Spaces } from '../spaces/spaces.ts';
import type { Replayed } from './recovery.ts';
import type { Listed } from './sweep.ts';

/** Everything read from the disk, before anything is written. */
export interface Found {
  readonly env: Env;
  readonly options: CheckedOptions;
  readonly loaded: LoadedCatalogs;
  readonly health: HealthBook;
  readonly blockCache: BlockCache;
  readonly forest: Forest;
  readonly segments: SegmentSet;
  readonly chain: LogChain;
  readonly replayed: Replayed;
  readonly spaces: Spaces;
  readonly indexes: IndexBook;
  /** Sealed segments with damage: no new value may rely on their frames. */
  readonly distrusted: Set<FileNo>;
  readonly lock: WriterLock | undefined;
  /** What a writer finds in the directories; empty for a reader. */
  readonly listed: Listed;
}
