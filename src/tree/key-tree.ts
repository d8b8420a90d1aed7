/**
 * One ordered tree (K, X or S): the active memtable, frozen ones on their way to disk, and tables.
 *
 * A lookup goes from the newest source to the oldest and ends at the first ordinary row at or below its
 * sequence number: ordinary rows of an older source are older. GONE rows and late deletes are not so ordered
 * (format/row-kinds.ts); where one is met the sources are merged, in which every row has its place. A version
 * that a range delete hides is no answer (range-rows.ts).
 *
 * A lookup asks one filter for each sorted run (table-runs.ts), and reads at most one block where it says
 * maybe. Where it ended is remembered (row-memo.ts).
 *
 * Invariants
 * - "at most one block is read in each sorted run whose filter says maybe" (test/tree/lookup-bound.test.ts).
 * - A lookup equals a linear search of all rows ever inserted ("tree equals a model under random inserts,
 *   freezes and flushes").
 * - A view reads the same rows whatever is frozen or installed after it ("a view keeps its rows while inserts
 *   and flushes go on").
 */
import { assert } from '../base/assert.ts';
import { compareRange } from '../base/bytes.ts';
import { hashKey32 } from '../codec/key-hash.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { parseValueRecord } from '../format/value-record.ts';
import { remix } from './bloom.ts';
import { END, MISS, OK, type Step } from './cursor.ts';
import { KeyMemtable } from './key-memtable.ts';
import { LookupCounts } from './lookup-counts.ts';
import { LostTables } from './lost-tables.ts';
import type { PartRoom } from './part-room.ts';
import type { RangeRows } from './range-rows.ts';
import { type RecentFilter, RecentFilters } from './recent-filter.ts';
import { RowMemo } from './row-memo.ts';
import type { RowRef } from './row-ref.ts';
import type { KeyTable } from './table-reader.ts';
import { TableRuns } from './table-runs.ts';
import { mergeOf, runsAbove, TreeView } from './tree-view.ts';

/** Rows of one ordered tree in memory and on disk. */
export class KeyTree {
  readonly #memtableBytes: number;
  #active: KeyMemtable;
  /** Newest first. Replaced, never changed, as the tables are. */
  #frozen: readonly KeyMemtable[] = [];
  #runs: TableRuns<KeyTable>;
  /** Filters over memtables and tables of level 0 together; of each run, and the tables'. */
  readonly #recent: RecentFilters<KeyTable>;
  #recentOfRun: readonly (RecentFilter | undefined)[] = [];
  /** Highest number in a table. */
  #tableSeq = -1;
  /** What lookups have found in the tables there are now. */
  readonly memo: RowMemo;
  readonly counts: LookupCounts = new LookupCounts();
  /** Tables that could not be opened: reads they could have answered are refused. */
  readonly lost: LostTables;
  readonly #ranges: RangeRows | undefined;
  readonly #scanAheadBytes: number;

  /**
   * `tables` in any order, each held once for this tree (taken); `lost`: those that could not be opened;
   * `ranges`: what hides rows of this tree; `memoBytes`: for places of rows that were found, see RowMemo;
   * `scanAheadBytes`: what a cursor of a view reads ahead, over all tables; `filters`: the room of filters
   * over what was inserted lately, none when omitted.
   */
  constructor(
    memtableBytes: number,
    tables: readonly KeyTable[],
    lost: readonly CatalogTable[] = [],
    ranges?: RangeRows,
    memoBytes = 0,
    scanAheadBytes = 0,
    filters?: PartRoom,
  ) {
    this.#scanAheadBytes = scanAheadBytes;
    this.#memtableBytes = memtableBytes;
    this.#ranges = ranges;
    this.#active = new KeyMemtable({ bytesMax: memtableBytes });
    this.#runs = new TableRuns<KeyTable>([]);
    this.#recent = new RecentFilters(filters);
    this.memo = new RowMemo(memoBytes);
    this.#setTables(tables);
    this.lost = new LostTables(lost);
  }

  /** The memtable that takes inserts; another one after each freeze. */
  get active(): KeyMemtable {
    return this.#active;
  }

  get frozen(): readonly KeyMemtable[] {
    return this.#frozen;
  }

