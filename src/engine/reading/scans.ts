/**
 * Ordered scans over one consistent view of a space.
 *
 * Invariants (test/engine/scans.test.ts):
 * - a scan returns what a sorted map of the space held at the moment of the call, whatever is written
 *   meanwhile;
 * - `after` with any key or prefix a scan returned continues exactly behind it;
 * - the tables of the view are released when the loop ends, breaks or throws.
 */
import { compareBytes } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { keyBytesMax } from '../../base/limits.ts';
import { checkFlags, checkNames } from '../../base/names.ts';
import { boundsOf, type KeyRange, seqOf, writeUserKey } from '../../format/internal-key.ts';
import { plainValueFrom } from '../../format/plain-value.ts';
import { parseValueRecord, recordForms } from '../../format/value-record.ts';
import { END, type KeyCursor, MISS } from '../../tree/cursor.ts';
import type { TreeView } from '../../tree/tree-view.ts';
import { copyOut } from '../../value/value-copy.ts';
import { readValue, readValueSync } from '../../value/value-reader.ts';
import type { Moment } from '../history/point.ts';
import { keyBytes, keyOut, throwIfAborted, userKeyOut } from '../key-args.ts';
import type { Store } from '../store.ts';
import type { Entry, Key, KeyEntry, ScanOptions } from '../types.ts';
import type { Pin } from './read-marks.ts';
import { type FoundVersion, statOf } from './reads.ts';
import { foldOf, type RowPlan, ScanRows } from './scan-rows.ts';

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
  'at',
  'signal',
] as const;

/** What a scan shows. */
export interface Plan extends RowPlan {
  readonly limit: number;
  readonly values: boolean;
  readonly stats: boolean;
  readonly signal: AbortSignal | undefined;
  readonly check: () => void;
  /** Told of every row that made an entry: its value is bytes[from..to), borrowed. */
  readonly seen?: (bytes: Uint8Array, from: number, to: number) => void;
}

/** The state one loop over a scan sees. */
export interface ScanMoment extends Moment {
  /** Undefined: there was no such space, so there are no keys. */
  readonly space: number | undefined;
  /** Throws when no more is to be read. */
  readonly check: () => void;
}

/**
 * Starts a scan; arguments are checked and the state is fixed at the call: what `moment` gives, and something
 * keeps in that turn. A second loop asks it again: over the newest state it sees the store as it is then.
 */
export function scan(
  store: Store,
  moment: () => ScanMoment,
  options: ScanOptions,
): AsyncIterable<Entry<Key>> {
  store.assertReadable();
  const first = moment();
  const plan = planScan(first, options);
  let mark: Pin | undefined = store.marks.pin(first.seq);
  return {
    [Symbol.asyncIterator]: () => {
      const taken = mark;
      mark = undefined;
      if (taken !== undefined) return new ScanIterator(store, plan, taken);
      const again = moment();
      return new ScanIterator(store, planScan(again, options), store.marks.pin(again.seq));
    },
  };
}

/** A scan of what `plan` says at its view, which the caller keeps readable; every loop sees the same. */
export function scanPlan(store: Store, plan: Plan): AsyncIterable<Entry<Key>> {
  return { [Symbol.asyncIterator]: () => new ScanIterator(store, plan, unending) };
}

/** For scans of a state that was chosen before: VARVE_INVALID_ARGUMENT when they name another. */
export function refuseAt(options: { readonly at?: unknown }, what: string): void {
  if (options?.at !== undefined) throw invalid(`a ${what} reads one state: its scans and queries take no at`);
}

/** The newest state of a space, as `scan` takes it. */
export function newestScan(store: Store, space: number): () => ScanMoment {
  const check = (): void => undefined;
  return () => ({ seq: store.visibleSeq, expiryMs: store.nowMs, space, check });
}

