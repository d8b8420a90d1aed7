/**
 * Who may still ask for an old version. A version s1 of a key that was superseded at s2 is what readers at
 * the numbers s1 <= S < s2 see.
 */
import type { Seq } from '../base/brands.ts';
import type { PeriodRules } from '../base/keep-periods.ts';

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
  /** Retention of the space: what any of them keeps of the superseded versions of a key; empty: nothing. */
  retentionOf(space: number): readonly PeriodRules[];
  /** Another one when some retention has changed. */
  readonly retentionVersion: number;
}

const noRetention: readonly PeriodRules[] = [];

/** A rule that is the same for every space. */
export function plainRule(horizon: Seq, pinned: readonly Seq[] = [], versions = 0): KeepRule {
  const retentionOf = (): readonly PeriodRules[] => noRetention;
  return {
    ...{ horizon, pinned, retentionOf, retentionVersion: 0 },
    versionsOf: () => versions,
    horizonOf: () => horizon,
  };
}

/** Superseded versions of the space may be kept by their rank or by their time. */
export function keepsSuperseded(rule: KeepRule, space: number): boolean {
  return rule.versionsOf(space) > 0 || rule.retentionOf(space).length > 0;
}

/**
 * The rule for merges while range deletes with these numbers (ascending) are under way: for each of them the
 * row that ends what lies below it stays, as if its number were pinned. Without that row a range delete would
 * take a version that was ended before it, and waits in the trash, for one it has to end.
 */
export function ruleBeside(rule: KeepRule, ranges: readonly Seq[]): KeepRule {
  if (ranges.length === 0) return rule;
  const pinned = Array.from(new Set([...rule.pinned, ...ranges])).sort((a, b) => a - b);
  return { ...rule, pinned };
}

/**
 * Some reader, now or later, may see a version s1 that was superseded at s2 and has `newer` superseded
 * versions above it: rows of its key between it and the newest one, deletions included, gone ones not.
 * Retention is judged apart, by the times of all of them (RetentionJudge).
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
