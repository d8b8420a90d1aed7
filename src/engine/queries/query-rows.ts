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
 * - What a transaction has written stands where it will be once it is committed ("a query in a transaction
 *   gives what the same query gives once it is committed", test/engine/transaction-query.test.ts).
 * - `where` gives each key once, whatever index is used ("where gives each key once").
 */
import type { Seq } from '../../base/brands.ts';
import { compareBytes, concatBytes, equalBytes, prefixEnd, startsWith, toHex } from '../../base/bytes.ts';
import { isVarveError } from '../../base/errors.ts';
import {
  encodeIndexPrefix,
  indexIdBytes,
  indexPrefix,
  keyPrefixOf,
  tupleEnd,
} from '../../format/index-key.ts';
import { type IndexRow, indexKinds } from '../../format/index-rows.ts';
import { seqBytes, seqOf } from '../../format/internal-key.ts';
import { parseValueRecord } from '../../format/value-record.ts';
import { type FieldCondition, type Interval, isWithin, meets } from '../../secondary/conditions.ts';
import { RowFields, storedTuples, tuplesOf } from '../../secondary/derive.ts';
import { END, MISS } from '../../tree/cursor.ts';
import type { Moment } from '../history/point.ts';
import type { FoundVersion, Reads } from '../reading/reads.ts';
import { ScanRows } from '../reading/scan-rows.ts';
import type { Store } from '../store.ts';

/** The state a query sees. Something keeps it while the query is under way. */
export interface QueryState {
  readonly store: Store;
  readonly reads: Reads;
  readonly space: number;
  readonly moment: Moment;
  /** Throws when no more is to be read. */
  readonly check: () => void;
  /** Of a transaction: what it has written itself, and what it is told of its reading. */
  readonly own?: QueryOverlay | undefined;
}

/** A key that a transaction has written. */
export interface OwnRow {
  readonly keyPrefix: Uint8Array;
  /** Undefined: deleted. */
  readonly found: FoundVersion | undefined;
}

/** What a transaction lays over the rows of its view. */
export interface QueryOverlay {
  /** Keys of the space it had written at the call, in order, each once. */
  readonly rows: () => Promise<readonly OwnRow[]>;
  /** A range of rows of tree K or X is gone through: its bounds move on with the reading. */
  readonly claimRange: (
    range: { from: Uint8Array; to: Uint8Array | undefined },
    tree: 'keys' | 'entries',
  ) => void;
  /** A version, or that there is none, was met; the prefix is the callee's. */
  readonly met: (keyPrefix: Uint8Array, found: FoundVersion | undefined) => void;
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
  const { own } = state;
  if (own === undefined) return yield* committedEntries(state, query);
  const rows = await own.rows();
  const range = entryRange(query);
  const mine = rows.flatMap((row) => ownEntries(query, row)).filter(({ entry }) => isWithin(range, entry));
  yield* laidOver(committedEntries(state, query), mine, rows, query.reverse);
}

async function* committedEntries(state: QueryState, query: EntryQuery): AsyncGenerator<QueryRow> {
  const { reads, space, moment, own } = state;
  const { index } = query;
  const columns = index.kind === indexKinds.hash ? 1 : index.on.length;
  const place = { file: 'index tree' };
  for await (const { key, seq } of rowsOf(state, 'entries', entryRange(query))) {
    const entry = key.slice(0, key.length - seqBytes);
    const keyFrom = tupleEnd(entry, 0, entry.length, columns, place);
    const tuple = entry.subarray(indexIdBytes, keyFrom);
    const keyPrefix = keyPrefixOf(space, entry, keyFrom, entry.length);
    const found = await reads.find(keyPrefix, moment);
    own?.met(keyPrefix, found);
    if (found === undefined) continue;
    const fields = new RowFields(found.record);
    if (!isEntryOf(query, fields, tuple, found.seq === seq)) continue;
    yield { keyPrefix, found, entry, tuple, fields };
  }
}

/** Keys within the range, in their order. */
export async function* keyRows(state: QueryState, range: RowRange): AsyncGenerator<QueryRow> {
  const { own } = state;
  if (own === undefined) return yield* committedKeys(state, range);
  const rows = await own.rows();
  const mine = rows.flatMap(({ keyPrefix, found }): QueryRow[] => {
    if (found === undefined || !isWithin(range, keyPrefix)) return [];
    return [{ keyPrefix, found, entry: keyPrefix, tuple: undefined, fields: new RowFields(found.record) }];
  });
  yield* laidOver(committedKeys(state, range), mine, rows, range.reverse);
}

async function* committedKeys(state: QueryState, range: RowRange): AsyncGenerator<QueryRow> {
  for await (const { key, seq, value } of rowsOf(state, 'keys', range)) {
    const keyPrefix = key.slice(0, key.length - seqBytes);
    const record = parseValueRecord(value, 0, value.length, { file: 'key tree' });
    const found = { seq, record };
    state.own?.met(keyPrefix, found);
    yield { keyPrefix, found, entry: keyPrefix, tuple: undefined, fields: new RowFields(record) };
  }
}

/** The version of a key that the query sees. */
export async function versionOf(state: QueryState, keyPrefix: Uint8Array): Promise<FoundVersion | undefined> {
  const mine = (await state.own?.rows())?.find((row) => equalBytes(row.keyPrefix, keyPrefix));
  return mine === undefined ? await state.reads.find(keyPrefix, state.moment) : mine.found;
}

/** The rows of a version of the transaction's own in the index, in order. */
function ownEntries(query: EntryQuery, { keyPrefix, found }: OwnRow): QueryRow[] {
  if (found === undefined) return [];
  const { index, exact } = query;
  const fields = new RowFields(found.record);
  const tuples = tuplesIn(fields, index);
  const given = exact === undefined ? tuples : tuples.filter((tuple) => equalBytes(tuple, exact));
  return storedTuples(given, index.kind).flatMap((tuple) => {
    if (!isEntryOf(query, fields, tuple, false)) return [];
    return [{ keyPrefix, found, fields, tuple, entry: encodeIndexPrefix(index.index, tuple, keyPrefix) }];
  });
}

/** Committed rows of keys that were not written, and `mine`, in one order. `written`: by key. */
async function* laidOver(
  committed: AsyncGenerator<QueryRow>,
  mine: QueryRow[],
  written: readonly OwnRow[],
  reverse: boolean,
): AsyncGenerator<QueryRow> {
  const sign = reverse ? -1 : 1;
  mine.sort((a, b) => sign * compareBytes(a.entry, b.entry));
  const names = new Set(written.map(({ keyPrefix }) => toHex(keyPrefix)));
  let at = 0;
  for await (const row of committed) {
    if (names.has(toHex(row.keyPrefix))) continue;
    while (at < mine.length && sign * compareBytes(mine[at]!.entry, row.entry) < 0) yield mine[at++]!;
    yield row;
  }
  while (at < mine.length) yield mine[at++]!;
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
  { store, moment, check, own }: QueryState,
  kind: 'keys' | 'entries',
  range: RowRange,
): AsyncGenerator<SeenRow> {
  const { from, to, reverse } = range;
  if (to !== undefined && compareBytes(from, to) >= 0) return;
  const tree = kind === 'keys' ? store.forest.keys : store.forest.indexes;
  const { seq, expiryMs } = kind === 'keys' ? moment : entriesAt(moment);
  tree.lost.refuseRange(from, to);
  const view = store.openView(tree);
  const claim = own === undefined ? undefined : claimOf(range);
  if (claim !== undefined) own?.claimRange(claim, kind);
  try {
    const none = new Uint8Array(0);
    const plan = { space: 0, view: seq, expiryMs, prefix: none, delimiter: undefined, from, to, reverse };
    const rows = new ScanRows(view.cursor(), plan, view.ranges);
    for (;;) {
      const step = rows.step();
      if (step === END) break;
      if (step === MISS) {
        await rows.load();
        continue;
      }
      check();
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = rows.cursor;
      if (claim !== undefined) moveOn(claim, range, keyBytes.slice(keyFrom, keyTo - seqBytes));
      yield {
        key: keyBytes.subarray(keyFrom, keyTo),
        seq: seqOf(keyBytes, keyTo),
        value: valueBytes.subarray(valueFrom, valueTo),
      };
    }
    if (claim !== undefined) Object.assign(claim, { from, to });
  } finally {
    store.closeView(view);
  }
}

/** What was gone through of a range so far; nothing yet. */
interface RangeClaim {
  from: Uint8Array;
  to: Uint8Array | undefined;
}

function claimOf({ from, to, reverse }: RowRange): RangeClaim {
  // Backwards from the end of the tree there is no bound to begin with: all of it is claimed.
  return reverse ? { from: to ?? from, to } : { from, to: from };
}

/** The row prefix was come to, and what lies before it. */
function moveOn(claim: RangeClaim, range: RowRange, prefix: Uint8Array): void {
  if (!range.reverse) claim.to = behind({ ...range, from: prefix }, prefix).from;
  else if (range.to !== undefined) claim.from = prefix;
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
