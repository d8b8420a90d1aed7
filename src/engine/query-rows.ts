/**
 * The rows of a query, one after another: entries of an index with the version of the key each belongs to, or
 * keys themselves.
 *
 * An entry alone proves nothing: its key may be deleted by a range, have expired, or (in a hash index) have
 * another value. So each is held against the version of its key that the reader sees: either both are of one
 * commit, or the version has the value.
 *
 * Invariants (test/engine/query.test.ts, test/engine/index-model.test.ts)
 * - An index query gives what filtering all keys gives ("queries equal a filter over all keys").
 * - `where` gives each key once, whatever index is used ("where gives each key once").
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, concatBytes, equalBytes, prefixEnd, startsWith } from '../base/bytes.ts';
import { isVarveError } from '../base/errors.ts';
import { indexIdBytes, indexPrefix, keyPrefixOf, tupleEnd } from '../format/index-key.ts';
import { type IndexRow, indexKinds } from '../format/index-rows.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import { parseValueRecord } from '../format/value-record.ts';
import { type FieldCondition, type Interval, isWithin, meets } from '../secondary/conditions.ts';
import { RowFields, storedTuples, tuplesOf } from '../secondary/derive.ts';
import { END, MISS } from '../tree/cursor.ts';
import type { KeyTree } from '../tree/key-tree.ts';
import type { Moment } from './point.ts';
import type { FoundVersion, Reads } from './reads.ts';
import { ScanRows } from './scan-rows.ts';
import type { Store } from './store.ts';

/** The state a query sees. Something keeps it while the query is under way. */
export interface QueryState {
  readonly store: Store;
  readonly reads: Reads;
  readonly space: number;
  readonly moment: Moment;
}

/** Internal keys: from <= key < to. */
export interface RowRange extends Interval {
  readonly reverse: boolean;
}

/** A row that was found; borrowed until the next one. */
export interface QueryRow {
  readonly keyPrefix: Uint8Array;
  readonly found: FoundVersion;
  /** Row prefix in the tree it came from. */
  readonly entry: Uint8Array;
  /** What the index has, hashes as they are; undefined where there is none. */
  readonly tuple: Uint8Array | undefined;
  readonly fields: RowFields;
}

/** Entries of an index. */
export interface EntryQuery {
  readonly index: IndexRow;
  /** Of tuples. */
  readonly range: Interval;
  readonly reverse: boolean;
  /** Where to go on: behind the number of the index. */
  readonly after: Uint8Array | undefined;
  /** The whole tuple asked for in a hash index. */
  readonly exact?: Uint8Array | undefined;
  /** Each key once, at the first of its entries within the range. */
  readonly once: boolean;
}

/** Entries within the range whose key has the value, in the order of the index. */
export async function* entryRows(state: QueryState, query: EntryQuery): AsyncGenerator<QueryRow> {
  const { store, reads, space, moment } = state;
  const { index } = query;
  const columns = index.kind === indexKinds.hash ? 1 : index.on.length;
  const place = { file: 'index tree' };
  for await (const { key, seq } of rowsOf(
    store,
    store.forest.indexes,
    entriesAt(moment),
    entryRange(query),
  )) {
    const entry = key.slice(0, key.length - seqBytes);
    const keyFrom = tupleEnd(entry, 0, entry.length, columns, place);
    const tuple = entry.subarray(indexIdBytes, keyFrom);
    const keyPrefix = keyPrefixOf(space, entry, keyFrom, entry.length);
    const found = await reads.find(keyPrefix, moment);
    if (found === undefined) continue;
    const fields = new RowFields(found.record);
    if (!isEntryOf(query, fields, tuple, found.seq === seq)) continue;
    yield { keyPrefix, found, entry, tuple, fields };
  }
}

/** Keys within the range, in their order. */
export async function* keyRows(state: QueryState, range: RowRange): AsyncGenerator<QueryRow> {
  const { store, moment } = state;
  for await (const { key, seq, value } of rowsOf(store, store.forest.keys, moment, range)) {
    const keyPrefix = key.slice(0, key.length - seqBytes);
    const record = parseValueRecord(value, 0, value.length, { file: 'key tree' });
    const found = { seq, record };
    yield { keyPrefix, found, entry: keyPrefix, tuple: undefined, fields: new RowFields(record) };
  }
}

