/**
 * How far back readers look: the lowest sequence number a read under way may still ask for. A merge of
 * tables keeps what those can see.
 *
 * Reads are not listed one by one. They count themselves in and out of the current era; an era begins with a
 * look at the horizon and knows the number that was visible then, which no read of it is below.
 *
 * Invariants (test/engine/read-marks.test.ts)
 * - The horizon is never above the number a read under way was begun at ("the horizon stays at or below every
 *   read under way").
 * - It reaches the visible number once the reads before have ended (the same test).
 */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';

/** Reads begun between two looks at the horizon. */
export interface ReadEra {
  readonly seq: Seq;
  reads: number;
}

/** A read that is over when `end` is called, however often, or when nobody has the mark any more. */
export interface ReadMark {
  readonly end: () => void;
  readonly isOver: () => boolean;
}

export class ReadMarks {
  /** Oldest first; never empty. */
  #eras: ReadEra[];
  /** Streams and scans that were never begun end with their memory. */
  readonly #forgotten = new FinalizationRegistry<() => void>((leave) => leave());

  constructor(seq: Seq) {
    this.#eras = [{ seq, reads: 0 }];
  }

  /** A read begins, at the number that is visible now; give the era back to `leave`. Allocates nothing. */
  enter(): ReadEra {
    const era = this.#eras.at(-1)!;
    era.reads++;
    return era;
  }

  leave(era: ReadEra): void {
    assert(era.reads > 0, 'a read leaves once');
    era.reads--;
  }

  /** The same for a read whose end more than one may call. */
  mark(): ReadMark {
    const era = this.enter();
    let over = false;
    const leave = (): void => {
      if (over) return;
      over = true;
      this.leave(era);
    };
    const mark = { end: leave, isOver: () => over };
    this.#forgotten.register(mark, leave);
    return mark;
  }

  /** The number below which no read looks, now or later. `visibleSeq` is what a read begun now would see. */
  horizon(visibleSeq: Seq): Seq {
    const eras = this.#eras.filter(({ reads }) => reads > 0);
    if (eras.at(-1)?.seq !== visibleSeq) eras.push({ seq: visibleSeq, reads: 0 });
    this.#eras = eras;
    return eras[0]!.seq;
  }
}
