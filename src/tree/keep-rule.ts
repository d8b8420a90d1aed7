/**
 * Who may still ask for an old version. A version s1 of a key that was superseded at s2 is what readers at
 * the numbers s1 <= S < s2 see.
 */
import type { Seq } from '../base/brands.ts';

/** Pure data, taken at one moment: what it keeps may be asked for, now or later; the rest never again. */
export interface KeepRule {
  /**
   * No reader, now or later, has a lower number, except at the pinned ones; the lowest of `horizonOf`. Reads
   * under way and history.ms lower it.
   */
  readonly horizon: Seq;
  /** Numbers of named snapshots and of open views, ascending, without duplicates. */
  readonly pinned: readonly Seq[];
  /** history.versions of a space: that many of the newest superseded versions of each key are kept. */
  versionsOf(space: number): number;
  /** The horizon of one space: at or above `horizon`. */
  horizonOf(space: number): Seq;
}

/** A rule that is the same for every space. */
export function plainRule(horizon: Seq, pinned: readonly Seq[] = [], versions = 0): KeepRule {
  return { horizon, pinned, versionsOf: () => versions, horizonOf: () => horizon };
}

/**
 * Some reader, now or later, may see a version s1 that was superseded at s2 and has `newer` superseded
 * versions above it: rows of its key between it and the newest one, deletions included, gone ones not.
 */
export function isKept(rule: KeepRule, space: number, s1: Seq, s2: Seq, newer: number): boolean {
  return s2 > rule.horizonOf(space) || newer < rule.versionsOf(space) || isPinned(rule.pinned, s1, s2);
}

/** A pinned number S with s1 <= S < s2. `pinned` is ascending. */
export function isPinned(pinned: readonly Seq[], s1: Seq, s2: Seq): boolean {
  let low = 0;
  let high = pinned.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pinned[middle]! < s1) low = middle + 1;
    else high = middle;
  }
  return low < pinned.length && pinned[low]! < s2;
}