/** True when the row meets all conditions. */
export function meetsAll({ fields }: QueryRow, conditions: readonly FieldCondition[]): boolean {
  return conditions.every((condition) => meets(fields, condition));
}

/** True when the key begins with `prefix`, which is a row prefix without its terminator. */
export function isUnder({ keyPrefix }: QueryRow, prefix: Uint8Array): boolean {
  return startsWith(keyPrefix, prefix);
}

/** Keys of tree X that a query goes through. */
export function entryRange({ index, range, reverse, after }: EntryQuery): RowRange {
  const id = indexPrefix(index.index);
  const bounds = {
    from: concatBytes([id, range.from]),
    to: range.to === undefined ? prefixEnd(id) : concatBytes([id, range.to]),
    reverse,
  };
  return after === undefined ? bounds : behind(bounds, concatBytes([id, after]));
}

/** Narrows the range to what comes behind the row prefix `at`. */
export function behind(range: RowRange, at: Uint8Array): RowRange {
  if (range.reverse) {
    return range.to === undefined || compareBytes(at, range.to) < 0 ? { ...range, to: at } : range;
  }
  const next = at.slice();
  // Above every version of the row: the terminator 00 01 becomes 00 02.
  next[next.length - 1]!++;
  return compareBytes(next, range.from) > 0 ? { ...range, from: next } : range;
}

/** Entries do not expire: the versions they belong to do. */
function entriesAt({ seq }: Moment): Moment {
  return { seq, expiryMs: -1 };
}

interface SeenRow {
  readonly key: Uint8Array;
  readonly seq: Seq;
  readonly value: Uint8Array;
}

/** The row of each row prefix that the reader sees; key and value are borrowed until the next. */
async function* rowsOf(
  store: Store,
  tree: KeyTree,
  { seq, expiryMs }: Moment,
  { from, to, reverse }: RowRange,
): AsyncGenerator<SeenRow> {
  if (to !== undefined && compareBytes(from, to) >= 0) return;
  tree.lost.refuseRange(from, to);
  const view = store.openView(tree);
  try {
    const none = new Uint8Array(0);
    const plan = { space: 0, view: seq, expiryMs, prefix: none, delimiter: undefined, from, to, reverse };
    const rows = new ScanRows(view.cursor(), plan, view.ranges);
    for (;;) {
      const step = rows.step();
      if (step === END) return;
      if (step === MISS) {
        await rows.load();
        continue;
      }
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = rows.cursor;
      yield {
        key: keyBytes.subarray(keyFrom, keyTo),
        seq: seqOf(keyBytes, keyTo),
        value: valueBytes.subarray(valueFrom, valueTo),
      };
    }
  } finally {
    store.closeView(view);
  }
}

/** The version has the entry, and the entry is one to give. */
function isEntryOf(query: EntryQuery, fields: RowFields, tuple: Uint8Array, isSameCommit: boolean): boolean {
  const { index, range, reverse, exact, once } = query;
  if (isSameCommit && !once && exact === undefined) return true;
  const tuples = tuplesIn(fields, index);
  if (exact !== undefined) return tuples.some((other) => equalBytes(other, exact));
  const stored = storedTuples(tuples, index.kind);
  if (!once) return stored.some((other) => equalBytes(other, tuple));
  const within = stored.filter((other) => isWithin(range, other));
  const first = reverse ? within.at(-1) : within[0];
  return first !== undefined && equalBytes(first, tuple);
}

/** A version the index refuses has no entries in it. */
function tuplesIn(fields: RowFields, index: IndexRow): readonly Uint8Array[] {
  try {
    return tuplesOf(fields, index);
  } catch (error) {
    if (isVarveError(error, 'VARVE_INVALID_ARGUMENT')) return [];
    throw error;
  }
}
