/**
 * How far back readers look: the lowest sequence number a read under way may still ask for. A merge of
 * tables keeps what those can see.
 *
 * Reads are not listed one by one. They count themselves in and out of the current era; an era begins with a
 * look at the horizon and knows the number that was visible then, which no read of it is below. Reads that
 * may last, or look further back, pin their number: that keeps what they see and nothing newer.
 *
 * Invariants (test/engine/read-marks.test.ts)
 * - The horizon is never above the number a read under way was begun at ("the horizon stays at or below every
 *   read under way").
 * - It reaches the visible number once the reads before have ended (the same test).
 * - Each pinned number is listed until its last pin has ended ("a number is pinned until its last pin ends").
 * - A read holds a mark or a pin until it has the bytes of the value, not only its row: chunks of versions
 *   that were purged while it began go when it has ended (test/engine/cleaner.test.ts).
 */
import { assert } from '../../base/assert.ts';
import type { Seq } from '../../base/brands.ts';

/** Reads begun between two looks at the horizon. */
export interface ReadEra {
  readonly seq: Seq;
  reads: number;
}

/** A number that is pinned until `end` is called, however often, or when nobody has the pin any more. */
export interface Pin {
  readonly seq: Seq;
  readonly end: () => void;
  readonly isOver: () => boolean;
}

export class ReadMarks {
  /** How many pins each number has. */
  readonly #pins = new Map<Seq, number>();
  /** The number of each pin, by when it began. */
  readonly #begun = new Map<number, Seq>();
  #pinsMade = 0;
  /** Rises whenever a number is pinned for the first time, or no more. */
  pinsVersion = 0;
  /** Oldest first; never empty. */
  #eras: ReadEra[];
  /** A read or the last pin of a number has ended: what they kept may go. Cheap; never throws. */
  onReleased: () => void = () => undefined;
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
    if (era.reads === 0) this.onReleased();
  }

  /**
   * Keeps what a reader at `seq` sees until `end`, or until nobody has the pin any more. Something must keep
   * it at the moment of the call.
   */
  pin(seq: Seq): Pin {
    const pins = this.#pins;
    const all = this.#begun;
    const when = this.#pinsMade++;
    const before = pins.get(seq) ?? 0;
    if (before === 0) this.pinsVersion++;
    pins.set(seq, before + 1);
    all.set(when, seq);
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      all.delete(when);
      const left = pins.get(seq)! - 1;
      if (left > 0) {
        pins.set(seq, left);
        return;
      }
      pins.delete(seq);
      this.pinsVersion++;
      this.onReleased();
    };
    const pin = { seq, end, isOver: () => over };
    this.#forgotten.register(pin, end);
    return pin;
  }

  /** A moment, for `isPinnedSince`: pins made from now on are later. */
  get moment(): number {
    return this.#pinsMade;
  }

  /** True while a pin made before `moment` holds a number below `seq`. */
  isPinnedSince(moment: number, seq: Seq): boolean {
    for (const [when, pinned] of this.#begun) {
      if (when >= moment) return false;
      if (pinned < seq) return true;
    }
    return false;
  }

  /** The pinned numbers, in no order. */
  get pinned(): Iterable<Seq> {
    return this.#pins.keys();
  }

  /** The number below which no read looks, now or later. `visibleSeq` is what a read begun now would see. */
  horizon(visibleSeq: Seq): Seq {
    const eras = this.#eras.filter(({ reads }) => reads > 0);
    if (eras.at(-1)?.seq !== visibleSeq) eras.push({ seq: visibleSeq, reads: 0 });
    this.#eras = eras;
    return eras[0]!.seq;
  }
}
