/**
 * Keeps index entries beside the rows of a transaction, in its own frame and under its number: an entry for
 * each value that came, a delete marker for each that went. What stayed is not written again, but while an
 * index is being built, when nobody knows yet what is there.
 *
 * Unique indexes are checked here, in the turn that sequences the transaction, against everything sequenced
 * before it: one seek for each value that came. Only live keys count: an entry is believed where the newest
 * version of its key has the value.
 *
 * Invariants (test/engine/indexes.test.ts, test/engine/index-model.test.ts)
 * - For a ready index and every key with a live version, the newest rows of tree X are entries for exactly
 *   the values of that version; there may be others, of keys deleted by a range ("an index built while writes
 *   go on equals one that was there before").
 * - Two live keys never have one value in a ready unique index, whoever races ("of writers that race for one
 *   value one wins").
 */
import { compareBytes, concatBytes, displayText, equalBytes, startsWith, toHex } from '../base/bytes.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { encodeIndexPrefix, hashComponent, indexPrefix, keyPrefixOf } from '../format/index-key.ts';
import { type IndexRow, indexKinds, indexStates } from '../format/index-rows.ts';
import { encodeInternalKey, seqBytes, spaceOf, writeUserKey } from '../format/internal-key.ts';
import { putDelete, putPut } from '../format/log-ops.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { trees } from '../format/trees.ts';
import { parseValueRecord, type ValueRecord } from '../format/value-record.ts';
import { END, type KeyCursor, MISS, OK, type Step } from '../tree/cursor.ts';
import type { Forest } from '../tree/forest.ts';
import { RowRef } from '../tree/row-ref.ts';
import type { RowIndexer } from '../txn/row-indexer.ts';
import { RowFields, storedTuples, tuplesOf } from './derive.ts';
import type { IndexBook } from './index-book.ts';

/** Value of an entry: its kind. */
const entryValue = Uint8Array.of(rowKinds.put);

/** A value that came to a unique index. */
interface Claim {
  readonly index: IndexRow;
  readonly tuple: Uint8Array;
  readonly keyPrefix: Uint8Array;
}

export class EntryWriter implements RowIndexer {
  readonly #forest: Forest;
  readonly #book: IndexBook;
  readonly #row = new RowRef();
  #timeMs = 0;
  #added: Uint8Array[] = [];
  #dropped: Uint8Array[] = [];
  #claims: Claim[] = [];

  constructor(forest: Forest, book: IndexBook) {
    this.#forest = forest;
    this.#book = book;
  }

  get isIdle(): boolean {
    return this.#book.isEmpty;
  }

  covers(prefix: Uint8Array): boolean {
    return this.#book.maintained(spaceOf(prefix, 0)).length > 0;
  }

  begin(timeMs: number): void {
    this.#timeMs = timeMs;
    this.#added = [];
    this.#dropped = [];
    this.#claims = [];
  }

  note(prefix: Uint8Array, before: ValueRecord | undefined, after: ValueRecord | undefined): void {
    const was = before === undefined ? undefined : new RowFields(before);
    const is = after === undefined ? undefined : new RowFields(after);
    for (const index of this.#book.maintained(spaceOf(prefix, 0))) {
      const old = was === undefined ? none : oldTuples(was, index);
      const now = is === undefined ? none : tuplesOf(is, index);
      const isBuilding = index.state === indexStates.building;
      this.#notePair(index, prefix, storedTuples(old, index.kind), storedTuples(now, index.kind));
      if (!index.unique) continue;
      for (const tuple of now) {
        if (!isBuilding && old.some((other) => equalBytes(other, tuple))) continue;
        this.#claims.push({ index, tuple, keyPrefix: prefix.slice() });
      }
    }
  }

  /**
   * Entries of a version that was put before the index was defined. VARVE_INVALID_ARGUMENT as for a put.
   */
  noteBuilt(index: IndexRow, prefix: Uint8Array, record: ValueRecord): void {
    const tuples = tuplesOf(new RowFields(record), index);
    for (const stored of storedTuples(tuples, index.kind)) {
      this.#added.push(encodeIndexPrefix(index.index, stored, prefix));
    }
    if (!index.unique) return;
    for (const tuple of tuples) this.#claims.push({ index, tuple, keyPrefix: prefix.slice() });
  }

