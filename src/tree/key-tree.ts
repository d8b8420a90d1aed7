/**
 * One ordered tree (K, X or S): the active memtable, frozen ones on their way to disk, and tables.
 *
 * A lookup goes from the newest source to the oldest and ends at the first ordinary row at or below its
 * sequence number: ordinary rows of an older source are older. GONE rows and late deletes are not so ordered
 * (format/row-kinds.ts); where one is met the sources are merged, in which every row has its place. A version
 * that a range delete hides is no answer (range-rows.ts).
 *
 * Invariants
 * - A lookup equals a linear search of all rows ever inserted ("tree equals a model under random inserts,
 *   freezes and flushes").
 * - A view reads the same rows whatever is frozen or installed after it ("a view keeps its rows while inserts
 *   and flushes go on").
 */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import { compareRange } from '../base/bytes.ts';
import { hashKey32 } from '../codec/key-hash.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { parseValueRecord } from '../format/value-record.ts';
import type { BlockHold } from './block-hold.ts';
import { END, type KeyCursor, MISS, OK, type Step } from './cursor.ts';
import { KeyMemtable } from './key-memtable.ts';
import { LostTables } from './lost-tables.ts';
import { MergeCursor } from './merge-cursor.ts';
import type { RangeRows, RangeSet } from './range-rows.ts';
import type { RowRef } from './row-ref.ts';
import { newestFirst } from './table-order.ts';
import type { KeyTable } from './table-reader.ts';

/** Rows of one ordered tree in memory and on disk. */
export class KeyTree {
  readonly #memtableBytes: number;
  #active: KeyMemtable;
  /** Newest first, as the tables. Both are replaced, never changed. */
  #frozen: readonly KeyMemtable[] = [];
  #tables: readonly KeyTable[];
  /** Tables that could not be opened: reads they could have answered are refused. */
  readonly lost: LostTables;
  readonly #ranges: RangeRows | undefined;

  /**
   * `tables` in any order, each held once for this tree (taken); `lost`: those that could not be opened;
   * `ranges`: what hides rows of this tree.
   */
  constructor(
    memtableBytes: number,
    tables: readonly KeyTable[],
    lost: readonly CatalogTable[] = [],
    ranges?: RangeRows,
  ) {
    this.#memtableBytes = memtableBytes;
    this.#ranges = ranges;
    this.#active = new KeyMemtable({ bytesMax: memtableBytes });
    this.#tables = newestFirst(tables);
    this.lost = new LostTables(lost);
  }

  /** The memtable that takes inserts; another one after each freeze. */
  get active(): KeyMemtable {
    return this.#active;
  }

  get frozen(): readonly KeyMemtable[] {
    return this.#frozen;
  }

  get tables(): readonly KeyTable[] {
    return this.#tables;
  }

  /** Adds a row (copied), see KeyMemtable.insert. Not durable: the log is. */
  insert(
    keyBuf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueBuf: Uint8Array,
    valueFrom: number,
    valueTo: number,
  ): void {
    this.#active.insert(keyBuf, keyFrom, keyTo, valueBuf, valueFrom, valueTo);
  }

  /**
   * The row a reader at `seqMax` sees for the row prefix prefixBuf[from..to) (borrowed). OK: `out` has it,
   * and any kind but PUT says that the key is absent. END: no row, or a hidden one. MISS: load `out.pending`,
   * then call again with the same arguments. VARVE_CORRUPT from a damaged table. Allocates nothing on the way
   * to a row.
   */
  find(prefixBuf: Uint8Array, from: number, to: number, seqMax: number, out: RowRef): Step {
    out.pending.restart();
    if (this.#fromMemtable(this.#active, prefixBuf, from, to, seqMax, out)) {
      return this.#end(prefixBuf, from, to, seqMax, out);
    }
    for (let i = 0; i < this.#frozen.length; i++) {
      if (this.#fromMemtable(this.#frozen[i]!, prefixBuf, from, to, seqMax, out)) {
        return this.#end(prefixBuf, from, to, seqMax, out);
      }
    }
    const tables = this.#tables;
    if (tables.length > 0) {
      const hash = hashKey32(prefixBuf, from, to);
      for (let i = 0; i < tables.length; i++) {
        const table = tables[i]!;
        if (table.meta.minSeq > seqMax || !table.mayContain(hash)) continue;
        const step = table.find(prefixBuf, from, to, seqMax, out);
        if (step === MISS) return MISS;
        if (step === OK) return this.#end(prefixBuf, from, to, seqMax, out);
      }
    }
    out.pending.clear();
    if (this.lost.any) this.lost.refuseKey(prefixBuf, from, to, 0, seqMax);
    return END;
  }

