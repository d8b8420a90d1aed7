/**
 * The rows a scan shows, one after another, over one view: for each key the version its reader sees, or a
 * folded prefix. No promises: `step` answers MISS where a block must be loaded first.
 *
 * Invariants (test/engine/read-cache.test.ts)
 * - Steps go through what a sorted map of the space held at the view, in either direction, whatever must be
 *   loaded on the way ("scan equals a model, with a block cache and without one").
 */
import type { Seq } from '../../base/brands.ts';
import { compareRange } from '../../base/bytes.ts';
import { expiresBy } from '../../format/expiry.ts';
import { boundsOf, decodeInternalKey, seqBytes, seqOf, writeSeq } from '../../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import { END, type KeyCursor, MISS, OK, type Step } from '../../tree/cursor.ts';
import type { RangeSet } from '../../tree/range-rows.ts';

/** What rows a scan shows. Arrays are borrowed for as long as it lives. */
export interface RowPlan {
  readonly space: number;
  /** Versions above it are not seen. */
  readonly view: Seq;
  /** Versions that expire by then are passed over, ms since 1970. */
  readonly expiryMs: number;
  /** User keys begin with it; folding starts behind it. */
  readonly prefix: Uint8Array;
  readonly delimiter: Uint8Array | undefined;
  /** Internal keys: from <= key < to. */
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
  readonly reverse: boolean;
}

/** Rows of one key passed over one by one before the cursor seeks behind them. */
const stepsBeforeSeek = 8;

const moves = { next: 0, seek: 1, seekBefore: 2, last: 3, stop: 4 } as const;
type Move = (typeof moves)[keyof typeof moves];

/** Walks a cursor. After OK it stands on the row shown, unless `fold` is set. */
export class ScanRows {
  readonly cursor: KeyCursor;
  /** After OK: the key up to and including the first delimiter, which stands for all keys it begins. */
  fold: Uint8Array | undefined;
  readonly #plan: RowPlan;
  readonly #ranges: RangeSet | undefined;
  readonly #key = new Prefix();
  /** Rows met behind the one that decided its key. */
  #older = 0;
  /** Backwards: the key has been entered, its newest visible row is being looked for. */
  #inKey = false;
  /** The move the next step begins with, and where it goes. */
  #move: Move;
  #target: Uint8Array;

  /** `cursor` is taken and unpositioned; `ranges` hide rows of it. */
  constructor(cursor: KeyCursor, plan: RowPlan, ranges: RangeSet | undefined) {
    this.cursor = cursor;
    this.#plan = plan;
    this.#ranges = ranges;
    if (plan.reverse) this.#move = plan.to === undefined ? moves.last : moves.seekBefore;
    else this.#move = moves.seek;
    this.#target = plan.reverse ? (plan.to ?? plan.from) : plan.from;
  }

  /** Moves to the next row or prefix. MISS: `load`, then step again. VARVE_CORRUPT on damage. */
  step(): Step {
    return this.#plan.reverse ? this.#backward() : this.#forward();
  }

  load(): Promise<void> {
    return this.cursor.load();
  }

