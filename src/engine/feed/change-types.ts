/** Shapes of the change feed. */
import type { Seq } from '../../base/brands.ts';
import type { UserMetadata } from '../../format/metadata.ts';
import type { Key } from '../types.ts';

/** Where a change feed begins, and what it shows. */
export interface ChangesOptions {
  /**
   * Commits with higher numbers are shown; 0 = all there ever were. Default: those after the call.
   */
  since?: Seq;
  /** Only keys that begin with it. */
  prefix?: Key;
  /**
   * Adds the value of each put as of its commit (default false), or `gone` where it cannot be read any more:
   * values that lie in chunks are there as long as something keeps that version. One value in memory at a
   * time.
   */
  values?: boolean;
  /** Changes of every space, each with its `space` (default false: of the space that is asked). */
  spaces?: boolean;
  /** Goes on with what is committed later (default true). False, or a store opened readOnly: ends. */
  live?: boolean;
  signal?: AbortSignal;
}

/** Keys between bounds; without any, all of the space. */
export interface KeyBounds<K extends Key = string> {
  gt?: K;
  gte?: K;
  lt?: K;
  lte?: K;
}

/** What all changes have. */
interface ChangeOfCommit {
  seq: Seq;
  /** When it was committed. */
  time: Date;
  /** Name of the space, with `spaces`; absent for the store's own keys. */
  space?: string;
  /** The last change of its commit: `since: seq` goes on behind it without a loss. */
  last: boolean;
}

/** A key was put. */
export interface PutChange<K extends Key = string> extends ChangeOfCommit {
  type: 'put';
  key: K;
  size: number;
  digest: string;
  /** With `values`. */
  value?: Uint8Array;
  /** With `values`: the version is not kept any more. */
  gone?: true;
  metadata?: UserMetadata;
  contentType?: string;
  tags?: string[];
}

/** A key was deleted. */
export interface DeleteChange<K extends Key = string> extends ChangeOfCommit {
  type: 'delete';
  key: K;
}

/** All keys in a range were deleted; puts of the same commit come after it and stay. */
export interface DeleteRangeChange<K extends Key = string> extends ChangeOfCommit {
  type: 'deleteRange';
  range: KeyBounds<K>;
}

/** One committed change. Commits come in the order of their numbers, changes of one in the order of keys. */
export type Change<K extends Key = string> = PutChange<K> | DeleteChange<K> | DeleteRangeChange<K>;

/** A running feed. Ends when it is left, and when the engine is closed. */
export interface ChangeFeed<K extends Key = string> extends AsyncIterableIterator<Change<K>, undefined> {
  /** Everything up to here was shown, or does not concern the feed: a later feed may begin here. */
  readonly seq: Seq;
  [Symbol.asyncIterator](): ChangeFeed<K>;
  return(): Promise<IteratorResult<Change<K>, undefined>>;
}
