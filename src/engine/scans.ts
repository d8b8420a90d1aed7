/**
 * Ordered scans over one consistent view of a space.
 *
 * Invariants (test/engine/scans.test.ts):
 * - a scan returns what a sorted map of the space held at the moment of the call, whatever is written
 *   meanwhile;
 * - `after` with any key or prefix a scan returned continues exactly behind it;
 * - the tables of the view are released when the loop ends, breaks or throws.
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import {
  boundsOf,
  decodeInternalKey,
  type KeyRange,
  seqBytes,
  seqOf,
  writeSeq,
} from '../format/internal-key.ts';
import { isOrdinary, rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { parseValueRecord, type ValueRecord } from '../format/value-record.ts';
import { type KeyCursor, OK, type Step, settle } from '../tree/cursor.ts';
import { readValue } from '../value/value-reader.ts';
import { keyBytes, keyOut, throwIfAborted } from './key-args.ts';
import { checkNames } from './options.ts';
import type { ReadMark } from './read-marks.ts';
import { statOf } from './reads.ts';
import type { Store } from './store.ts';
import type { Entry, Key, KeyEntry, ScanOptions } from './types.ts';

const scanNames = [
  'prefix',
  'gt',
  'gte',
  'lt',
  'lte',
  'reverse',
  'limit',
  'values',
  'stats',
  'delimiter',
  'after',
  'signal',
] as const;

/** Rows of one key passed over one by one before the cursor seeks behind them. */
const stepsBeforeSeek = 8;

interface Plan {
  readonly space: number;
  readonly view: Seq;
  readonly prefix: Uint8Array;
  readonly delimiter: Uint8Array | undefined;
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
  readonly reverse: boolean;
  readonly limit: number;
  readonly values: boolean;
  readonly stats: boolean;
  readonly signal: AbortSignal | undefined;
}

interface Row {
  readonly userKey: Uint8Array;
  readonly seq: Seq;
  readonly record: ValueRecord;
}

/**
 * Starts a scan; arguments are checked and the view is fixed at the call. A second loop over it sees the
 * store as it is when that loop begins.
 */
export function scan(store: Store, space: number, options: ScanOptions): AsyncIterable<Entry<Key>> {
  store.assertReadable();
  const plan = planScan(space, store.visibleSeq, options);
  const mark = store.marks.mark();
  return { [Symbol.asyncIterator]: () => guarded(store, run(store, plan, mark)) };
}

/** Each step is a call of its own: close() waits for it, and refuses the next. */
function guarded(
  store: Store,
  entries: AsyncGenerator<Entry<Key>, void, undefined>,
): AsyncIterableIterator<Entry<Key>> {
  return {
    next: () => store.run(() => entries.next()),
    return: () => entries.return(),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function planScan(space: number, view: Seq, options: ScanOptions): Plan {
  checkNames(options, scanNames, 'scan option');
  const { reverse = false, limit, values = true, stats = false, delimiter, after } = options;
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 0)) {
    throw invalid('limit must be a whole number, 0 or more', { actual: limit });
  }
  for (const [name, flag] of Object.entries({ reverse, values, stats })) {
    if (typeof flag !== 'boolean') throw invalid(`${name} must be true or false`);
  }
  if (delimiter !== undefined && (typeof delimiter !== 'string' || delimiter === '')) {
    throw invalid('delimiter must be a string of at least one character');
  }
  const range: KeyRange = {};
  for (const name of ['prefix', 'gt', 'gte', 'lt', 'lte'] as const) {
    const bound = options[name];
    if (bound !== undefined) range[name] = keyBytes(bound, name);
  }
  const delimiterBytes = delimiter === undefined ? undefined : keyBytes(delimiter, 'delimiter');
  const bounds = boundsOf(range, space);
  const prefix = range.prefix ?? new Uint8Array(0);
  const plan = { space, prefix, delimiter: delimiterBytes, reverse };
  const { from, to } = after === undefined ? bounds : behind(plan, bounds, keyBytes(after, 'after'));
  return {
    ...plan,
    view,
    from,
    to,
    limit: limit ?? Number.MAX_SAFE_INTEGER,
    values,
    stats,
    signal: options.signal,
  };
}

