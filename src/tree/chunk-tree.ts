/**
 * The chunk tree (C): where each chunk lies and how often it is referenced.
 *
 * Location and references are two columns with two rules. Of the location the newest source counts that has
 * one, and DROPPED there means that the chunk left the index. Of the references every source has a part, and
 * they add up; nothing is read to count.
 *
 * Invariants
 * - A lookup equals a Map of what was set
 *   ("chunk tree equals a model under random changes and flushes").
 * - Counts add up over all sources, however often they were flushed (the same test).
 * - A table is not closed under a scan or a batch that reads it ("a scan outlives a close of the tree").
 */
import { assert } from '../base/assert.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { type ChunkColumns, chunkBitsHash, chunkBucketHash, chunkEntryFlags } from '../format/chunk-table.ts';
import { type ChunkBatch, chunkAnswers } from './chunk-batch.ts';
import {
  type ChunkCursor,
  ChunkSum,
  CopiedChunks,
  FrozenChunks,
  MergedChunks,
  readSlot,
} from './chunk-cursor.ts';
import { ChunkMemtable } from './chunk-memtable.ts';
import { addParts, type ChunkProbe, visitAll, visitStretches } from './chunk-scans.ts';
import { MemtableStretches, RunStretches, type TakeEntries } from './chunk-stretches.ts';
import { findManyIn } from './chunk-table-batch.ts';
import { ChunkHit, type ChunkTable } from './chunk-table-reader.ts';
import { END, MISS, OK, type Step } from './cursor.ts';
import { LookupCounts } from './lookup-counts.ts';
import { type MergePace, MergeSlice } from './merge-slice.ts';
import { MergedStretches } from './merged-stretches.ts';
import type { PartRoom } from './part-room.ts';
import { type RecentFilter, RecentFilters } from './recent-filter.ts';
import { TableRuns } from './table-runs.ts';
import type { ToldChunks } from './told-chunks.ts';

const settled = chunkEntryFlags.hasLocation | chunkEntryFlags.dropped;

/** Locations and reference counts of all chunks, in memory and on disk. */
export class ChunkTree {
  readonly #memtableBytes: number;
  #active: ChunkMemtable;
  /** Newest first. Replaced, never changed, as the tables are. */
  #frozen: readonly ChunkMemtable[] = [];
  #runs!: TableRuns<ChunkTable>;
  /** As in KeyTree. */
  readonly #recent: RecentFilters<ChunkTable>;
  #recentOfRun: readonly (RecentFilter | undefined)[] = [];
  readonly #known = new ChunkHit();
  #told: ToldChunks | undefined;
  readonly counts: LookupCounts = new LookupCounts();
  /** References given back since somebody set it to 0: how much may have become garbage. */
  released = 0;

  /**
   * `tables` in any order, each held once for this tree (taken); `filters`: the room of filters over what was
   * added lately, none when omitted.
   */
  constructor(memtableBytes: number, tables: readonly ChunkTable[], filters?: PartRoom) {
    this.#memtableBytes = memtableBytes;
    this.#active = new ChunkMemtable({ bytesMax: memtableBytes });
    this.#recent = new RecentFilters(filters);
    this.#setTables(tables);
  }

  /** The memtable that takes changes; another one after each freeze. */
  get active(): ChunkMemtable {
    return this.#active;
  }

  get frozen(): readonly ChunkMemtable[] {
    return this.#frozen;
  }

  /** Newest first. */
  get tables(): readonly ChunkTable[] {
    return this.#runs.tables;
  }

  /** Says that the changes made with it belong to commit `seq`. */
  note(seq: number): void {
    this.#active.note(seq);
  }

  /** Adds `delta` to the references of the id at id[idAt..] (copied). Not durable: the log is. */
  addRefs(id: Uint8Array, idAt: number, delta: number): void {
    if (delta < 0) this.released -= delta;
    this.#active.addRefs(id, idAt, delta);
  }

  /** Says where a chunk lies from now on. */
  setLocation(
    id: Uint8Array,
    idAt: number,
    segment: number,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): void {
    this.#active.setLocation(id, idAt, segment, off8, storedLen, rawLen, kind, codec);
  }

  /**
   * Gives a chunk that is in the index another location; length and kind stay. False, and nothing changed,
   * when it is not in the index. May read one block on the calling thread; VARVE_CORRUPT, VARVE_IO.
   */
  moveLocation(
    id: Uint8Array,
    idAt: number,
    segment: number,
    off8: number,
    storedLen: number,
    codec: number,
  ): boolean {
    const known = this.#known;
    const told = this.#told?.next(id, idAt);
    if (told !== undefined) {
      this.#active.setLocation(id, idAt, segment, off8, storedLen, told.rawLen, told.kind, codec);
      return true;
    }
    if (this.findSync(id, idAt, known) !== OK) return false;
    this.#active.setLocation(id, idAt, segment, off8, storedLen, known.rawLen, known.kind, codec);
    return true;
  }