  /** Newest rows of a key first. */
  get tables(): readonly KeyTable[] {
    return this.#runs.tables;
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
    let recent = this.#active.recent;
    const isAlone = recent === undefined && this.#frozen.length === 0 && this.#runs.length === 0;
    const hash = isAlone ? 0 : hashKey32(prefixBuf, from, to);
    let isDenied = recent !== undefined && !recent.mayContain(hash, remix(hash));
    if (!isDenied && this.#fromMemtable(this.#active, prefixBuf, from, to, seqMax, out)) {
      return this.#end(prefixBuf, from, to, seqMax, out);
    }
    for (let i = 0; i < this.#frozen.length; i++) {
      const frozen = this.#frozen[i]!;
      if (frozen.recent !== recent) {
        ({ recent } = frozen);
        isDenied = recent !== undefined && !recent.mayContain(hash, remix(hash));
      }
      if (!isDenied && this.#fromMemtable(frozen, prefixBuf, from, to, seqMax, out)) {
        return this.#end(prefixBuf, from, to, seqMax, out);
      }
    }
    if (this.#runs.length > 0) {
      const step = this.#fromTables(hash, isDenied ? recent : undefined, prefixBuf, from, to, seqMax, out);
      if (step === MISS) return MISS;
      if (step === OK) return this.#end(prefixBuf, from, to, seqMax, out);
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
    return this.#viewOf(this.#runs.runs);
  }

  /** The same without tables that have no row above `seq`: for those who look for newer rows only. */
  viewAbove(seq: number): TreeView {
    return this.#viewOf(runsAbove(this.#runs.runs, seq));
  }

  /** Freezes the active memtable unless it is empty; a new one takes over. */
  freeze(): KeyMemtable | undefined {
    if (this.#active.entries === 0) return undefined;
    const frozen = this.#active;
    frozen.freeze();
    const recent = this.#recent.next(frozen.recent, frozen.entries);
    this.#active = new KeyMemtable({ bytesMax: this.#memtableBytes }, recent);
    this.#frozen = [frozen, ...this.#frozen];
    return frozen;
  }

  /** Puts a table with the same rows in the place of the oldest frozen memtable (the table is taken). */
  replaceFrozen(memtable: KeyMemtable, table: KeyTable): void {
    assert(this.#frozen.at(-1) === memtable, 'the oldest frozen memtable is installed first');
    assert(table.meta.entries === memtable.entries, 'a table has the rows of its memtable');
    this.#frozen = this.#frozen.slice(0, -1);
    this.#recent.flushed(table, memtable.recent);
    this.#setTables([...this.tables, table]);
  }

  /**
   * Puts the result of a merge (taken) in the place of its inputs, which are released; views keep theirs.
   */
  replaceTables(inputs: readonly KeyTable[], outputs: readonly KeyTable[]): void {
    const kept = this.tables.filter((table) => !inputs.includes(table));
    assert(kept.length + inputs.length === this.tables.length, 'a merge replaces tables of its tree');
    this.#recent.merged(inputs, this.#memtableFilters());
    this.#setTables([...kept, ...outputs]);
    for (const table of inputs) table.release();
  }

  /** Releases the tables; nothing may be looked up after it. */
  close(): void {
    for (const table of this.tables) table.release();
    this.#recent.close(this.#memtableFilters());
    this.#setTables([]);
  }

  #memtableFilters(): (RecentFilter | undefined)[] {
    return [this.#active, ...this.#frozen].map(({ recent }) => recent);
  }

  #viewOf(runs: readonly (readonly KeyTable[])[]): TreeView {
    const memtables = [this.#active, ...this.#frozen];
    return new TreeView(memtables, runs, this.#ranges?.current, this.#scanAheadBytes);
  }

  #setTables(tables: readonly KeyTable[]): void {
    this.#runs = new TableRuns(tables);
    // Deeper levels are made by merges: their tables have none.
    this.#recentOfRun = this.#runs.runs.map((run) => this.#recent.of(run[0]!));
    this.#tableSeq = tables.reduce((most, { meta }) => Math.max(most, meta.maxSeq), -1);
    this.memo.clear();
  }

  /**
   * The first row of the key, whose hash this is, that the tables have for a reader at `seqMax`. Those with
   * the filter `without` are known to have none.
   */
  #fromTables(
    hash: number,
    without: RecentFilter | undefined,
    prefixBuf: Uint8Array,
    from: number,
    to: number,
    seqMax: number,
    out: RowRef,
  ): Step {
    const runs = this.#runs;
    const slot = this.memo.slotOf(hash, prefixBuf, from, to);
    if (slot !== -1 && this.memo.seq(slot) <= seqMax) return this.#remembered(slot, out);
    const bitsHash = remix(hash);
    let filters = 0;
    let tables = 0;
    let isFilterMissing = false;
    let step: Step = END;
    // Tables of one filter follow each other: the one asked last, and whether it denies the key.
    let recent = without;
    let isDenied = without !== undefined;
    for (let run = 0; run < runs.length && step === END; run++) {
      const other = this.#recentOfRun[run];
      if (other !== recent) {
        recent = other;
        isDenied = other !== undefined && !other.mayContain(hash, bitsHash);
      }
      if (isDenied) continue;
      const table = runs.tableOf(run, prefixBuf, from, to);
      if (table === undefined || table.meta.minSeq > seqMax) continue;
      filters++;
      const asked = table.filter.askPair(hash, bitsHash, out.pending);
      if (asked === MISS) isFilterMissing = true;
      // What older tables' filters lack is read together.
      if (asked !== OK || isFilterMissing) continue;
      tables++;
      step = table.find(prefixBuf, from, to, seqMax, out);
      if (step === OK) this.#remember(hash, prefixBuf, from, to, seqMax, table, out);
    }
    if (isFilterMissing && step === END) return MISS;
    // What is asked again once its blocks are there counts once.
    if (step !== MISS) this.counts.add(filters, tables);
    return step;
  }

  /** `out` stands on a row that was found before: at most one block is read. */
  #remembered(slot: number, out: RowRef): Step {
    const { memo } = this;
    const table = this.tables[memo.table(slot)]!;
    const number = memo.block(slot);
    const block = out.pending.find(table, number);
    if (block === undefined) return out.pending.want(table, number);
    out.bytes = block;
    out.valueFrom = memo.valueFrom(slot);
    out.valueTo = memo.valueTo(slot);
    out.seq = memo.seq(slot);
    this.counts.remembered++;
    return OK;
  }

  /**
   * A reader of the newest state has found an ordinary row: every reader at or above its number finds it, as
   * long as the tables are the same.
   */
  #remember(
    hash: number,
    prefixBuf: Uint8Array,
    from: number,
    to: number,
    seqMax: number,
    table: KeyTable,
    out: RowRef,
  ): void {
    if (seqMax < this.#tableSeq || out.kind !== rowKinds.put) return;
    const at = this.#runs.positionOf(table);
    this.memo.note(hash, prefixBuf, from, to, at, out.block, out.valueFrom, out.valueTo, out.seq);
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
    const rows = mergeOf([this.#active, ...this.#frozen], this.#runs.runs, out.pending);
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
