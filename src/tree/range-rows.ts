/**
 * Range deletes that are not carried out yet, in memory. Each counts as a delete marker, under its commit
 * number, of every key it covers: versions below that number are hidden from readers at or above it.
 *
 * Invariants (test/tree/range-rows.test.ts)
 * - A version is hidden exactly where some range covers its key, with a number above the version's and at or
 *   below the reader's ("a version is hidden as a search of all ranges says").
 * - A set never changes: a reader keeps the one it began with ("a set stays as it is while ranges come and
 *   go").
 * - A range is among the numbers until the commit that carried it out is durable ("a range that is carried
 *   out counts among the numbers until its end is durable").
 * - Where a range may be lost with a damaged table, no version it could hide is served ("a lost table that
 *   may hold a range refuses what the range could hide").
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, compareRange } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { decodeSysKey, encodeSysPrefix } from '../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { decodeRangeRow, isRangeKey, type RangeRow, rangePrefix, rangeSeqOf } from '../format/system-rows.ts';
import { type KeyCursor, OK, settle } from './cursor.ts';

/** Where the keys of range rows lie in the system tree: from <= key < to. */
const from: Uint8Array = encodeSysPrefix(rangePrefix).subarray(0, rangePrefix.length);
const to: Uint8Array = from.slice();
to[to.length - 1]!++;

/** The system tree, as far as ranges are read from it. */
export interface RangeSource {
  readonly tables: readonly { readonly meta: CatalogTable }[];
  view(): { cursor(): KeyCursor; release(): void };
}

/** What may be missing from a set. */
interface Lost {
  /** System tables that cannot be read and whose keys reach into those of range rows. */
  readonly tables: readonly CatalogTable[];
  /** Why the rows could not be read to their end. */
  readonly error: VarveError | undefined;
}

/** The ranges of one moment. */
export class RangeSet {
  /** By rising lower bound. */
  readonly #rows: readonly RangeRow[];
  /** Highest upper bound of the rows up to each one; undefined = the end of the tree. */
  readonly #reach: readonly (Uint8Array | undefined)[];
  readonly #lost: Lost;
  readonly #seqMax: Seq;
  /** Nothing is hidden, whatever is asked. */
  readonly isEmpty: boolean;

  constructor(rows: readonly RangeRow[], lost: Lost) {
    this.#rows = [...rows].sort((a, b) => compareBytes(a.from, b.from));
    this.#lost = lost;
    this.#seqMax = rows.reduce((max, { seq }) => Math.max(max, seq), 0);
    this.isEmpty = rows.length === 0 && lost.tables.length === 0 && lost.error === undefined;
    let reach: Uint8Array | undefined = from.subarray(0, 0);
    this.#reach = this.#rows.map((row) => {
      const further = reach === undefined || row.to === undefined || compareBytes(row.to, reach) > 0;
      if (further && reach !== undefined) reach = row.to;
      return reach;
    });
  }

  /**
   * A reader at `seqMax` does not see the version `seq` of the key with the row prefix buf[at..end), because
   * of a range. VARVE_CORRUPT where that cannot be known.
   */
  hides(buf: Uint8Array, at: number, end: number, seq: Seq, seqMax: Seq): boolean {
    if (this.isEmpty) return false;
    this.#refuse(seq, seqMax);
    if (seq >= this.#seqMax) return false;
    for (let i = this.#behind(buf, at, end) - 1; i >= 0; i--) {
      const reach = this.#reach[i];
      if (reach !== undefined && compareRange(reach, 0, reach.length, buf, at, end) <= 0) return false;
      const row = this.#rows[i]!;
      if (row.seq <= seq || row.seq > seqMax) continue;
      if (row.to === undefined || compareRange(row.to, 0, row.to.length, buf, at, end) > 0) return true;
    }
    return false;
  }

  /**
   * Some range with a number above `seq` covers a part of low <= row prefix < high (`high` undefined: to the
   * end of the tree). VARVE_CORRUPT where that cannot be known.
   */
  meets(low: Uint8Array, high: Uint8Array | undefined, seq: Seq): boolean {
    if (this.isEmpty) return false;
    this.#refuse(seq, Number.MAX_SAFE_INTEGER);
    return this.#rows.some(
      (row) =>
        row.seq > seq &&
        (row.to === undefined || compareBytes(low, row.to) < 0) &&
        (high === undefined || compareBytes(row.from, high) < 0),
    );
  }

  /** The ranges, by rising lower bound. VARVE_CORRUPT where some may be lost. */
  get rows(): readonly RangeRow[] {
    this.#refuse(0, Number.MAX_SAFE_INTEGER);
    return this.#rows;
  }

  /** The ranges with numbers at or below `seqMax` that cover a row prefix, highest number first. */
  covering(prefix: Uint8Array, seqMax: Seq): RangeRow[] {
    if (this.isEmpty) return [];
    this.#refuse(0, seqMax);
    const rows = this.#rows.slice(0, this.#behind(prefix, 0, prefix.length));
    const covers = ({ seq, to }: RangeRow): boolean =>
      seq <= seqMax && (to === undefined || compareBytes(to, prefix) > 0);
    return rows.filter(covers).sort((a, b) => b.seq - a.seq);
  }

  /** Index behind the last range that begins at or before the prefix. */
  #behind(buf: Uint8Array, at: number, end: number): number {
    let low = 0;
    let high = this.#rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const bound = this.#rows[middle]!.from;
      if (compareRange(bound, 0, bound.length, buf, at, end) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #refuse(seq: Seq, seqMax: Seq): void {
    const { tables, error } = this.#lost;
    if (error !== undefined) {
      const place = { file: error.file ?? 'system tree', ...offsetOf(error) };
      throw corrupt('range deletes could not be read, so nobody knows which keys are deleted', place);
    }
    for (const { no, minSeq, maxSeq } of tables) {
      if (maxSeq <= seq || minSeq > seqMax) continue;
      throw corrupt('a damaged table may hold a range delete of this key', { file: filePath('tab', no) });
    }
  }
}

