/**
 * Which rows of a key a merge must keep. Pure: rows of one key are judged one after another, newest first.
 *
 * The newest row of a key stays. One below it was superseded by the row above, and stays where the keep rule
 * says that somebody may ask for it (keep-rule.ts), with two exceptions:
 * - a superseded version that holds chunks stays until a GONE row says that its references were given back;
 * - a GONE row and its version go together, once nobody reads below the commit that purged it; without its
 *   version in the merge it stays.
 * Rows above that are not in this merge make a version younger to it than it is: then it stays too long.
 *
 * A delete marker at or below the horizon, late or not, goes where nothing of its key is left under it, in
 * the merge or in deeper tables. A late one lies in a table that is newer than those of all versions it
 * hides, so what it hides is in the merge or deeper. What a range delete that is still under way hides can go
 * as far as answers go; its number counts as pinned all the same (`ruleBeside`), for what it puts into the
 * trash.
 *
 * Time rows of the system tree go at or below the horizon: they lead to no number that can be read.
 *
 * Invariants (test/tree/row-retention.test.ts)
 * - A lookup at any number at or above the horizon, or at a pinned one, finds the same before and after
 *   ("lookups at or above the horizon do not notice", "lookups at pinned numbers do not notice").
 * - What retention keeps of all versions stays, whatever part of them a merge meets ("retention of a part
 *   keeps what retention of all keeps").
 * - The newest superseded versions stay, as many as asked for ("so many superseded versions stay").
 * - A version with chunks is never dropped ("a version that holds chunks stays until it is gone").
 */
import type { Seq } from '../base/brands.ts';
import { timePrefix } from '../format/history-rows.ts';
import { spaceOf } from '../format/internal-key.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { trees } from '../format/trees.ts';
import { isPinned, type KeepRule } from './keep-rule.ts';
import { RetentionJudge } from './space-rules.ts';

/**
 * `hold`: a delete marker that goes unless a row of the same key is kept after it. `pair`: a GONE row that
 * goes if its version follows, which is then dropped.
 */
export const verdicts = { keep: 1, drop: 2, hold: 3, pair: 4 } as const;
export type Verdict = (typeof verdicts)[keyof typeof verdicts];

/** State of one key; reused from key to key. */
export class RowRetention {
  readonly #rule: KeepRule;
  /** Superseded rows that only a pinned number keeps, of all keys so far. */
  pinnedRows = 0;
  readonly #hasSpaces: boolean;
  readonly #hasMarks: boolean;
  /** The key is that of a time row. */
  #isMark = false;
  #space = 0;
  #horizon: Seq = 0;
  #versions = 0;
  #retention: RetentionJudge | undefined;
  /** Number of the ordinary row above; 0 = none. */
  #above: Seq = 0;
  /** Superseded rows met so far. */
  #superseded = 0;
  /** Number of the last GONE row; -1 = none. */
  #goneSeq = -1;
  /** That row is one of a pair. */
  #folds = false;

  /**
   * `tree`: whose rows they are; those of the key tree belong to spaces, which may have rules of their own.
   */
  constructor(rule: KeepRule, tree: number) {
    this.#rule = rule;
    this.#hasSpaces = tree === trees.K;
    this.#hasMarks = tree === trees.S;
    this.#horizon = rule.horizon;
    if (this.#hasSpaces) this.#enter(0);
  }

  /** The rows of another key follow; its internal key begins at key[from]. */
  begin(key: Uint8Array, from: number): void {
    this.#above = 0;
    this.#superseded = 0;
    this.#goneSeq = -1;
    if (this.#hasMarks) this.#isMark = startsAt(key, from, timePrefix);
    if (!this.#hasSpaces) return;
    const space = spaceOf(key, from);
    if (space !== this.#space) this.#enter(space);
    this.#retention?.begin();
  }

  /** Rows of the key are judged by their times too. */
  get byTime(): boolean {
    return this.#retention !== undefined;
  }

  /**
   * `head`: first byte of the row's value, kind and form; 0 for an empty one. `purgedAt`: of a GONE row, the
   * number of the commit that purged. `timeMs`: its commit time, which only counts where `byTime` says so.
   */
  judge(seq: Seq, head: number, purgedAt: Seq = Number.MAX_SAFE_INTEGER, timeMs = 0): Verdict {
    if (this.#isMark) return seq <= this.#horizon ? verdicts.drop : verdicts.keep;
    const kind = head & 15;
    const isDelete = kind === rowKinds.delete || kind === rowKinds.lateDelete;
    if (!isDelete && kind !== rowKinds.put) {
      this.#goneSeq = seq;
      this.#folds = purgedAt <= this.#horizon && !isPinned(this.#rule.pinned, seq, purgedAt);
      return this.#folds ? verdicts.pair : verdicts.keep;
    }
    const isGone = seq === this.#goneSeq;
    // The row that superseded it says the same to whoever comes.
    if (isGone && this.#folds) return verdicts.drop;
    const above = this.#above;
    this.#above = seq;
    const horizon = this.#horizon;
    if (above === 0) return isDelete && !isGone && seq <= horizon ? verdicts.hold : verdicts.keep;
    const newer = this.#superseded;
    if (!isGone) this.#superseded++;
    const isRetained = !isGone && this.#retention?.keeps(timeMs) === true;
    if (above > horizon) return isDelete && !isGone && seq <= horizon ? verdicts.hold : verdicts.keep;
    if (newer < this.#versions || isRetained) return verdicts.keep;
    if (isPinned(this.#rule.pinned, seq, above)) {
      this.pinnedRows++;
      return verdicts.keep;
    }
    const holdsChunks = kind === rowKinds.put && head >> 4 !== 0;
    return holdsChunks || isGone ? verdicts.keep : verdicts.drop;
  }

  #enter(space: number): void {
    this.#space = space;
    this.#horizon = this.#rule.horizonOf(space);
    this.#versions = this.#rule.versionsOf(space);
    const retention = this.#rule.retentionOf(space);
    this.#retention = retention.length === 0 ? undefined : new RetentionJudge(retention);
  }
}

/** key[from..] begins with `prefix`, which has no zero bytes, so that its escaped form is itself. */
function startsAt(key: Uint8Array, from: number, prefix: Uint8Array): boolean {
  if (key.length - from < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (key[from + i] !== prefix[i]) return false;
  return true;
}