  /** `find` that reads missing blocks on the calling thread; never MISS. */
  findSync(prefixBuf: Uint8Array, from: number, to: number, seqMax: number, out: RowRef): Step {
    for (;;) {
      const step = this.find(prefixBuf, from, to, seqMax, out);
      if (step !== MISS) return step;
      out.pending.loadSync();
    }
  }

  /** `find` that waits for missing blocks; never MISS. Prefix and `out` are borrowed until it settles. */
  async findAsync(
    prefixBuf: Uint8Array,
    from: number,
    to: number,
    seqMax: number,
    out: RowRef,
  ): Promise<Step> {
    for (;;) {
      const step = this.find(prefixBuf, from, to, seqMax, out);
      if (step !== MISS) return step;
      await out.pending.load();
    }
  }

  /** Pins the memtables and tables of this moment. Release it when done. */
  view(): TreeView {
    return new TreeView([this.#active, ...this.#frozen], this.#tables, this.#ranges?.current);
  }

  /** The same without tables that have no row above `seq`: for those who look for newer rows only. */
  viewAbove(seq: number): TreeView {
    const newer = this.#tables.filter(({ meta }) => meta.maxSeq > seq);
    return new TreeView([this.#active, ...this.#frozen], newer, this.#ranges?.current);
  }

  /** Freezes the active memtable unless it is empty; a new one takes over. */
  freeze(): KeyMemtable | undefined {
    if (this.#active.entries === 0) return undefined;
    const frozen = this.#active;
    frozen.freeze();
    this.#active = new KeyMemtable({ bytesMax: this.#memtableBytes });
    this.#frozen = [frozen, ...this.#frozen];
    return frozen;
  }

  /** Puts a table with the same rows in the place of the oldest frozen memtable (the table is taken). */
  replaceFrozen(memtable: KeyMemtable, table: KeyTable): void {
    assert(this.#frozen.at(-1) === memtable, 'the oldest frozen memtable is installed first');
    assert(table.meta.entries === memtable.entries, 'a table has the rows of its memtable');
    this.#frozen = this.#frozen.slice(0, -1);
    this.#tables = newestFirst([...this.#tables, table]);
  }

  /**
   * Puts the result of a merge (taken) in the place of its inputs, which are released; views keep theirs.
   */
  replaceTables(inputs: readonly KeyTable[], outputs: readonly KeyTable[]): void {
    const kept = this.#tables.filter((table) => !inputs.includes(table));
    assert(kept.length + inputs.length === this.#tables.length, 'a merge replaces tables of its tree');
    this.#tables = newestFirst([...kept, ...outputs]);
    for (const table of inputs) table.release();
  }

  /** Releases the tables; nothing may be looked up after it. */
  close(): void {
    for (const table of this.#tables) table.release();
    this.#tables = [];
  }

  #fromMemtable(
    memtable: KeyMemtable,
    prefixBuf: Uint8Array,
    from: number,
    to: number,
    seqMax: number,
    out: RowRef,
  ): boolean {
    if (memtable.entries === 0) return false;
    const handle = memtable.find(prefixBuf, from, to, seqMax);
    if (handle === -1) return false;
    out.bytes = memtable.arena;
    out.valueFrom = memtable.entryValueFrom(handle);
    out.valueTo = memtable.entryValueTo(handle);
    out.seq = memtable.entrySeq(handle);
    return true;
  }

  /** `out` has the first row that was met. */
  #end(prefixBuf: Uint8Array, from: number, to: number, seqMax: number, out: RowRef): Step {
    const { kind } = out;
    if (this.lost.any) this.lost.refuseKey(prefixBuf, from, to, out.seq, seqMax);
    if (kind === rowKinds.gone || kind === rowKinds.lateDelete) {
      const step = this.#findMerged(prefixBuf, from, to, seqMax, out);
      if (step === MISS) return MISS;
      out.pending.clear();
      return step === OK && this.#isHidden(prefixBuf, from, to, seqMax, out) ? END : step;
    }
    out.pending.clear();
    return this.#isHidden(prefixBuf, from, to, seqMax, out) ? END : OK;
  }

  #isHidden(prefixBuf: Uint8Array, from: number, to: number, seqMax: number, out: RowRef): boolean {
    const ranges = this.#ranges?.current;
    if (ranges === undefined || ranges.isEmpty || out.kind !== rowKinds.put) return false;
    return ranges.hides(prefixBuf, from, to, out.seq, seqMax);
  }

  /**
   * The lookup over the merge of all sources, newest sequence number first. A GONE row stands before the row
   * it takes away, and counts for readers at or above the commit that purged it.
   */
  #findMerged(prefixBuf: Uint8Array, from: number, to: number, seqMax: number, out: RowRef): Step {
    out.aim(prefixBuf, from, to, seqMax);
    const rows = mergeOf([this.#active, ...this.#frozen], this.#tables, out.pending);
    let step = rows.seek(out.target.slice(0, out.targetTo));
    for (; step === OK; step = rows.next()) {
      const { keyBytes, keyFrom, keyTo } = rows;
      if (keyTo - keyFrom !== to - from + seqBytes) return END;
      if (compareRange(keyBytes, keyFrom, keyTo - seqBytes, prefixBuf, from, to) !== 0) return END;
      out.bytes = rows.valueBytes;
      out.valueFrom = rows.valueFrom;
      out.valueTo = rows.valueTo;
      out.seq = seqOf(keyBytes, keyTo);
      if (out.kind !== rowKinds.gone) return OK;
      const row = parseValueRecord(out.bytes, out.valueFrom, out.valueTo, { file: 'key tree' });
      if (row.goneSeq <= seqMax) return OK;
    }
    return step;
  }
}

/** The rows of a tree at one moment: its memtables and tables, pinned until `release`. */
export class TreeView {
  readonly #memtables: readonly KeyMemtable[];
  readonly #tables: readonly KeyTable[];
  /** Ranges that hide rows the cursors show; undefined in a tree that has none. */
  readonly ranges: RangeSet | undefined;
  #released = false;

  constructor(memtables: readonly KeyMemtable[], tables: readonly KeyTable[], ranges?: RangeSet) {
    this.ranges = ranges;
    this.#memtables = memtables;
    this.#tables = tables;
    for (const table of tables) table.retain();
  }

  /**
   * A cursor over all rows of all kinds, versions of a key newest first; unpositioned. Rows inserted later
   * may appear in it: their sequence numbers are higher than those of any reader that took this view.
   * With `above` it may leave out rows with numbers at or below that, and goes forward only.
   */
  cursor(above?: Seq): KeyCursor {
    assert(!this.#released, 'a released view has no cursors');
    if (above === undefined) return mergeOf(this.#memtables, this.#tables);
    const tables = this.#tables.filter(({ meta }) => meta.maxSeq > above);
    return mergeOf(this.#memtables, tables, undefined, above);
  }

  /** Unpins; cursors of the view are over. Idempotent. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    for (const table of this.#tables) table.release();
  }
}

function mergeOf(
  memtables: readonly KeyMemtable[],
  tables: readonly KeyTable[],
  hold?: BlockHold,
  above?: Seq,
): KeyCursor {
  const sources = [
    // What is inserted into an empty one later has numbers above those its readers see.
    ...memtables.filter(({ entries }) => entries > 0).map((memtable) => memtable.cursor()),
    ...tables.map((table) => table.cursor(hold, above)),
  ];
  return sources.length === 1 ? sources[0]! : new MergeCursor(sources);
}