  /** What the ops will take, bytes, at most. */
  get bytes(): number {
    const sum = (keys: readonly Uint8Array[]): number => keys.reduce((n, key) => n + key.length + 16, 0);
    return sum(this.#added) + sum(this.#dropped);
  }

  /** Entries to be added. */
  get entries(): number {
    return this.#added.length;
  }

  encode(writer: ByteWriter): void {
    this.check();
    for (const key of this.#dropped) putDelete(writer, trees.X, key, 0);
    for (const key of this.#added) putPut(writer, trees.X, key, entryValue);
  }

  /** VARVE_CONFLICT when a unique index has one of the values already. */
  check(): void {
    if (this.#claims.length === 0) return;
    const gone = new Set(this.#dropped.map(toHex));
    const here = new Map<string, Uint8Array>();
    // One alone, which is the rule, meets no other of its transaction.
    const isAlone = this.#claims.length === 1;
    for (const claim of this.#claims) {
      const { index, tuple, keyPrefix } = claim;
      const name = isAlone ? '' : `${index.index} ${toHex(tuple)}`;
      const other = here.get(name) ?? this.#holder(claim, gone);
      if (other !== undefined && !equalBytes(other, keyPrefix)) throw taken(index, other);
      if (!isAlone) here.set(name, keyPrefix);
    }
  }

  /** Row prefixes in tree X of all entries a version has; none for one that cannot be indexed. */
  keysOf(prefix: Uint8Array, record: ValueRecord): Uint8Array[] {
    const fields = new RowFields(record);
    return this.#book.maintained(spaceOf(prefix, 0)).flatMap((index) => {
      const stored = storedTuples(oldTuples(fields, index), index.kind);
      return stored.map((tuple) => encodeIndexPrefix(index.index, tuple, prefix));
    });
  }

  /** Both lists are in order. */
  #notePair(
    { index, state }: IndexRow,
    prefix: Uint8Array,
    old: readonly Uint8Array[],
    now: readonly Uint8Array[],
  ): void {
    let i = 0;
    for (const tuple of now) {
      while (i < old.length && compareBytes(old[i]!, tuple) < 0) {
        this.#dropped.push(encodeIndexPrefix(index, old[i++]!, prefix));
      }
      const isOld = i < old.length && equalBytes(old[i]!, tuple);
      if (isOld) i++;
      if (!isOld || state === indexStates.building) {
        this.#added.push(encodeIndexPrefix(index, tuple, prefix));
      }
    }
    while (i < old.length) this.#dropped.push(encodeIndexPrefix(index, old[i++]!, prefix));
  }

  /** Row prefix of another live key that has the value. `gone`: entries this transaction removes. */
  #holder({ index, tuple, keyPrefix }: Claim, gone: ReadonlySet<string>): Uint8Array | undefined {
    const stored = index.kind === indexKinds.hash ? hashComponent(tuple) : tuple;
    const from = concatBytes([indexPrefix(index.index), stored]);
    const view = this.#forest.indexes.view();
    try {
      const cursor = view.cursor();
      let last: Uint8Array | undefined;
      let step = moveSync(cursor, () => cursor.seek(from));
      while (step === OK) {
        const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom } = cursor;
        const entry = keyBytes.slice(keyFrom, keyTo - seqBytes);
        if (!startsWith(entry, from)) return undefined;
        // Rows of an entry come newest first.
        const isNewest = last === undefined || !equalBytes(entry, last);
        last = entry;
        if (isNewest && rowKindAt(valueBytes, valueFrom) === rowKinds.put && !gone.has(toHex(entry))) {
          const other = keyPrefixOf(index.space, entry, from.length, entry.length);
          if (!equalBytes(other, keyPrefix) && this.#has(other, index, tuple)) return other;
        }
        step = moveSync(cursor, () => cursor.next());
      }
      return undefined;
    } finally {
      view.release();
    }
  }

  /** The newest version of the key is live and has the value. */
  #has(prefix: Uint8Array, index: IndexRow, tuple: Uint8Array): boolean {
    const row = this.#row;
    const { keys } = this.#forest;
    const step = keys.findSync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
    if (step === END || row.kind !== rowKinds.put) return false;
    const record = parseValueRecord(row.bytes, row.valueFrom, row.valueTo, { file: 'key tree' });
    if (record.expireAtMs !== undefined && record.expireAtMs <= this.#timeMs) return false;
    return oldTuples(new RowFields(record), index).some((other) => equalBytes(other, tuple));
  }
}

const none: readonly Uint8Array[] = [];

/** A version that an index cannot take was put before it was defined, and has no entries. */
function oldTuples(row: RowFields, index: IndexRow): readonly Uint8Array[] {
  try {
    return tuplesOf(row, index);
  } catch (error) {
    if (isVarveError(error, 'VARVE_INVALID_ARGUMENT')) return none;
    throw error;
  }
}

/** Makes a move, reading what it misses on this thread. */
function moveSync(cursor: KeyCursor, move: () => Step): Step {
  let step = move();
  while (step === MISS) {
    cursor.loadSync();
    step = move();
  }
  return step;
}

function taken({ name }: IndexRow, holder: Uint8Array): VarveError {
  const key = encodeInternalKey(holder, 0);
  const user = new Uint8Array(key.length);
  const shown = displayText(user.subarray(0, writeUserKey(user, key, 0, key.length)).subarray(0, 64));
  return new VarveError(
    'VARVE_CONFLICT',
    `unique index ${JSON.stringify(name)} has this value already, of key ${JSON.stringify(shown)}`,
    { retryable: false },
  );
}