/** The pending ranges of a store. One owner; synchronous but for `load`. */
export class RangeRows {
  readonly #bySeq = new Map<Seq, RangeRow>();
  /** Ranges carried out by a commit that a power cut may still take back: then they are pending again. */
  #ended: { readonly seq: Seq; readonly at: Seq }[] = [];
  #lost: Lost;
  #current: RangeSet;

  /** `lost`: tables of the system tree that could not be opened. */
  constructor(lost: readonly CatalogTable[]) {
    this.#lost = { tables: lost.filter(mayHoldRanges), error: undefined };
    this.#current = new RangeSet([], this.#lost);
  }

  /** The ranges as they are now. */
  get current(): RangeSet {
    return this.#current;
  }

  get count(): number {
    return this.#bySeq.size;
  }

  /** A range was deleted under its number. The row is kept as it is. */
  add(row: RangeRow): void {
    this.#bySeq.set(row.seq, row);
    this.#rebuild();
  }

  /** The range delete of that number is carried out by the commit `at`, or was never there. */
  remove(seq: Seq, at: Seq): void {
    if (!this.#bySeq.delete(seq)) return;
    this.#ended.push({ seq, at });
    this.#rebuild();
  }

  /** Numbers of the ranges that are pending, or would be with commits up to `durable` alone; ascending. */
  numbers(durable: Seq): Seq[] {
    this.#ended = this.#ended.filter(({ at }) => at > durable);
    return [...this.#bySeq.keys(), ...this.#ended.map(({ seq }) => seq)].sort((a, b) => a - b);
  }

  get(seq: Seq): RangeRow | undefined {
    return this.#bySeq.get(seq);
  }

  /** The pending range with the lowest number. */
  oldest(): RangeRow | undefined {
    let oldest: RangeRow | undefined;
    for (const row of this.#bySeq.values()) if (oldest === undefined || row.seq < oldest.seq) oldest = row;
    return oldest;
  }

  /**
   * Reads the rows from the tables of the system tree, before the log is replayed. Damage is returned: from
   * then on no version is served that a range could hide. Other errors are thrown.
   */
  async load(system: RangeSource): Promise<VarveError | undefined> {
    // Stores without a range delete are not to be refused for damage of other rows.
    if (!system.tables.some(({ meta }) => mayHoldRanges(meta))) return undefined;
    const view = system.view();
    try {
      const cursor = view.cursor();
      let step = await settle(cursor, () => cursor.seek(from));
      const done = new Set<Seq>();
      while (step === OK) {
        const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
        if (compareRange(keyBytes, keyFrom, keyTo, to, 0, to.length) >= 0) break;
        const { sysKey } = decodeSysKey(keyBytes, keyFrom, keyTo, { file: 'system tree' });
        if (!isRangeKey(sysKey)) throw corrupt('range row has the wrong shape', { file: 'system tree' });
        const seq = rangeSeqOf(sysKey);
        // Versions of a row come newest first: the first one counts.
        if (!done.has(seq) && rowKindAt(valueBytes, valueFrom) === rowKinds.put) {
          this.#bySeq.set(seq, decodeRangeRow(sysKey, valueBytes.subarray(valueFrom + 1, valueTo)));
        }
        done.add(seq);
        step = await settle(cursor, () => cursor.next());
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#lost = { ...this.#lost, error };
      return error;
    } finally {
      view.release();
      this.#rebuild();
    }
    return undefined;
  }

  #rebuild(): void {
    this.#current = new RangeSet(Array.from(this.#bySeq.values()), this.#lost);
  }
}

function mayHoldRanges({ minKey, maxKey }: CatalogTable): boolean {
  return compareBytes(minKey, to) < 0 && compareBytes(maxKey, from) >= 0;
}

function offsetOf({ offset }: VarveError): { offset?: number } {
  return offset === undefined ? {} : { offset };
}
