/**
 * One filter over the rows of several memtables and of the tables that were flushed from them. A lookup of a
 * key that is in none of them, as nearly every put of a new key makes, asks it instead of each of those
 * memtables and tables: while merges are behind a tree has twenty tables of level 0, each with a filter
 * elsewhere in memory.
 *
 * Rows are added as memtables take them; what lay in tables when the store was opened is in no such filter.
 * It takes memory from the budget of filters, and may lose it at any time: then it says maybe to everything.
 *
 * Invariants (test/tree/recent-filter.test.ts)
 * - A row that a memtable with this filter has taken is never denied, also once it lies in a table ("a tree
 *   answers as one without them, whatever is flushed, merged and dropped").
 * - A filter without memtables and tables holds no memory ("filters end with the last of their tables").
 */
import type { FileNo } from '../base/brands.ts';
import { hashKey32 } from '../codec/key-hash.ts';
import { BloomFilter, bucketBytes, bucketsFor, remix } from './bloom.ts';
import { Part, type PartOwner, type PartRoom } from './part-room.ts';

/** Memtables of the size of the last one that a filter is made for: as many as a merge of level 0 takes. */
const memtablesEach = 8;
const bitsPerRow = 12;
/** A filter takes at most this share of the budget. */
const budgetShare = 1 / 16;

export class RecentFilter implements PartOwner {
  readonly no: FileNo = 0;
  readonly #rowsMax: number;
  readonly #room: PartRoom;
  readonly #part: Part;
  #rows = 0;
  #bits: BloomFilter | undefined;

  /** For so many rows; with more it says maybe more often. Without memory where `room` has none. */
  constructor(rowsMax: number, room: PartRoom) {
    this.#rowsMax = rowsMax;
    this.#room = room;
    const buckets = bucketsFor(rowsMax, bitsPerRow);
    this.#part = new Part(this, 0, buckets * bucketBytes);
    if (room.demand(this.#part.bytes) && room.hold(this.#part)) this.#bits = new BloomFilter(buckets);
  }

  /** Adds the row prefix buf[from..to) (borrowed). */
  add(buf: Uint8Array, from: number, to: number): void {
    const hash = hashKey32(buf, from, to);
    this.addPair(hash, remix(hash));
  }

  /** Adds a row by the two hashes that filters of its tree go by (bloom.ts). */
  addPair(hash: number, bitsHash: number): void {
    this.#rows++;
    this.#bits?.addPair(hash, bitsHash);
  }

  /** False when no row with these hashes was added. */
  mayContain(hash: number, bitsHash: number): boolean {
    const bits = this.#bits;
    if (bits === undefined) return true;
    this.#part.isUsed = true;
    return bits.mayContainPair(hash, bitsHash);
  }

  /** It has memory, and room for so many rows more. */
  takes(rows: number): boolean {
    return this.#bits !== undefined && this.#rows + rows <= this.#rowsMax;
  }

  /** Its rows are elsewhere by now: gives its memory back. */
  end(): void {
    this.#room.give(this.#part);
    this.#bits = undefined;
  }

  dropped(): void {
    this.#bits = undefined;
  }
}

/** Who of a tree's memtables and tables has which filter. */
export class RecentFilters<T extends object> {
  readonly #room: PartRoom | undefined;
  /** By table. */
  readonly #filters = new Map<T, RecentFilter>();

  /** Without a room there are no filters. */
  constructor(room: PartRoom | undefined) {
    this.#room = room;
  }

  /** The filter of a table, if it has one. */
  of(table: T): RecentFilter | undefined {
    return this.#filters.get(table);
  }

  /**
   * The filter of the memtable that follows one of `rows` rows with the filter `last`: the same as long as
   * there is room in it for as many again.
   */
  next(last: RecentFilter | undefined, rows: number): RecentFilter | undefined {
    const room = this.#room;
    if (room === undefined || last?.takes(rows) === true) return last;
    const rowsMax = Math.min(memtablesEach * rows, Math.floor((8 * budgetShare * room.budget) / bitsPerRow));
    return rowsMax < rows ? undefined : new RecentFilter(rowsMax, room);
  }

  /** The rows of a memtable with this filter lie in the table now. */
  flushed(table: T, filter: RecentFilter | undefined): void {
    if (filter !== undefined) this.#filters.set(table, filter);
  }

  /** These tables are merged; what no other table and none of `memtables` has ends. */
  merged(tables: readonly T[], memtables: readonly (RecentFilter | undefined)[]): void {
    const ended = new Set<RecentFilter>();
    for (const table of tables) {
      const filter = this.#filters.get(table);
      if (filter !== undefined) ended.add(filter);
      this.#filters.delete(table);
    }
    if (ended.size === 0) return;
    for (const filter of this.#filters.values()) ended.delete(filter);
    for (const filter of memtables) if (filter !== undefined) ended.delete(filter);
    for (const filter of ended) filter.end();
  }

  /** Nothing is looked up any more. `memtables`: what they have. */
  close(memtables: readonly (RecentFilter | undefined)[]): void {
    for (const filter of [...this.#filters.values(), ...memtables]) filter?.end();
    this.#filters.clear();
  }
}
