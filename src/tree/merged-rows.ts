/**
 * The rows that a merge of tables keeps, as a source for the table writer: cut into tables between keys,
 * with every row that goes in or is dropped counted.
 *
 * Invariants (test/tree/compaction.test.ts)
 * - All versions of a key go to one table ("versions of a key stay in one table").
 * - Every row read is either given out or counted as dropped, with its bytes ("a merge equals the model").
 * - Memory: one piece per input, two rows.
 */
import { assert } from '../base/assert.ts';
import { compareRange } from '../base/bytes.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
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
    this.bytes.set(keyBytes.subarray(keyFrom, keyTo));
    this.bytes.set(valueBytes.subarray(valueFrom, valueTo), this.keyTo);
  }
}

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
  /** The merge stands on a kept row that comes after the held one. */
  #behindHeld = false;
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
    if (this.#behindHeld) {
      this.#behindHeld = false;
      return this.#stand(this.#merge);
    }
    while (!this.#ended) {
      if (this.#slice.isOver()) {
        this.#rests = true;
        return MISS;
      }
      const step = this.#started ? this.#merge.next() : this.#merge.first();
      if (step === MISS) return MISS;
      this.#started = true;
      if (step === END) {
        this.#ended = true;
        this.#dropHeld();
        return END;
      }
      if (this.#judge() === verdicts.keep) {
        if (!this.#holds) return this.#stand(this.#merge);
        this.#holds = false;
        this.#behindHeld = true;
        return this.#standOnHeld();
      }
    }
    return END;
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
      key.take(this.#merge);
      this.#keyGiven = false;
      this.#retention.begin(keyBytes, keyFrom);
    }
    const head = valueFrom < valueTo ? valueBytes[valueFrom]! : 0;
    const verdict = this.#retention.judge(seqOf(keyBytes, keyTo), head);
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

  #standOnHeld(): Step {
    const { bytes, keyTo, valueTo } = this.#held;
    this.keyBytes = bytes;
    this.keyFrom = 0;
    this.keyTo = keyTo;
    this.valueBytes = bytes;
    this.valueFrom = keyTo;
    this.valueTo = valueTo;
    return OK;
  }
}