  /** Runs `work`, in which chunks are moved in this order; they are not looked up. */
  whileTold<T>(told: ToldChunks, work: () => T): T {
    this.#told = told;
    try {
      return work();
    } finally {
      this.#told = undefined;
    }
  }

  /** Takes a list node out of the index; its references stay counted. */
  drop(id: Uint8Array, idAt: number): void {
    this.#active.drop(id, idAt);
  }

  /**
   * The location of the id at id[idAt..] (borrowed). OK: `out` has it (its `refs` are one source's part
   * only). END: not in the index. MISS: load `out.pending`, then call again. Allocates nothing but on MISS.
   */
  find(id: Uint8Array, idAt: number, out: ChunkHit): Step {
    out.pending.restart();
    let step = this.findInMemory(id, idAt, out);
    const inMemory = step !== MISS;
    const runs = this.#runs;
    let filters = 0;
    let tables = 0;
    let isFilterMissing = false;
    let recent: RecentFilter | undefined;
    let isDenied = false;
    for (let run = 0; run < runs.length && step === MISS; run++) {
      const other = this.#recentOfRun[run];
      if (other !== recent) {
        recent = other;
        isDenied = other?.mayContain(chunkBucketHash(id, idAt), chunkBitsHash(id, idAt)) === false;
      }
      if (isDenied) continue;
      const table = runs.tableOf(run, id, idAt, idAt + chunkIdBytes);
      if (table === undefined) continue;
      filters++;
      const asked = table.ask(id, idAt, out.pending);
      if (asked === MISS) isFilterMissing = true;
      // What older tables' filters lack is read together.
      if (asked !== OK || isFilterMissing) continue;
      tables++;
      const found = table.find(id, idAt, out);
      if (found === MISS) return MISS;
      if (found === OK && (out.flags & settled) !== 0) step = answerOf(out.flags);
    }
    if (isFilterMissing) return MISS;
    if (!inMemory && runs.length > 0) this.counts.add(filters, tables);
    out.pending.clear();
    return step === OK ? OK : END;
  }

  /** All that was changed since `memtable` was the active one is in memory, for `findInMemory`. */
  hasChangesSince(memtable: ChunkMemtable): boolean {
    return memtable === this.#active || this.#frozen.includes(memtable);
  }

  /** What memtables say of an id: OK and END as `find`, MISS where tables decide. Asks no table. */
  findInMemory(id: Uint8Array, idAt: number, out: ChunkHit): Step {
    let step = this.#inMemtable(this.#active, id, idAt, out);
    for (let i = 0; i < this.#frozen.length && step === MISS; i++) {
      step = this.#inMemtable(this.#frozen[i]!, id, idAt, out);
    }
    return step;
  }

  /** `find` that reads missing blocks on the calling thread; never MISS. */
  findSync(id: Uint8Array, idAt: number, out: ChunkHit): Step {
    for (;;) {
      const step = this.find(id, idAt, out);
      if (step !== MISS) return step;
      out.pending.loadSync();
    }
  }

  /** `find` that waits for missing blocks; never MISS. Id and `out` are borrowed until it settles. */
  async findAsync(id: Uint8Array, idAt: number, out: ChunkHit): Promise<Step> {
    for (;;) {
      const step = this.find(id, idAt, out);
      if (step !== MISS) return step;
      await out.pending.load();
    }
  }

  /**
   * Locations of `count` ids, one after another in `ids` (borrowed until it settles), as of some moment
   * between call and answer: what is set meanwhile may be missed. Each block is read once per batch, a few
   * at a time. Returns how many were found.
   */
  async findMany(ids: Uint8Array, count: number, outs: ChunkBatch): Promise<number> {
    assert(count * chunkIdBytes <= ids.length && count <= outs.capacity, 'ids and results of a batch fit');
    outs.reset(count);
    const hit = new ChunkHit();
    let found = 0;
    let open: number[] = [];
    for (let i = 0; i < count; i++) {
      const step = this.findInMemory(ids, i * chunkIdBytes, hit);
      if (step === MISS) open.push(i);
      else found += outs.record(i, step, hit);
    }
    const tables = this.#pin();
    try {
      for (const table of tables) {
        if (open.length === 0) break;
        await findManyIn(table, ids, open, (i, entry) => {
          if ((entry.flags & settled) !== 0) found += outs.record(i, answerOf(entry.flags), entry);
        });
        open = open.filter((i) => outs.answer[i] === chunkAnswers.unknown);
      }
    } finally {
      for (const table of tables) table.release();
    }
    for (const i of open) outs.answer[i] = chunkAnswers.absent;
    return found;
  }

