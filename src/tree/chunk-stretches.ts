/**
 * The entries of memtables and of runs of tables, stretch by stretch, in the order of their ids.
 *
 * Invariants (test/tree/chunk-stretches.test.ts)
 * - A run is read table by table ("a run whose tables are out of order is damage").
 */
import { assert } from '../base/assert.ts';
import { viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { ChunkColumns, chunkEntry, compareChunkIds } from '../format/chunk-table.ts';
import { filePath } from '../format/file-names.ts';
import { readSlot } from './chunk-cursor.ts';
import type { ChunkMemtable } from './chunk-memtable.ts';
import type { ChunkStretches, ChunkTableBlocks } from './chunk-table-blocks.ts';
import type { ChunkTable } from './chunk-table-reader.ts';
import { END, OK, type Step } from './cursor.ts';

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
    this.#blocks = tables[0]!.scanBlocks(undefined, true);
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
      this.#blocks = this.#tables[this.#table]!.scanBlocks(undefined, true);
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
