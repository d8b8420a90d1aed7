/**
 * The chunk entries of a merge, cut into tables. Entries of one id become one, in which references are added
 * up and the newest location counts. An entry is dropped only where it says nothing any more: its count is 0,
 * no older source has a part of it, and its frame went with its segment.
 *
 * Invariants (test/tree/compaction.test.ts)
 * - Entries and references are the same before and after ("a merge of chunk tables keeps entries and
 *   counts").
 * - What is dropped no lookup would have found, and no count misses ("a merge drops entries of chunks that
 *   are gone, and no others").
 */
import { assert } from '../base/assert.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { type ChunkColumns, chunkEntryFlags } from '../format/chunk-table.ts';
import type { ChunkCursor, MergedChunks } from './chunk-cursor.ts';
import { END, MISS, OK, type Step } from './cursor.ts';
import type { DeeperRanges } from './deeper-ranges.ts';
import type { MergeSlice } from './merge-slice.ts';

/** True for an entry that says nothing: see the head of this file. The columns are borrowed. */
export type IsSpent = (columns: ChunkColumns) => boolean;

/** `more` begins a table; then it is a ChunkCursor until END. One pass. */
export class MergedEntries implements ChunkCursor {
  given = 0;
  givenRefs = 0;
  /** Entries that were not given. */
  dropped = 0;
  /** A count reached its bound: sums need not agree any more. */
  saturated = false;
  readonly #merge: MergedChunks;
  readonly #slice: MergeSlice;
  readonly #tableEntries: number;
  readonly #isSpent: IsSpent | undefined;
  readonly #deeper: DeeperRanges;
  #ready = false;
  #ended = false;
  #rests = false;
  #inTable = 0;

  /** `isSpent` undefined: nothing is dropped. */
  constructor(
    merge: MergedChunks,
    slice: MergeSlice,
    tableEntries: number,
    deeper: DeeperRanges,
    isSpent: IsSpent | undefined,
  ) {
    assert(tableEntries > 0, 'a table has entries');
    this.#merge = merge;
    this.#slice = slice;
    this.#tableEntries = tableEntries;
    this.#deeper = deeper;
    this.#isSpent = isSpent;
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
    for (;;) {
      if (this.#slice.isOver()) {
        this.#rests = true;
        return MISS;
      }
      const step = this.#merge.next();
      if (step === OK && this.#drops()) continue;
      this.#ended = step === END;
      this.#ready = step === OK;
      return step;
    }
  }

  #drops(): boolean {
    if (this.#isSpent === undefined || !this.#isSpent(this.columns)) return false;
    if (this.#deeper.covers(this.idBytes, this.idAt, this.idAt + chunkIdBytes)) return false;
    this.dropped++;
    return true;
  }
}