  /** References of an id over all sources, as of the call; a saturated count stays where it is. */
  async totalRefs(id: Uint8Array, idAt = 0): Promise<number> {
    return (await this.#sumOf(id.slice(idAt, idAt + chunkIdBytes))).refs;
  }

  /** All that is known of the id at id[idAt..], as of the call; `isCurrent` says whether it still holds. */
  async probe(id: Uint8Array, idAt = 0): Promise<ChunkProbe> {
    const own = id.slice(idAt, idAt + chunkIdBytes);
    const memtable = this.#active;
    const slot = memtable.find(own, 0);
    const partRefs = slot === -1 ? 0 : memtable.refsAt(slot);
    const partFlags = slot === -1 ? 0 : memtable.flagsAt(slot);
    return { id: own, memtable, partRefs, partFlags, columns: await this.#sumOf(own) };
  }

  /** Nothing has changed about the id since it was probed. False also where that is not known. */
  isCurrent({ id, memtable, partRefs, partFlags }: ChunkProbe): boolean {
    if (memtable !== this.#active) return false;
    const slot = memtable.find(id, 0);
    if (slot === -1) return partRefs === 0 && partFlags === 0;
    return memtable.refsAt(slot) === partRefs && memtable.flagsAt(slot) === partFlags;
  }

  async #sumOf(own: Uint8Array): Promise<ChunkColumns> {
    const sum = new ChunkSum();
    const hit = new ChunkHit();
    for (const memtable of [this.#active, ...this.#frozen]) {
      const slot = memtable.find(own, 0);
      if (slot === -1) continue;
      readSlot(memtable, slot, hit);
      sum.add(hit);
    }
    const tables = this.#pin();
    try {
      await addParts(sum, tables, own);
    } finally {
      for (const table of tables) table.release();
    }
    return sum.columns;
  }

  /**
   * Visits every id once, in order, with its references added up and its newest location, as of the call:
   * the entry is borrowed until `visit` returns (or its promise settles). Streams the tables past the cache;
   * copies the active memtable (56 B per entry). An error of `visit` ends it.
   */
  async scanAll(visit: (entry: ChunkCursor) => void | Promise<void>): Promise<void> {
    const memtables = [
      new CopiedChunks(this.#active),
      ...this.#frozen.map((frozen) => new FrozenChunks(frozen)),
    ];
    const tables = this.#pin();
    try {
      await visitAll(new MergedChunks([...memtables, ...tables.map((table) => table.scan())]), visit);
    } finally {
      for (const table of tables) table.release();
    }
  }

  /**
   * All entries that `scanAll` has, many at a time and in no order: for scans that look at every entry. Lets
   * others run every few ms; an error of `take` ends it. VARVE_ABORTED when the pace says cancelled;
   * VARVE_CORRUPT, VARVE_FORMAT_VERSION and VARVE_IO of the tables.
   */
  async scanStretches(take: TakeEntries, pace: MergePace): Promise<void> {
    const slice = new MergeSlice(pace);
    const memtables = [this.#active, ...this.#frozen].filter(({ entries }) => entries > 0);
    const { runs } = this.#runs;
    const tables = this.#pin();
    try {
      const merged = new MergedStretches([
        ...memtables.map((memtable) => new MemtableStretches(memtable)),
        ...runs.map((run) => new RunStretches(run)),
      ]);
      await visitStretches(merged, take, slice);
    } finally {
      for (const table of tables) table.release();
    }
  }

  /** Freezes the active memtable unless it is empty; a new one takes over. */
  freeze(): ChunkMemtable | undefined {
    if (this.#active.entries === 0) return undefined;
    const frozen = this.#active;
    frozen.freeze();
    const recent = this.#recent.next(frozen.recent, frozen.entries);
    this.#active = new ChunkMemtable({ bytesMax: this.#memtableBytes }, recent);
    this.#frozen = [frozen, ...this.#frozen];
    return frozen;
  }

  /** Puts a table with the same entries in the place of the oldest frozen memtable (the table is taken). */
  replaceFrozen(memtable: ChunkMemtable, table: ChunkTable): void {
    assert(this.#frozen.at(-1) === memtable, 'the oldest frozen memtable is installed first');
    assert(table.meta.entries === memtable.entries, 'a table has the entries of its memtable');
    this.#frozen = this.#frozen.slice(0, -1);
    this.#recent.flushed(table, memtable.recent);
    this.#setTables([...this.tables, table]);
  }

  /**
   * Puts the result of a merge (taken) in the place of its inputs, which are released; views keep theirs.
   */
  replaceTables(inputs: readonly ChunkTable[], outputs: readonly ChunkTable[]): void {
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

  #setTables(tables: readonly ChunkTable[]): void {
    this.#runs = new TableRuns(tables);
    this.#recentOfRun = this.#runs.runs.map((run) => this.#recent.of(run[0]!));
  }

  #pin(): readonly ChunkTable[] {
    const { tables } = this;
    for (const table of tables) table.retain();
    return tables;
  }

  /** OK or END when the memtable decides, MISS when older sources must be asked. */
  #inMemtable(memtable: ChunkMemtable, id: Uint8Array, idAt: number, out: ChunkHit): Step {
    const slot = memtable.find(id, idAt);
    if (slot === -1) return MISS;
    const flags = memtable.flagsAt(slot);
    if ((flags & settled) === 0) return MISS;
    readSlot(memtable, slot, out);
    return answerOf(flags);
  }
}

function answerOf(flags: number): Step {
  return (flags & chunkEntryFlags.dropped) !== 0 ? END : OK;
}
