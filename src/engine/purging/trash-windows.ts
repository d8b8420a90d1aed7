/**
 * Which part of the trash is to be looked at. Trash rows lie in the order of the numbers that superseded
 * their versions. Pure state: no row is read here.
 *
 * The front moves up to what readers see; behind it lie rows that were kept. A window behind the front is
 * looked at again when what kept its rows has gone:
 * - a pinned number S: rows superseded above it, up to the next number that is pinned still;
 * - the horizon of a space: rows of that space from the first one kept for it up to the horizon;
 * - a row that came late, behind the front.
 *
 * Invariants (test/engine/purger.test.ts)
 * - Every row is in some window after the last thing that kept it has gone ("what is purged equals a search
 *   of all versions, and what is kept is read", over random versions, snapshots and views).
 */
import type { Seq } from '../../base/brands.ts';
import type { KeepRule } from '../../tree/keep-rule.ts';

/** Rows with after < superseding number <= upTo; of one space where it is given. */
export interface Window {
  readonly after: Seq;
  readonly upTo: Seq;
  readonly space?: number;
  /** Where a look that was broken off goes on. */
  readonly next?: Uint8Array;
}

export class TrashWindows {
  /** Rows up to this number were there when the store was opened. */
  readonly #openedSeq: Seq;
  /** Highest number the first pass has met: rows up to `openedSeq` are counted there. */
  #metUpTo: Seq = 0;
  #front: Seq = 0;
  /** The highest number of a row that is known. */
  #last: Seq;
  #windows: Window[] = [];
  /** Of each row that is kept for pinned numbers, the highest of them. */
  readonly #holding = new Set<Seq>();
  /** Lowest number of a row kept for the horizon of its space. */
  readonly #waiting = new Map<number, Seq>();

  constructor(openedSeq: Seq) {
    this.#openedSeq = openedSeq;
    this.#last = openedSeq;
  }

  /** A row was written. True when no pass will meet it for the first time: its writer is to count it. */
  note(seq2: Seq): boolean {
    if (seq2 > this.#last) this.#last = seq2;
    if (seq2 <= this.#front) this.#add({ after: seq2 - 1, upTo: seq2 });
    return seq2 > this.#openedSeq || seq2 <= this.#metUpTo;
  }

  /** A row is met. True when it was there before the store was opened and is met for the first time. */
  meets(seq2: Seq): boolean {
    return seq2 <= this.#openedSeq && seq2 > this.#metUpTo;
  }

  /** Everything is looked at anew. */
  restart(): void {
    this.#windows = [];
    this.#front = 0;
  }

  isDue(rule: KeepRule, visibleSeq: Seq): boolean {
    this.#compare(rule);
    if (this.#windows.length > 0) return true;
    if (this.#front < Math.min(this.#last, visibleSeq)) return true;
    for (const [space, seq2] of this.#waiting) if (seq2 <= rule.horizonOf(space)) return true;
    return false;
  }

  /** The next window to look at; give it to `done`, or take it again after a failure. */
  take(rule: KeepRule, visibleSeq: Seq): Window | undefined {
    this.#compare(rule);
    if (this.#windows.length === 0) {
      for (const [space, seq2] of this.#waiting) {
        const upTo = Math.min(rule.horizonOf(space), this.#front);
        if (seq2 > upTo) continue;
        this.#waiting.delete(space);
        this.#add({ after: seq2 - 1, upTo, space });
      }
    }
    if (this.#windows.length === 0 && this.#front < Math.min(this.#last, visibleSeq)) {
      const after = this.#front;
      this.#front = visibleSeq;
      this.#add({ after, upTo: visibleSeq });
    }
    return this.#windows[0];
  }

  /** The window was looked at, up to `next` where that is given. */
  done(window: Window, next: Uint8Array | undefined): void {
    const at = this.#windows.indexOf(window);
    if (at === -1) return;
    if (next === undefined) {
      this.#windows.splice(at, 1);
      if (this.#windows.length === 0) this.#metUpTo = Math.max(this.#metUpTo, this.#front);
    } else this.#windows[at] = { ...window, next };
  }

  /** A pinned number or the horizon keeps the version; what does is remembered. */
  holds(rule: KeepRule, space: number, seq: Seq, seq2: Seq): boolean {
    const pinned = rule.pinned[countBelow(rule.pinned, seq2) - 1];
    if (pinned !== undefined && pinned >= seq) {
      this.#holding.add(pinned);
      return true;
    }
    if (seq2 <= rule.horizonOf(space)) return false;
    const before = this.#waiting.get(space);
    if (before === undefined || seq2 < before) this.#waiting.set(space, seq2);
    return true;
  }

  /** Numbers that held rows and are no longer pinned leave windows behind. */
  #compare({ pinned }: KeepRule): void {
    for (const seq of this.#holding) {
      const at = countBelow(pinned, seq);
      if (pinned[at] === seq) continue;
      this.#holding.delete(seq);
      this.#add({ after: seq, upTo: Math.min(pinned[at] ?? this.#front, this.#front) });
    }
  }

  #add(window: Window): void {
    const isCovered = this.#windows.some(
      (other) =>
        other.next === undefined &&
        other.after <= window.after &&
        other.upTo >= window.upTo &&
        (other.space === undefined || other.space === window.space),
    );
    if (!isCovered) this.#windows.push(window);
  }
}

/** How many of the ascending numbers are below `seq`. */
function countBelow(numbers: readonly Seq[], seq: Seq): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle]! < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