/** The options of a scan, checked. `after` has narrowed the bounds already. */
export function planScan(moment: ScanMoment, options: ScanOptions): Plan {
  const { space = 0, seq, expiryMs, check } = moment;
  const isEmpty = moment.space === undefined;
  checkNames(options, scanNames, 'scan option');
  checkFlags(options, ['reverse', 'values', 'stats']);
  const { reverse = false, limit, values = true, stats = false, delimiter, after } = options;
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 0)) {
    throw invalid('limit must be a whole number, 0 or more', { actual: limit });
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
    view: seq,
    expiryMs,
    from,
    to,
    check,
    limit: isEmpty ? 0 : (limit ?? Number.MAX_SAFE_INTEGER),
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

type Result = IteratorResult<Entry<Key>, undefined>;

/**
 * The loop of a scan. Entries whose blocks and values are in memory are made in `next`, without a promise
 * but the one it returns; calls that must wait do so one after another.
 */
class ScanIterator implements AsyncIterableIterator<Entry<Key>, undefined> {
  readonly #store: Store;
  readonly #mark: Pin;
  readonly #plan: Plan;
  #left: number;
  #view: TreeView | undefined;
  #rows: ScanRows | undefined;
  #isOver = false;
  /** The row that was reached and whose value must be read; undefined where a block must. */
  #reached: FoundVersion | undefined;
  #isWaiting = false;
  /** Calls that wait, and the last of them. */
  #waiting = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(store: Store, plan: Plan, mark: Pin) {
    this.#store = store;
    this.#plan = plan;
    this.#mark = mark;
    this.#left = plan.limit;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Result> {
    if (this.#waiting === 0) {
      try {
        this.#store.assertReadable();
        this.#plan.check();
        const result = this.#now();
        if (result !== undefined) return Promise.resolve(result);
      } catch (error) {
        return Promise.reject(this.#store.seen(error));
      }
    }
    return this.#queue((before) =>
      // A call of its own: close() waits for it.
      this.#store.run(async () => {
        await before;
        this.#plan.check();
        return await this.#settle();
      }),
    );
  }

  return(): Promise<Result> {
    return this.#queue(async (before) => {
      await before;
      return this.#end();
    });
  }

  #queue(call: (before: Promise<unknown>) => Promise<Result>): Promise<Result> {
    this.#waiting++;
    const result = call(this.#tail).finally(() => {
      this.#waiting--;
    });
    // Its caller is told of a failure; the call behind it only waits.
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** The next entry, or undefined when something must be read first. The scan is over when it throws. */
  #now(): Result | undefined {
    if (this.#isOver) return over;
    if (this.#left === 0) return this.#end();
    try {
      const rows = this.#rows ?? this.#begin();
      const step = rows.step();
      this.#isWaiting = step === MISS;
      if (step === MISS) return undefined;
      if (step === END) return this.#end();
      throwIfAborted(this.#plan.signal);
      const { valueBytes, valueFrom, valueTo } = rows.cursor;
      this.#plan.seen?.(valueBytes, valueFrom, valueTo);
      if (rows.fold !== undefined) return this.#give({ prefix: keyOut(rows.fold, this.#store.keyEncoding) });
      const entry = this.#entryNow(rows.cursor);
      this.#isWaiting = entry === undefined;
      return entry === undefined ? undefined : this.#give(entry);
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  /** Reads what is missing until there is an entry. */
  async #settle(): Promise<Result> {
    try {
      let result = this.#isWaiting ? undefined : this.#now();
      while (result === undefined) {
        if (this.#isOver) return over;
        const reached = this.#reached;
        if (reached === undefined) {
          await this.#rows?.load();
          result = this.#now();
          continue;
        }
        const value = await readValue(reached.record, this.#store.chunks);
        throwIfAborted(this.#plan.signal);
        this.#reached = undefined;
        this.#isWaiting = false;
        result = this.#give(this.#entryWith(this.#rows!.cursor, reached, value));
      }
      return result;
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #begin(): ScanRows {
    const store = this.#store;
    const plan = this.#plan;
    store.forest.keys.lost.refuseRange(plan.from, plan.to);
    this.#view = store.openView();
    this.#rows = new ScanRows(this.#view.cursor(), plan, this.#view.ranges);
    return this.#rows;
  }

  #end(): Result {
    this.#isOver = true;
    this.#mark.end();
    this.#reached = undefined;
    if (this.#view !== undefined) this.#store.closeView(this.#view);
    this.#view = undefined;
    this.#rows = undefined;
    return over;
  }

  #give(entry: Entry<Key>): Result {
    if (--this.#left === 0) this.#end();
    return { value: entry, done: false };
  }

  /** The entry of the row the cursor stands on; undefined when its value must be read, see `#reached`. */
  #entryNow(cursor: KeyCursor): KeyEntry<Key> | undefined {
    const { values, stats } = this.#plan;
    const { valueBytes, valueFrom, valueTo } = cursor;
    const at = stats ? -1 : plainValueFrom(valueBytes, valueFrom, valueTo);
    if (at >= 0) {
      const key = this.#keyHere(cursor);
      const seq = seqOf(cursor.keyBytes, cursor.keyTo);
      const size = valueTo - at;
      return values ? { key, seq, size, value: copyOut(valueBytes, at, valueTo) } : { key, seq, size };
    }
    const record = parseValueRecord(valueBytes, valueFrom, valueTo, { file: 'key tree' });
    const row = { seq: seqOf(cursor.keyBytes, cursor.keyTo), record };
    if (!values) return this.#entryWith(cursor, row, undefined);
    if (record.form === recordForms.inline) {
      return this.#entryWith(cursor, row, readValueSync(record, this.#store.chunks));
    }
    this.#reached = row;
    return undefined;
  }

  #entryWith(cursor: KeyCursor, row: FoundVersion, value: Uint8Array | undefined): KeyEntry<Key> {
    const entry: KeyEntry<Key> = { key: this.#keyHere(cursor), seq: row.seq, size: row.record.size };
    if (value !== undefined) entry.value = value;
    if (this.#plan.stats) entry.stat = statOf(row);
    return entry;
  }

  #keyHere({ keyBytes, keyFrom, keyTo }: KeyCursor): Key {
    const length = writeUserKey(userKey, keyBytes, keyFrom, keyTo, { file: 'key tree' });
    return userKeyOut(userKey, length, this.#store.keyEncoding);
  }
}

/** Of a view that somebody else keeps. */
const unending: Pin = { seq: 0, end: () => undefined, isOver: () => false };

const over: Result = { value: undefined, done: true };

/** The key an entry is made of, for the length of a call. */
const userKey: Buffer = Buffer.alloc(keyBytesMax + 1);
