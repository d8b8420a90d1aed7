/**
 * What of the past is kept: the keep rule of a store, from reads under way, open views, named snapshots and
 * policies.
 */
import type { Seq } from '../base/brands.ts';
import type { KeepRule } from '../tree/keep-rule.ts';
import { plainRule } from '../tree/keep-rule.ts';
import type { ReadMarks } from './read-marks.ts';

export interface HistoryOptions {
  readonly marks: ReadMarks;
  /** Highest number a read made now sees. */
  readonly visibleSeq: () => Seq;
}

export class History {
  readonly #options: HistoryOptions;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /** The rule of this moment: what it does not keep, nobody asks for from now on. */
  keepRule(): KeepRule {
    const { marks, visibleSeq } = this.#options;
    const pinned = Array.from(marks.pinned).sort((a, b) => a - b);
    return plainRule(marks.horizon(visibleSeq()), pinned);
  }
}
