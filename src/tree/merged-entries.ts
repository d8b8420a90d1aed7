/**
 * The chunk entries of a merge, cut into tables. Nothing is dropped: entries of one id become one, in which
 * references are added up and the newest location counts.
 *
 * Invariants (test/tree/compaction.test.ts)
 * - Entries and references are the same before and after ("a merge of chunk tables keeps entries and
 *   counts").
 */
import { assert } from '../base/assert.ts';
import { type ChunkColumns, chunkEntryFlags } from '../format/chunk-table.ts';
import type { ChunkCursor, MergedChunks } from './chunk-cursor.ts';
import { END, MISS, OK, type Step } from './cursor.ts';
import type { MergeSlice } from './merge-slice.ts';

/** `more` begins a table; then it is a ChunkCursor until END. One pass. */
export class MergedEntries implements ChunkCursor {
  given = 0;
  givenRefs = 0;
  /** A count reached its bound: sums need not agree any more. */
  saturated = false;
  readonly #merge: MergedChunks;
  readonly #slice: MergeSlice;
  readonly #tableEntries: number;
  #ready = false;
  #ended = false;
  #rests = false;
  #inTable = 0;

  constructor(merge: MergedChunks, slice: MergeSlice, tableEntries: number) {
    assert(tableEntries > 0, 'a table has entries');
    this.#merge = merge;
    this.#slice = slice;
    this.#tableEntries = tableEntries;
  }

  get idBytes(): Uint8Array {
    return this.#merge.idBytes;
  }

  get idAt(): number {
    return this.#merge.idAt;
  }

  get columns(): ChunkColumns {
    return this.#merge.columns;
  }

  /** True when there is an entry for a further table. */
  async more(): Promise<boolean> {
    while (!this.#ready) {
      const step = this.#find();
      if (step === END) return false;
      if (step === MISS) await this.load();
    }
    this.#inTable = 0;
    return true;
  }

  next(): Step {
    if (this.#inTable === this.#tableEntries) return END;
    if (!this.#ready) {
      const step = this.#find();
      if (step !== OK) return step;
    }
    this.#ready = false;
    this.#inTable++;
    this.given++;
    const { refs, flags } = this.columns;
    this.givenRefs += refs;
    if ((flags & chunkEntryFlags.saturated) !== 0) this.saturated = true;
    return OK;
  }

  async load(): Promise<void> {
    this.#slice.check();
    if (!this.#rests) return await this.#merge.load();
    this.#rests = false;
    await this.#slice.rest();
  }

  #find(): Step {
    if (this.#ended) return END;
    if (this.#slice.isOver()) {
      this.#rests = true;
      return MISS;
    }
    const step = this.#merge.next();
    this.#ended = step === END;
    this.#ready = step === OK;
    return step;
  }
}
