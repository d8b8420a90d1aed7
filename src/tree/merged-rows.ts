/**
 * The rows that a merge of tables keeps, as a source for the table writer: cut into tables between keys,
 * with every row that goes in or is dropped counted.
 *
 * Invariants (test/tree/compaction.test.ts)
 * - All versions of a key go to one table ("versions of a key stay in one table").
 * - Every row read is either given out or counted as dropped, with its bytes ("a merge equals the model").
 * - Memory: one piece per input, three rows.
 */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import { compareRange, copyRange } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { decodeLayout } from '../codec/layout.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { parseValueRecord, recordHead } from '../format/value-record.ts';
import { END, type KeyCursor, MISS, OK, type RowSource, type Step } from './cursor.ts';
import type { DeeperRanges } from './deeper-ranges.ts';
import type { MergeSlice } from './merge-slice.ts';
import { type RowRetention, verdicts } from './row-retention.ts';

/** A row held back or remembered: bytes of its own, reused. */
class RowCopy {
  bytes: Uint8Array = new Uint8Array(512);
  keyTo = 0;
  valueTo = 0;

  take({ keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo }: RowSource): void {
    this.keyTo = keyTo - keyFrom;
    this.valueTo = this.keyTo + valueTo - valueFrom;
    if (this.valueTo > this.bytes.length) this.bytes = new Uint8Array(2 * this.valueTo);
    copyRange(keyBytes, keyFrom, keyTo, this.bytes, 0);
    copyRange(valueBytes, valueFrom, valueTo, this.bytes, this.keyTo);
  }

  /** A row without its value. */
  takeKey(keyBytes: Uint8Array, keyFrom: number, keyTo: number): void {
    this.keyTo = keyTo - keyFrom;
    this.valueTo = this.keyTo;
    if (this.keyTo > this.bytes.length) this.bytes = new Uint8Array(2 * this.keyTo);
    copyRange(keyBytes, keyFrom, keyTo, this.bytes, 0);
  }
}

/** With the row the merge stands on: go to the next one, give it, or decide about it. */
const onwards = { move: 1, give: 2, decide: 3 } as const;

/** What was read and what became of it. */
export interface RowCounts {
  rows: number;
  bytes: number;
}

/** `more` begins a table; then it is a RowSource until END. One pass, front to back. */
export class MergedRows implements RowSource {
  keyBytes: Uint8Array;
  keyFrom = 0;
  keyTo = 0;
  valueBytes: Uint8Array;
  valueFrom = 0;
  valueTo = 0;
  readonly read: RowCounts = { rows: 0, bytes: 0 };
  readonly given: RowCounts = { rows: 0, bytes: 0 };
  readonly superseded: RowCounts = { rows: 0, bytes: 0 };
  readonly deletes: RowCounts = { rows: 0, bytes: 0 };
  readonly #merge: KeyCursor;
  readonly #retention: RowRetention;
  readonly #deeper: DeeperRanges;
  readonly #slice: MergeSlice;
  readonly #tableBytes: number;
  /** Row prefix of the key under way. */
  readonly #key = new RowCopy();
  readonly #held = new RowCopy();
  #holds = false;
  /** A GONE row that goes if its version follows. */
  readonly #gone = new RowCopy();
  #awaits = false;
  /** Rows held back that stay: they are given before anything else is done. */
  readonly #out: RowCopy[] = [];
  #outAt = 0;
  /** What is done after them. */
  #onward: (typeof onwards)[keyof typeof onwards] = 1;
  #started = false;
  #rests = false;
  #ended = false;
  /** The current row is known and was not given yet. */
  #ready = false;
  #inTable = 0;
  #keyGiven = false;

  /** `merge`: all inputs, rows in order. A table ends at the first new key after `tableBytes`. */
  constructor(
    merge: KeyCursor,
    retention: RowRetention,
    deeper: DeeperRanges,
    slice: MergeSlice,
    tableBytes: number,
  ) {
    this.#merge = merge;
    this.#retention = retention;
    this.#deeper = deeper;
    this.#slice = slice;
    this.#tableBytes = tableBytes;
    this.keyBytes = this.#held.bytes;
    this.valueBytes = this.#held.bytes;
  }

  /** True when there is a row for a further table. */
  async more(): Promise<boolean> {
    while (!this.#ready) {
      const step = this.#find();
      if (step === END) return false;
      if (step === MISS) await this.load();
      else this.#ready = true;
    }
    this.#inTable = 0;
    return true;
  }

