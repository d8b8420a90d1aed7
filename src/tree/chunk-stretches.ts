/**
 * All entries of the chunk tree once, in the order of their ids, stretch by stretch: what a whole scan reads.
 *
 * Between two entries of other sources the entries of one source lie side by side in its block; they are
 * handed on as they lie there, so that an entry costs no call and no object. Only an id that several sources
 * have is added up in an entry of its own.
 *
 * Invariants (test/tree/chunk-stretches.test.ts)
 * - The entries are those of MergedChunks ("stretches have the entries of a scan, however sources overlap").
 * - A run is read table by table ("a run whose tables are out of order is damage").
 */
import { assert } from '../base/assert.ts';
import { viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { ChunkColumns, chunkEntry, compareChunkIds } from '../format/chunk-table.ts';
import { filePath } from '../format/file-names.ts';
import { ChunkSum, readSlot } from './chunk-cursor.ts';
import type { ChunkMemtable } from './chunk-memtable.ts';
import type { ChunkStretches, ChunkTableBlocks } from './chunk-table-blocks.ts';
import type { ChunkTable } from './chunk-table-reader.ts';
import { END, MISS, OK, type Step } from './cursor.ts';

const entryBytes = chunkEntry.size;
/** Entries of a memtable copied at once. */
const copiedEntries = 1024;

/**
 * Takes the entries at bytes[from..to), 56 B each as in a chunk table (`view` is of `bytes`); all borrowed
 * until it returns.
 */
export type TakeEntries = (bytes: Uint8Array, view: DataView, from: number, to: number) => void;

/** Entries of a memtable: of a frozen one piece by piece, of a live one all at once, as they are now. */
export class MemtableStretches implements ChunkStretches {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly from = 0;
  to = 0;
  readonly #memtable: ChunkMemtable;
  readonly #slots: Uint32Array;
  readonly #columns = new ChunkColumns();
  #position = 0;
  #copied: boolean;

  constructor(memtable: ChunkMemtable) {
    this.#memtable = memtable;
    this.#slots = memtable.sorted();
    const room = memtable.frozen ? Math.min(copiedEntries, this.#slots.length) : this.#slots.length;
    this.bytes = new Uint8Array(room * entryBytes);
    this.view = viewOf(this.bytes);
    this.#copied = !memtable.frozen;
    if (this.#copied) this.#copy();
  }

  next(): Step {
    if (!this.#copied) this.#copy();
    this.#copied = false;
    return this.to > 0 ? OK : END;
  }

  async load(): Promise<void> {
    // Never misses.
  }

  #copy(): void {
    const memtable = this.#memtable;
    const end = Math.min(this.#slots.length, this.#position + this.bytes.length / entryBytes);
    this.to = 0;
    for (; this.#position < end; this.#position++) {
      const slot = this.#slots[this.#position]!;
      readSlot(memtable, slot, this.#columns);
      this.#columns.write(this.view, this.to, memtable.ids, memtable.idFrom(slot));
      this.to += entryBytes;
    }
  }
}

/**
 * Entries of a run: of its tables, whose ranges do not meet, one after another. They are held by the caller.
 */
export class RunStretches implements ChunkStretches {
  readonly #tables: readonly ChunkTable[];
  #table = 0;
  #blocks: ChunkTableBlocks;
  /** The first stretch of a table is to come. */
  #starts = false;

  /** At least one table, in the order of their ids. */
  constructor(tables: readonly ChunkTable[]) {
    assert(tables.length > 0, 'a run has tables');
    this.#tables = tables;
    this.#blocks = tables[0]!.scanBlocks();
  }

  get bytes(): Uint8Array {
    return this.#blocks.bytes;
  }
  get view(): DataView {
    return this.#blocks.view;
  }
  get from(): number {
    return this.#blocks.from;
  }
  get to(): number {
    return this.#blocks.to;
  }

  next(): Step {
    for (;;) {
      const step = this.#blocks.next();
      if (step === OK && this.#starts) this.#checkStart();
      if (step !== END || this.#table + 1 === this.#tables.length) return step;
      this.#table++;
      this.#blocks = this.#tables[this.#table]!.scanBlocks();
      this.#starts = true;
    }
  }

  load(): Promise<void> {
    return this.#blocks.load();
  }

  #checkStart(): void {
    this.#starts = false;
    const { maxKey } = this.#tables[this.#table - 1]!.meta;
    if (compareChunkIds(maxKey, 0, this.bytes, this.from) < 0) return;
    const file = filePath('tab', this.#tables[this.#table]!.no);
    throw corrupt('chunk table begins before the one before it ends', { file, offset: 0 });
  }
}

/** One entry per id over all sources (newest first, taken): see ChunkSum. Goes forward only. */
export class MergedStretches {
  readonly #sources: readonly ChunkStretches[];
  /** Of each source: its current entry, and the first 6 bytes of the id as a number. */
  readonly #at: Float64Array;
  readonly #heads: Float64Array;
  /** Sources that stand on an entry, in the order of their ids, newest first where they are equal. */
  readonly #order: number[] = [];
  /** Sources still to be moved to their next stretch. */
  readonly #behind: number[];
  readonly #sum = new ChunkSum();
  readonly #columns = new ChunkColumns();
  readonly #joined = new Uint8Array(entryBytes);
  readonly #joinedView = viewOf(this.#joined);

  constructor(sources: readonly ChunkStretches[]) {
    this.#sources = sources;
    this.#at = new Float64Array(sources.length);
    this.#heads = new Float64Array(sources.length);
    this.#behind = sources.map((_, i) => i);
  }

  /**
   * Gives `take` about `max` further entries. OK: there may be more. END: that was all. MISS: `load`, then go
   * on. VARVE_CORRUPT and VARVE_FORMAT_VERSION of the tables.
   */
  run(max: number, take: TakeEntries): Step {
    for (let left = max; left > 0; ) {
      if (!this.#catchUp()) return MISS;
      const first = this.#order[0];
      if (first === undefined) return END;
      const second = this.#order[1];
      const bound = second === undefined ? Number.POSITIVE_INFINITY : this.#heads[second]!;
      left -= this.#heads[first]! < bound ? this.#pass(first, bound, left, take) : this.#join(take);
    }
    return OK;
  }

  /** Reads what the sources miss. */
  async load(): Promise<void> {
    const results = await Promise.allSettled(this.#behind.map((i) => this.#sources[i]!.load()));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Hands on the entries of a source below the next one of any other; returns their number. */
  #pass(index: number, bound: number, max: number, take: TakeEntries): number {
    const source = this.#sources[index]!;
    const { view } = source;
    const from = this.#at[index]!;
    const end = Math.min(source.to, from + max * entryBytes);
    let to = from + entryBytes;
    if (bound === Number.POSITIVE_INFINITY) to = end;
    else while (to < end && headOf(view, to) < bound) to += entryBytes;
    take(source.bytes, view, from, to);
    this.#settleFirst(to);
    return (to - from) / entryBytes;
  }

  /** Adds up all entries of the lowest id. Every source that has one stands on it. */
  #join(take: TakeEntries): number {
    const joined = this.#joined;
    const sum = this.#sum;
    let count = 0;
    sum.clear();
    do {
      const index = this.#order[0]!;
      const { bytes } = this.#sources[index]!;
      const at = this.#at[index]!;
      if (count++ === 0) joined.set(bytes.subarray(at, at + chunkEntry.at.segment));
      this.#columns.read(bytes, at);
      sum.add(this.#columns);
      this.#settleFirst(at + entryBytes);
    } while (this.#order.length > 0 && this.#isJoined(this.#order[0]!));
    sum.columns.write(this.#joinedView, 0, joined, 0);
    take(joined, this.#joinedView, 0, entryBytes);
    return count;
  }

  #isJoined(index: number): boolean {
    return compareChunkIds(this.#sources[index]!.bytes, this.#at[index]!, this.#joined, 0) === 0;
  }

  /** The first source moved to `at`: it goes to its new place, or is behind. */
  #settleFirst(at: number): void {
    const order = this.#order;
    const index = order[0]!;
    const source = this.#sources[index]!;
    if (at === source.to) {
      order.shift();
      this.#behind.push(index);
      return;
    }
    this.#at[index] = at;
    this.#heads[index] = headOf(source.view, at);
    let place = 0;
    for (; place + 1 < order.length && this.#precedes(order[place + 1]!, index); place++) {
      order[place] = order[place + 1]!;
    }
    order[place] = index;
  }

  /** Moves every source that is behind; false while some of them miss. */
  #catchUp(): boolean {
    const behind = this.#behind;
    if (behind.length === 0) return true;
    let left = 0;
    for (let i = 0; i < behind.length; i++) {
      const index = behind[i]!;
      const step = this.#sources[index]!.next();
      if (step === OK) this.#enter(index);
      else if (step === MISS) behind[left++] = index;
    }
    behind.length = left;
    return left === 0;
  }

  #enter(index: number): void {
    const { view, from } = this.#sources[index]!;
    this.#at[index] = from;
    this.#heads[index] = headOf(view, from);
    const order = this.#order;
    let place = order.length;
    order.push(index);
    for (; place > 0 && this.#precedes(index, order[place - 1]!); place--) order[place] = order[place - 1]!;
    order[place] = index;
  }

  #precedes(a: number, b: number): boolean {
    const difference = this.#heads[a]! - this.#heads[b]!;
    if (difference !== 0) return difference < 0;
    const x = this.#sources[a]!;
    const y = this.#sources[b]!;
    const order = compareChunkIds(x.bytes, this.#at[a]!, y.bytes, this.#at[b]!);
    return order !== 0 ? order < 0 : a < b;
  }
}

/** First 6 bytes of the id at `at`: numbers in the order of ids, as far as they tell them apart. */
function headOf(view: DataView, at: number): number {
  return view.getUint32(at) * 65_536 + view.getUint16(at + 4);
}
