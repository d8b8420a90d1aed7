/**
 * Building an index over the keys that are there, and removing the entries of one that is not any more: in
 * bounded steps, each one commit, while writes go on.
 *
 *   look at some keys -> in one turn: the newest version of each, its entries, how far the build has come
 *
 * Keys put since the definition have their entries from their own commits, so a build makes entries only for
 * versions older than it, and only where those are still the newest when the step is sequenced. How far it
 * has come goes with each commit: after a crash it goes on from there. Removing begins anew; what is removed
 * already is passed over.
 *
 * Invariants (test/engine/indexes.test.ts, test/engine/index-crash.test.ts)
 * - A ready index has the entries a model has, whatever was written while it was built ("an index built while
 *   writes go on equals one that was there before").
 * - A crash at any step leaves an index that is built to its end later ("a crash while an index is built").
 */
import type { Seq } from '../base/brands.ts';
import { prefixEnd } from '../base/bytes.ts';
import { isVarveError } from '../base/errors.ts';
import { indexStepBytesTarget, indexStepEntriesMax, indexStepRowsMax } from '../base/limits.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { indexPrefix } from '../format/index-key.ts';
import { type IndexRow, indexStates } from '../format/index-rows.ts';
import { boundsOf, seqOf } from '../format/internal-key.ts';
import { putDelete, putSys } from '../format/log-ops.ts';
import { isOrdinary, rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { trees } from '../format/trees.ts';
import { parseValueRecord } from '../format/value-record.ts';
import { OK } from '../tree/cursor.ts';
import type { Forest } from '../tree/forest.ts';
import { walkPrefixes } from '../tree/prefix-walk.ts';
import { RowRef } from '../tree/row-ref.ts';
import type { Committed } from '../txn/committed.ts';
import type { TxnWriter } from '../txn/txn-writer.ts';
import type { EntryWriter } from './entry-writer.ts';
import type { BookChange, IndexBook } from './index-book.ts';

/** What one step looks at and writes, at most: rows, entries, bytes of those (a key is not parted). */
export interface IndexStepLimits {
  readonly rows: number;
  readonly entries: number;
  readonly bytes: number;
}

export const defaultIndexStepLimits: IndexStepLimits = {
  rows: indexStepRowsMax,
  entries: indexStepEntriesMax,
  bytes: indexStepBytesTarget,
};

export interface IndexStepParts {
  readonly forest: Forest;
  readonly book: IndexBook;
  readonly entries: EntryWriter;
  readonly txn: TxnWriter;
  readonly limits: IndexStepLimits;
  /** Ms since 1970: what has expired by then holds no value of a unique index. */
  readonly now: () => number;
}

/** A step that was sequenced. */
export interface IndexStep {
  readonly committed: Committed;
  /** About what it adds to tables. */
  readonly bytes: number;
  readonly entries: number;
}

/** What a row takes in the log beside its key and value, at most. */
const rowBytes = 64;

/** Makes entries of some more keys. Undefined when the index was dropped meanwhile. */
export async function buildStep(parts: IndexStepParts, given: IndexRow): Promise<IndexStep | undefined> {
  const { book, entries, forest, limits } = parts;
  const found = await nextKeys(parts, given);
  // From here to the commit in one turn: what is decided now is what the commit meets.
  const index = book.current(given);
  if (index?.state !== indexStates.building) return undefined;
  entries.begin(parts.now());
  const row = new RowRef();
  let last: Uint8Array | undefined;
  let isWhole = true;
  try {
    for (const prefix of found.prefixes) {
      if (entries.entries >= limits.entries || entries.bytes >= limits.bytes) {
        isWhole = false;
        break;
      }
      last = prefix;
      const step = forest.keys.findSync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
      if (step !== OK || row.kind !== rowKinds.put || row.seq > index.definedSeq) continue;
      const record = parseValueRecord(row.bytes, row.valueFrom, row.valueTo, { file: 'key tree' });
      entries.noteBuilt(index, prefix, record);
    }
    const to = isWhole ? found.to : last;
    const change = (seq: Seq): BookChange =>
      to === undefined ? book.finish(index, { readySeq: seq }) : book.advance(index, to);
    const bytes = entries.bytes + changeBytes(index, to);
    return sequence(parts, bytes, entries.entries, change, (writer) => entries.encode(writer));
  } catch (error) {
    if (!isVarveError(error, 'VARVE_CONFLICT', 'VARVE_INVALID_ARGUMENT')) throw error;
    // The values that are there are not what the index was defined for.
    const reason = error.message;
    const bytes = changeBytes(index, undefined) + 4 * reason.length;
    return sequence(parts, bytes, 0, () => book.finish(index, { reason }));
  }
}

/** Removes some entries of a number that no index has any more. `at`: where the step before has ended. */
export async function dropStep(
  parts: IndexStepParts,
  index: number,
  at: Uint8Array | undefined,
): Promise<IndexStep & { readonly next: Uint8Array | undefined }> {
  const { doomed, next } = await nextEntries(parts, index, at);
  const bytes = doomed.reduce((sum, key) => sum + key.length + 16, 2 * rowBytes);
  const step = sequence(
    parts,
    bytes,
    doomed.length,
    () => (next === undefined ? parts.book.emptied(index) : noChange),
    (writer) => {
      for (const key of doomed) putDelete(writer, trees.X, key, 0);
    },
  );
  return { ...step, next };
}

const noChange: BookChange = { rows: [], apply: () => undefined };

/** `encode` and `change` as one transaction. What they throw leaves nothing behind. */
function sequence(
  { txn }: IndexStepParts,
  bytes: number,
  entries: number,
  change: (seq: Seq) => BookChange,
  encode?: (writer: ByteWriter) => void,
): IndexStep {
  let made: BookChange | undefined;
  const committed = txn.sequence(bytes, (writer, seq) => {
    encode?.(writer);
    made = change(seq);
    for (const { key, value } of made.rows) putSys(writer, key, value);
  });
  made?.apply();
  return { committed, bytes, entries };
}

function changeBytes({ name, on }: IndexRow, to: Uint8Array | undefined): number {
  const definition = on.reduce((sum, field) => sum + 32 + 4 * JSON.stringify(field).length, 4 * name.length);
  return 4 * rowBytes + (to?.length ?? definition);
}

interface FoundKeys {
  /** Row prefixes that may have a version older than the definition. */
  readonly prefixes: readonly Uint8Array[];
  /** Up to which key all were looked at; undefined = to the end. */
  readonly to: Uint8Array | undefined;
}

async function nextKeys({ forest, book, limits }: IndexStepParts, index: IndexRow): Promise<FoundKeys> {
  const bounds = boundsOf({}, index.space);
  const builtTo = book.builtTo(index.index);
  const from = builtTo === undefined ? bounds.from : behind(builtTo);
  const prefixes: Uint8Array[] = [];
  let bytes = 0;
  const { next, last } = await walkPrefixes(forest.keys, {
    from,
    to: bounds.to,
    isFull: (rows) => rows >= limits.rows || bytes >= limits.bytes,
    row: ({ keyBytes, keyTo, valueBytes, valueFrom }, prefix, isFirst) => {
      if (!isFirst) return;
      bytes += prefix.length;
      const isNew = isOrdinary(rowKindAt(valueBytes, valueFrom)) && seqOf(keyBytes, keyTo) > index.definedSeq;
      if (!isNew) prefixes.push(prefix);
    },
  });
  return { prefixes, to: next === undefined ? undefined : last };
}

/** Above every version of the key, below the next one: the terminator 00 01 becomes 00 02. */
function behind(prefix: Uint8Array): Uint8Array {
  const out = prefix.slice();
  out[out.length - 1] = 2;
  return out;
}

async function nextEntries(
  { forest, limits }: IndexStepParts,
  index: number,
  at: Uint8Array | undefined,
): Promise<{ doomed: Uint8Array[]; next: Uint8Array | undefined }> {
  const doomed: Uint8Array[] = [];
  let bytes = 0;
  const { next } = await walkPrefixes(forest.indexes, {
    from: at ?? indexPrefix(index),
    to: prefixEnd(indexPrefix(index)),
    isFull: (rows) => rows >= limits.rows || doomed.length >= limits.entries || bytes >= limits.bytes,
    row: ({ valueBytes, valueFrom }, prefix, isFirst) => {
      if (!isFirst || rowKindAt(valueBytes, valueFrom) !== rowKinds.put) return;
      doomed.push(prefix);
      bytes += prefix.length;
    },
  });
  return { doomed, next };
}