  first(): Step {
    assert(this.#ready, 'a table begins with a row');
    return this.#give();
  }

  next(): Step {
    if (!this.#ready) {
      const step = this.#find();
      if (step !== OK) return step;
      this.#ready = true;
    }
    return this.#inTable >= this.#tableBytes && !this.#keyGiven ? END : this.#give();
  }

  async load(): Promise<void> {
    this.#slice.check();
    if (!this.#rests) return await this.#merge.load();
    this.#rests = false;
    await this.#slice.rest();
  }

  #give(): Step {
    this.#ready = false;
    this.#keyGiven = true;
    const bytes = this.keyTo - this.keyFrom + this.valueTo - this.valueFrom;
    this.#inTable += bytes;
    this.given.rows++;
    this.given.bytes += bytes;
    return OK;
  }

  /** Goes to the next row that is kept. */
  #find(): Step {
    for (;;) {
      if (this.#outAt < this.#out.length) return this.#standOn(this.#out[this.#outAt++]!);
      this.#out.length = 0;
      this.#outAt = 0;
      const onward = this.#onward;
      this.#onward = onwards.move;
      if (onward === onwards.give) return this.#stand(this.#merge);
      if (onward === onwards.move) {
        const step = this.#move();
        if (step === MISS) return MISS;
        if (step === END) {
          if (this.#out.length > 0) continue;
          return END;
        }
      }
      if (this.#decide()) return this.#stand(this.#merge);
    }
  }

  /** The next row of the merge; at its end what was held back is let go. */
  #move(): Step {
    if (this.#ended) return END;
    if (this.#slice.isOver()) {
      this.#rests = true;
      return MISS;
    }
    const step = this.#started ? this.#merge.next() : this.#merge.first();
    if (step === MISS) return MISS;
    this.#started = true;
    if (step === OK) return OK;
    this.#ended = true;
    if (this.#awaits) this.#giveHeld();
    this.#dropHeld();
    return END;
  }

  /** True when the row of the merge is to be given at once; else it is counted, held, or waits its turn. */
  #decide(): boolean {
    if (this.#awaits && !this.#isPartner()) {
      // The GONE row stays, and with it the delete marker above it.
      this.#giveHeld();
      this.#onward = onwards.decide;
      return false;
    }
    const verdict = this.#judge();
    if (verdict === verdicts.pair) {
      if (this.#awaits) this.#dropGone();
      this.#gone.take(this.#merge);
      this.#awaits = true;
    } else if (this.#awaits) this.#dropGone();
    if (verdict !== verdicts.keep) return false;
    if (!this.#holds && !this.#awaits) return true;
    this.#giveHeld();
    this.#onward = onwards.give;
    return false;
  }

  /** The GONE row goes, with its version. */
  #dropGone(): void {
    this.#awaits = false;
    this.superseded.rows++;
    this.superseded.bytes += this.#gone.valueTo;
  }

  /** Rows that were held back come next. */
  #giveHeld(): void {
    if (this.#holds) this.#out.push(this.#held);
    if (this.#awaits) this.#out.push(this.#gone);
    this.#holds = false;
    this.#awaits = false;
  }

  /** The row of the merge is the version that the awaiting GONE row takes away. */
  #isPartner(): boolean {
    const { keyBytes, keyFrom, keyTo } = this.#merge;
    return compareRange(keyBytes, keyFrom, keyTo, this.#gone.bytes, 0, this.#gone.keyTo) === 0;
  }

  #judge(): number {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = this.#merge;
    const bytes = keyTo - keyFrom + valueTo - valueFrom;
    this.read.rows++;
    this.read.bytes += bytes;
    const prefixTo = keyTo - seqBytes;
    const key = this.#key;
    const isFirst = this.read.rows === 1;
    if (isFirst || compareRange(keyBytes, keyFrom, prefixTo, key.bytes, 0, key.keyTo - seqBytes) !== 0) {
      this.#dropHeld();
      key.takeKey(keyBytes, keyFrom, keyTo);
      this.#keyGiven = false;
      this.#retention.begin(keyBytes, keyFrom);
    }
    const head = valueFrom < valueTo ? valueBytes[valueFrom]! : 0;
    const purgedAt = (head & 15) === rowKinds.gone ? goneSeqOf(valueBytes, valueFrom, valueTo) : undefined;
    const timeMs = this.#retention.byTime ? commitTimeOf(valueBytes, valueFrom, valueTo) : 0;
    const verdict = this.#retention.judge(seqOf(keyBytes, keyTo), head, purgedAt, timeMs);
    if (verdict === verdicts.drop) {
      this.superseded.rows++;
      this.superseded.bytes += bytes;
    } else if (verdict === verdicts.hold) {
      if (this.#deeper.covers(keyBytes, keyFrom, prefixTo)) return verdicts.keep;
      this.#held.take(this.#merge);
      this.#holds = true;
    }
    return verdict;
  }

  /** Nothing of its key came after the delete marker: it goes. */
  #dropHeld(): void {
    if (!this.#holds) return;
    this.#holds = false;
    this.deletes.rows++;
    this.deletes.bytes += this.#held.valueTo;
  }

  #stand({ keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo }: RowSource): Step {
    this.keyBytes = keyBytes;
    this.keyFrom = keyFrom;
    this.keyTo = keyTo;
    this.valueBytes = valueBytes;
    this.valueFrom = valueFrom;
    this.valueTo = valueTo;
    return OK;
  }

  #standOn({ bytes, keyTo, valueTo }: RowCopy): Step {
    this.keyBytes = bytes;
    this.keyFrom = 0;
    this.keyTo = keyTo;
    this.valueBytes = bytes;
    this.valueFrom = keyTo;
    this.valueTo = valueTo;
    return OK;
  }
}

/** The number of the commit that purged, from the value of a GONE row; VARVE_CORRUPT when it has none. */
function goneSeqOf(bytes: Uint8Array, from: number, to: number): Seq {
  return parseValueRecord(bytes, from, to, { file: 'table' }).goneSeq;
}

/** The commit time of a row of the key tree, from its head; VARVE_CORRUPT when it has none. */
function commitTimeOf(bytes: Uint8Array, from: number, to: number): number {
  if (to - from < recordHead.size) throw corrupt('a row is shorter than its head', { file: 'table' });
  return decodeLayout(recordHead, bytes, from, { file: 'table' }).commitTimeMs;
}
