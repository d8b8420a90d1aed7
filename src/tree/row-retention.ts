/**
 * Which rows of a key a merge must keep. Pure: rows of one key are judged one after another, newest first.
 *
 * A reader that may still come, or is under way, has a sequence number at or above the horizon. So of the
 * rows at or below it only the newest can be seen, and the others are superseded, with two exceptions:
 * - a superseded version that holds chunks stays until a GONE row says that its references were given back;
 * - GONE rows, and the rows they belong to, stay.
 *
 * A delete marker, late or not, goes only where nothing of its key is left under it, in the merge or in
 * deeper tables. A late one lies in a table that is newer than those of all versions it hides, so what it
 * hides is in the merge or deeper. What a range delete that is still pending hides needs no care: it hides
 * whatever has a lower number, and dropping some of that changes no answer.
 *
 * Invariants (test/tree/row-retention.test.ts)
 * - A lookup at any number at or above the horizon finds the same before and after ("lookups at or above the
 *   horizon do not notice").
 * - A version with chunks is never dropped ("a version that holds chunks stays until it is gone").
 */
import type { Seq } from '../base/brands.ts';
import { rowKinds } from '../format/row-kinds.ts';

/** `hold`: a delete marker that goes unless a row of the same key is kept after it. */
export const verdicts = { keep: 1, drop: 2, hold: 3 } as const;
export type Verdict = (typeof verdicts)[keyof typeof verdicts];

/** State of one key; reused from key to key. */
export class RowRetention {
  readonly #horizon: Seq;
  /** The row that readers at the horizon see has been met. */
  #covered = false;
  /** Number of the last GONE row; -1 = none. */
  #goneSeq = -1;

  /** `horizon`: no reader, now or later, has a lower number. */
  constructor(horizon: Seq) {
    this.#horizon = horizon;
  }

  /** The rows of another key follow. */
  begin(): void {
    this.#covered = false;
    this.#goneSeq = -1;
  }

  /** `head`: first byte of the row's value, kind and form; 0 for an empty one. */
  judge(seq: Seq, head: number): Verdict {
    const kind = head & 15;
    const isDelete = kind === rowKinds.delete || kind === rowKinds.lateDelete;
    if (!isDelete && kind !== rowKinds.put) {
      this.#goneSeq = seq;
      return verdicts.keep;
    }
    if (seq > this.#horizon) return verdicts.keep;
    if (!this.#covered) {
      this.#covered = true;
      return isDelete && seq !== this.#goneSeq ? verdicts.hold : verdicts.keep;
    }
    const holdsChunks = kind === rowKinds.put && head >> 4 !== 0;
    return holdsChunks || seq === this.#goneSeq ? verdicts.keep : verdicts.drop;
  }
}