/** Narrows the bounds to what comes behind `after`: a key, or a folded prefix with everything in it. */
function behind(
  plan: { space: number; prefix: Uint8Array; delimiter: Uint8Array | undefined; reverse: boolean },
  bounds: { from: Uint8Array; to: Uint8Array | undefined },
  after: Uint8Array,
): { from: Uint8Array; to: Uint8Array | undefined } {
  const folded = plan.delimiter === undefined ? undefined : foldOf(after, plan.prefix, plan.delimiter);
  const isFold = folded !== undefined && folded.length === after.length;
  const around = boundsOf(isFold ? { prefix: after } : { gte: after, lte: after }, plan.space);
  if (plan.reverse) {
    const to = bounds.to === undefined || compareBytes(around.from, bounds.to) < 0 ? around.from : bounds.to;
    return { from: bounds.from, to };
  }
  if (around.to === undefined) return { from: bounds.from, to: bounds.from };
  const from = compareBytes(around.to, bounds.from) > 0 ? around.to : bounds.from;
  return { from, to: bounds.to };
}

async function* run(
  store: Store,
  planned: Plan,
  mark: ReadMark,
): AsyncGenerator<Entry<Key>, void, undefined> {
  const plan = mark.isOver() ? { ...planned, view: store.visibleSeq } : planned;
  // What the view pins stays as it is: from here on merges need not think of this scan.
  mark.end();
  if (plan.limit === 0) return;
  const view = store.openView();
  try {
    store.forest.keys.lost.refuseRange(plan.from, plan.to);
    const rows = plan.reverse ? backward(view.cursor(), plan) : forward(view.cursor(), plan);
    let left = plan.limit;
    for await (const row of rows) {
      throwIfAborted(plan.signal);
      yield row instanceof Uint8Array
        ? { prefix: keyOut(row, store.keyEncoding) }
        : await entryOf(store, plan, row);
      if (--left === 0) return;
    }
  } finally {
    store.closeView(view);
  }
}

async function entryOf(store: Store, plan: Plan, row: Row): Promise<KeyEntry<Key>> {
  const entry: KeyEntry<Key> = {
    key: keyOut(row.userKey, store.keyEncoding),
    seq: row.seq,
    size: row.record.size,
  };
  if (plan.values) entry.value = await readValue(row.record, store.chunks);
  if (plan.stats) entry.stat = statOf(row);
  return entry;
}

/** Live rows in key order, or a folded prefix as bare bytes. */
async function* forward(cursor: KeyCursor, plan: Plan): AsyncGenerator<Row | Uint8Array, void, undefined> {
  const passed = new Prefix();
  let step = await settle(cursor, () => cursor.seek(plan.from));
  while (step === OK && beforeEnd(cursor, plan.to)) {
    const row = rowAt(cursor, plan.view);
    if (row === undefined) {
      step = await settle(cursor, () => cursor.next());
      continue;
    }
    const fold = row.record.kind === rowKinds.put ? foldAt(row, plan) : undefined;
    if (fold !== undefined) {
      yield fold;
      const { to } = boundsOf({ prefix: fold }, plan.space);
      if (to === undefined) return;
      step = await settle(cursor, () => cursor.seek(to));
      continue;
    }
    passed.take(cursor);
    if (row.record.kind === rowKinds.put) yield row;
    step = await skipRest(cursor, passed);
  }
}

/**
 * The same from the end. A key's rows lie newest first, so each key is entered from its end and sought again.
 */
async function* backward(cursor: KeyCursor, plan: Plan): AsyncGenerator<Row | Uint8Array, void, undefined> {
  const current = new Prefix();
  const { to } = plan;
  let step = await settle(cursor, () => (to === undefined ? cursor.last() : cursor.seekBefore(to)));
  while (step === OK && !belowStart(cursor, plan.from)) {
    current.take(cursor);
    let back = current.withSeq(Number.MAX_SAFE_INTEGER);
    const row = await newestOf(cursor, current, plan.view);
    if (row !== undefined) {
      const fold = foldAt(row, plan);
      yield fold ?? row;
      if (fold !== undefined) back = boundsOf({ prefix: fold }, plan.space).from;
    }
    step = await settle(cursor, () => cursor.seekBefore(back));
  }
}