  #forward(): Step {
    const cursor = this.cursor;
    const plan = this.#plan;
    const key = this.#key;
    for (;;) {
      const step = this.#moveOn();
      if (step !== OK) return step;
      const { keyBytes, keyFrom, keyTo } = cursor;
      if (plan.to !== undefined && compareRange(keyBytes, keyFrom, keyTo, plan.to, 0, plan.to.length) >= 0) {
        return END;
      }
      this.#move = moves.next;
      if (key.matches(keyBytes, keyFrom, keyTo)) {
        this.#older++;
        if (this.#older === stepsBeforeSeek) this.#go(moves.seek, key.withSeq(0));
        continue;
      }
      if (!this.#decides()) continue;
      key.take(keyBytes, keyFrom, keyTo);
      this.#older = 0;
      if (!this.#isLive()) continue;
      this.fold = this.#foldHere();
      if (this.fold === undefined) return OK;
      const { to } = boundsOf({ prefix: this.fold }, plan.space);
      if (to === undefined) this.#move = moves.stop;
      else this.#go(moves.seek, to);
      return OK;
    }
  }

  /** A key's rows lie newest first, so each key is entered from its end and sought again. */
  #backward(): Step {
    const cursor = this.cursor;
    const plan = this.#plan;
    const key = this.#key;
    for (;;) {
      const step = this.#moveOn();
      if (step === MISS) return MISS;
      if (!this.#inKey) {
        if (step !== OK) return step;
        const { keyBytes, keyFrom, keyTo } = cursor;
        if (compareRange(keyBytes, keyFrom, keyTo, plan.from, 0, plan.from.length) < 0) return END;
        key.take(keyBytes, keyFrom, keyTo);
        this.#inKey = true;
        this.#go(moves.seek, key.withSeq(plan.view));
        continue;
      }
      const isHere = step === OK && key.matches(cursor.keyBytes, cursor.keyFrom, cursor.keyTo);
      if (isHere && !this.#decides()) {
        this.#move = moves.next;
        continue;
      }
      this.#inKey = false;
      this.#go(moves.seekBefore, key.withSeq(Number.MAX_SAFE_INTEGER));
      if (!isHere || !this.#isLive()) continue;
      this.fold = this.#foldHere();
      if (this.fold !== undefined) this.#target = boundsOf({ prefix: this.fold }, plan.space).from;
      return OK;
    }
  }

  #go(move: Move, target: Uint8Array): void {
    this.#move = move;
    this.#target = target;
  }

  #moveOn(): Step {
    switch (this.#move) {
      case moves.next:
        return this.cursor.next();
      case moves.seek:
        return this.cursor.seek(this.#target);
      case moves.seekBefore:
        return this.cursor.seekBefore(this.#target);
      case moves.last:
        return this.cursor.last();
      default:
        return END;
    }
  }

  /** The row decides what the view sees of its key. */
  #decides(): boolean {
    const { keyBytes, keyTo, valueBytes, valueFrom } = this.cursor;
    return seqOf(keyBytes, keyTo) <= this.#plan.view && rowKindAt(valueBytes, valueFrom) !== rowKinds.gone;
  }

  /** A value, and not deleted by a range. */
  #isLive(): boolean {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom } = this.cursor;
    if (rowKindAt(valueBytes, valueFrom) !== rowKinds.put) return false;
    if (expiresBy(valueBytes, valueFrom, this.#plan.expiryMs)) return false;
    const ranges = this.#ranges;
    if (ranges === undefined || ranges.isEmpty) return true;
    return !ranges.hides(keyBytes, keyFrom, keyTo - seqBytes, seqOf(keyBytes, keyTo), this.#plan.view);
  }

  #foldHere(): Uint8Array | undefined {
    const { delimiter, prefix } = this.#plan;
    if (delimiter === undefined) return undefined;
    const { keyBytes, keyFrom, keyTo } = this.cursor;
    return foldOf(
      decodeInternalKey(keyBytes, keyFrom, keyTo, { file: 'key tree' }).userKey,
      prefix,
      delimiter,
    );
  }
}

/** The key up to and including the first delimiter behind the prefix; undefined where there is none. */
export function foldOf(key: Uint8Array, prefix: Uint8Array, delimiter: Uint8Array): Uint8Array | undefined {
  for (let at = prefix.length; at + delimiter.length <= key.length; at++) {
    let i = 0;
    while (i < delimiter.length && key[at + i] === delimiter[i]) i++;
    if (i === delimiter.length) return key.slice(0, at + delimiter.length);
  }
  return undefined;
}

/** The row prefix of a key, remembered while the cursor moves. */
class Prefix {
  #bytes: Uint8Array = new Uint8Array(256);
  /** -1: of no key. */
  #length = -1;

  take(key: Uint8Array, from: number, to: number): void {
    const length = to - from - seqBytes;
    if (length + seqBytes > this.#bytes.length) this.#bytes = new Uint8Array(2 * (length + seqBytes));
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) bytes[i] = key[from + i]!;
    this.#length = length;
  }

  matches(key: Uint8Array, from: number, to: number): boolean {
    const length = this.#length;
    if (to - from - seqBytes !== length) return false;
    const bytes = this.#bytes;
    // From the end: neighbours differ there.
    for (let i = length - 1; i >= 0; i--) if (key[from + i] !== bytes[i]) return false;
    return true;
  }

  /** The internal key of this prefix at `seq`, a fresh array. */
  withSeq(seq: Seq): Uint8Array {
    const end = writeSeq(this.#bytes, this.#length, seq);
    return this.#bytes.slice(0, end);
  }
}
