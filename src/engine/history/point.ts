/** Points in time, as callers name them and as readers stand on them. */
import type { Seq } from '../../base/brands.ts';

/**
 * A point in time: a commit's number (the state after it), a Date (every commit stamped in or before that
 * millisecond) or a named snapshot.
 */
export type At = Seq | Date | { readonly snapshot: string };

/** What a reader sees. */
export interface Moment {
  /** Versions above it are not seen. */
  readonly seq: Seq;
  /** Versions that expire by then are absent, ms since 1970; -1 = none are. */
  readonly expiryMs: number;
}

/** A moment a caller has asked for, judged when it did. */
export interface AskedMoment extends Moment {
  /** The state of that space is there as a whole; else only versions by their own number. */
  readonly isWhole: (space: number) => boolean;
}
