/**
 * Cursor over a sorted run: the tables of a level, whose ranges do not meet, one behind the other. Only the
 * table it stands in is read: what a scan costs to begin, and what it holds, goes by the runs of a tree and
 * not by its tables.
 *
 * Invariants (test/tree/run-cursor.test.ts)
 * - Both directions, turned anywhere, go through the rows of all tables ("a run is gone through as one table
 *   would be").
 * - A move reads blocks of the table it comes to, and of no other ("a seek reads one table of a run").
 * - A move that answers MISS can be repeated until it ends ("a run without a cache ends every move").
 */
import { assert } from '../base/assert.ts';
import { compareBytes, emptyBytes } from '../base/bytes.ts';
import { END, type KeyCursor, MISS, OK, type Step } from './cursor.ts';
import type { KeyTable } from './table-reader.ts';

/** Which end of the table at hand is to be reached, where that is still to be done. */
const ends = { none: 0, first: 1, last: -1 } as const;
type End = (typeof ends)[keyof typeof ends];

/** See KeyCursor. Valid while its tables are held. */
export class RunCursor implements KeyCursor {
  keyBytes: Uint8Array = emptyBytes;
  keyFrom = 0;
  keyTo = 0;
  valueBytes: Uint8Array = emptyBytes;
  valueFrom = 0;
  valueTo = 0;
  readonly #tables: readonly KeyTable[];
  readonly #open: (table: KeyTable) => KeyCursor;
  /** Number of the table at hand; -1 = none yet. */
  #at = -1;
  #cursor: KeyCursor | undefined;
  #entering: End = ends.none;
  /** What was missed is loaded, and the move is being repeated: it goes on in the table it had come to. */
  #repeats = false;

  /** `tables` in the order of their keys; `open` makes a cursor of one. */
  constructor(tables: readonly KeyTable[], open: (table: KeyTable) => KeyCursor) {
    this.#tables = tables;
    this.#open = open;
  }

  first(): Step {
    return this.#enter(this.#resumes(ends.first) ? this.#at : 0, ends.first);
  }

  last(): Step {
    return this.#enter(this.#resumes(ends.last) ? this.#at : this.#tables.length - 1, ends.last);
  }

  seek(key: Uint8Array): Step {
    if (this.#resumes(ends.first)) return this.#enter(this.#at, ends.first);
    const number = this.#count((table) => compareBytes(table.meta.maxKey, key) < 0);
    if (number === this.#tables.length) return END;
    const step = this.#table(number).seek(key);
    // Where blocks without newer rows are passed over, the table may have nothing to show.
    return step === END ? this.#enter(number + 1, ends.first) : this.#moved(step, ends.none);
  }

  seekBefore(key: Uint8Array): Step {
    if (this.#resumes(ends.last)) return this.#enter(this.#at, ends.last);
    const number = this.#count((table) => compareBytes(table.meta.minKey, key) < 0) - 1;
    if (number === -1) return END;
    const step = this.#table(number).seekBefore(key);
    return step === END ? this.#enter(number - 1, ends.last) : this.#moved(step, ends.none);
  }

  next(): Step {
    this.#repeats = false;
    assert(this.#cursor !== undefined && this.#entering !== ends.last, 'a move that missed is repeated');
    if (this.#entering === ends.first) return this.#enter(this.#at, ends.first);
    const step = this.#cursor.next();
    return step === END ? this.#enter(this.#at + 1, ends.first) : this.#moved(step, ends.none);
  }

  prev(): Step {
    this.#repeats = false;
    assert(this.#cursor !== undefined && this.#entering !== ends.first, 'a move that missed is repeated');
    if (this.#entering === ends.last) return this.#enter(this.#at, ends.last);
    const step = this.#cursor.prev();
    return step === END ? this.#enter(this.#at - 1, ends.last) : this.#moved(step, ends.none);
  }

  async load(): Promise<void> {
    await this.#cursor?.load();
    this.#repeats = true;
  }

  loadSync(): void {
    this.#cursor?.loadSync();
    this.#repeats = true;
  }

  /** The move now begun is one that missed on its way to that end of a table. */
  #resumes(end: End): boolean {
    const resumes = this.#repeats && this.#entering === end;
    this.#repeats = false;
    return resumes;
  }

  /** How many tables, from the first on, are `before` what is sought. */
  #count(before: (table: KeyTable) => boolean): number {
    let low = 0;
    let high = this.#tables.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(this.#tables[middle]!)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** To the first row, or the last, of the table `from` or of the next one that way that shows any. */
  #enter(from: number, end: End): Step {
    for (let number = from; number >= 0 && number < this.#tables.length; number += end) {
      const cursor = this.#table(number);
      const step = end === ends.first ? cursor.first() : cursor.last();
      if (step !== END) return this.#moved(step, end);
    }
    this.#entering = ends.none;
    return END;
  }

  #table(number: number): KeyCursor {
    if (this.#cursor === undefined || number !== this.#at) {
      this.#cursor = this.#open(this.#tables[number]!);
      this.#at = number;
    }
    return this.#cursor;
  }

  /** `end`: where a move that missed was going in its table. */
  #moved(step: Step, end: End): Step {
    this.#entering = step === MISS ? end : ends.none;
    if (step !== OK) return step;
    const at = this.#cursor!;
    this.keyBytes = at.keyBytes;
    this.keyFrom = at.keyFrom;
    this.keyTo = at.keyTo;
    this.valueBytes = at.valueBytes;
    this.valueFrom = at.valueFrom;
    this.valueTo = at.valueTo;
    return OK;
  }
}