async function newestOf(cursor: KeyCursor, prefix: Prefix, view: Seq): Promise<Row | undefined> {
  const target = prefix.withSeq(view);
  let step = await settle(cursor, () => cursor.seek(target));
  while (step === OK && prefix.matches(cursor)) {
    const row = rowAt(cursor, view);
    if (row !== undefined) return row.record.kind === rowKinds.put ? row : undefined;
    step = await settle(cursor, () => cursor.next());
  }
  return undefined;
}

/** The row the cursor stands on, when it is an ordinary one the view sees. */
function rowAt(cursor: KeyCursor, view: Seq): Row | undefined {
  const seq = seqOf(cursor.keyBytes, cursor.keyTo);
  if (seq > view || !isOrdinary(rowKindAt(cursor.valueBytes, cursor.valueFrom))) return undefined;
  const { userKey } = decodeInternalKey(cursor.keyBytes, cursor.keyFrom, cursor.keyTo, { file: 'key tree' });
  const record = parseValueRecord(cursor.valueBytes, cursor.valueFrom, cursor.valueTo, { file: 'key tree' });
  return { userKey, seq, record };
}

async function skipRest(cursor: KeyCursor, passed: Prefix): Promise<Step> {
  for (let i = 0; i < stepsBeforeSeek; i++) {
    const step = await settle(cursor, () => cursor.next());
    if (step !== OK || !passed.matches(cursor)) return step;
  }
  const last = passed.withSeq(0);
  return await settle(cursor, () => cursor.seek(last));
}

function beforeEnd(cursor: KeyCursor, to: Uint8Array | undefined): boolean {
  return to === undefined || compareBytes(keyOf(cursor), to) < 0;
}

function belowStart(cursor: KeyCursor, from: Uint8Array): boolean {
  return compareBytes(keyOf(cursor), from) < 0;
}

function keyOf(cursor: KeyCursor): Uint8Array {
  return cursor.keyBytes.subarray(cursor.keyFrom, cursor.keyTo);
}

function foldAt(row: Row, plan: Plan): Uint8Array | undefined {
  return plan.delimiter === undefined ? undefined : foldOf(row.userKey, plan.prefix, plan.delimiter);
}

/** The key up to and including the first delimiter behind the prefix. */
function foldOf(key: Uint8Array, prefix: Uint8Array, delimiter: Uint8Array): Uint8Array | undefined {
  for (let at = prefix.length; at + delimiter.length <= key.length; at++) {
    let i = 0;
    while (i < delimiter.length && key[at + i] === delimiter[i]) i++;
    if (i === delimiter.length) return key.slice(0, at + delimiter.length);
  }
  return undefined;
}

/** The row prefix of a key, remembered while the cursor moves. */
class Prefix {
  #bytes: Uint8Array = new Uint8Array(256);
  #length = 0;

  take(cursor: KeyCursor): void {
    const length = cursor.keyTo - cursor.keyFrom - seqBytes;
    if (length + seqBytes > this.#bytes.length) this.#bytes = new Uint8Array(2 * (length + seqBytes));
    this.#bytes.set(cursor.keyBytes.subarray(cursor.keyFrom, cursor.keyFrom + length));
    this.#length = length;
  }

  matches(cursor: KeyCursor): boolean {
    if (cursor.keyTo - cursor.keyFrom - seqBytes !== this.#length) return false;
    for (let i = 0; i < this.#length; i++)
      if (cursor.keyBytes[cursor.keyFrom + i] !== this.#bytes[i]) return false;
    return true;
  }

  /** The internal key of this prefix at `seq`, a fresh array. */
  withSeq(seq: Seq): Uint8Array {
    const end = writeSeq(this.#bytes, this.#length, seq);
    return this.#bytes.slice(0, end);
  }
}
