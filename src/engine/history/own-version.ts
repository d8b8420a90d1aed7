/** Rows of one key, one by one: a version by its own number, and all there are. */
import type { Seq } from '../../base/brands.ts';
import { compareRange } from '../../base/bytes.ts';
import { encodeInternalKey, seqBytes, seqOf } from '../../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import { parseValueRecord, type ValueRecord } from '../../format/value-record.ts';
import { OK, settle } from '../../tree/cursor.ts';
import type { FoundVersion } from '../reading/reads.ts';
import type { Store } from '../store.ts';

/** A row of a key: a value or a deletion. The record lies in bytes of its own. */
export interface VersionRow {
  readonly seq: Seq;
  readonly record: ValueRecord;
}

/** Rows read at once before the caller gets them. */
const rowsAtOnce = 64;

/**
 * Values and deletions of a key at or below `from`, newest first; not those whose chunks were given back by a
 * commit at or below `visible`, nor those that were never published.
 */
export async function* versionRows(
  store: Store,
  prefix: Uint8Array,
  from: Seq,
  visible: Seq,
): AsyncGenerator<VersionRow, void, undefined> {
  let at: Seq | undefined = from;
  while (at !== undefined) {
    const { rows, next } = await someRows(store, prefix, at, visible);
    yield* rows;
    at = next;
  }
}

async function someRows(
  store: Store,
  prefix: Uint8Array,
  from: Seq,
  visible: Seq,
): Promise<{ rows: VersionRow[]; next: Seq | undefined }> {
  store.forest.keys.lost.refuseKey(prefix, 0, prefix.length, 0, from);
  const view = store.openView();
  const rows: VersionRow[] = [];
  try {
    const cursor = view.cursor();
    const sought = encodeInternalKey(prefix, from);
    let goneSeq = -1;
    let step = await settle(cursor, () => cursor.seek(sought));
    for (; step === OK; step = await settle(cursor, () => cursor.next())) {
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
      if (compareRange(keyBytes, keyFrom, keyTo - seqBytes, prefix, 0, prefix.length) !== 0) break;
      const seq = seqOf(keyBytes, keyTo);
      if (rows.length === rowsAtOnce) return { rows, next: seq };
      const record = parseValueRecord(valueBytes.slice(valueFrom, valueTo), 0, valueTo - valueFrom, {
        file: 'key tree',
      });
      if (rowKindAt(valueBytes, valueFrom) === rowKinds.gone) {
        // What is purged by a commit on its way to the disk may be read until it is there.
        if (record.goneSeq <= visible) goneSeq = seq;
      } else if (seq !== goneSeq) rows.push({ seq, record });
    }
    return { rows, next: undefined };
  } finally {
    store.closeView(view);
  }
}

/** The version of exactly that number: undefined for a deletion, 'gone' where it is not there. */
export async function ownVersion(
  store: Store,
  prefix: Uint8Array,
  seq: Seq,
): Promise<FoundVersion | undefined | 'gone'> {
  const visible = store.visibleSeq;
  for await (const row of versionRows(store, prefix, seq, visible)) {
    if (row.seq !== seq) break;
    return row.record.kind === rowKinds.put ? row : undefined;
  }
  return 'gone';
}
