/** Versions of one key that were superseded, as the reapers of chunks look at them. */
import type { Seq } from '../../base/brands.ts';
import { compareRange } from '../../base/bytes.ts';
import type { PeriodRules } from '../../base/keep-periods.ts';
import { seqBytes, seqOf, writeSeq } from '../../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import { parseValueRecord } from '../../format/value-record.ts';
import { type KeyCursor, OK, settle } from '../../tree/cursor.ts';
import { RetentionJudge } from '../../tree/space-rules.ts';
import { type RecordRefs, refsOf } from '../../txn/version-ends.ts';

/** A superseded version that holds chunks and is not gone. */
export interface OldVersion {
  readonly seq: Seq;
  /** Number of the row above it, which superseded it. */
  readonly above: Seq;
  /** Superseded rows above it: deletions count, versions that are gone do not. */
  readonly newer: number;
  readonly refs: RecordRefs;
  /** Retention keeps it. */
  readonly isRetained: boolean;
}

const place = { file: 'key tree' };

/** What version `seq` of the key refers to; undefined when it holds no chunks, is gone, or is not there. */
export async function refsOfVersion(
  cursor: KeyCursor,
  prefix: Uint8Array,
  seq: Seq,
): Promise<RecordRefs | undefined> {
  const key = rowKey(prefix, seq);
  const step = await settle(cursor, () => cursor.seek(key));
  if (step !== OK) return undefined;
  const { keyBytes, keyFrom, keyTo } = cursor;
  // A GONE row stands before the version it takes away, under the same key.
  return compareRange(keyBytes, keyFrom, keyTo, key, 0, key.length) === 0 ? refsHere(cursor) : undefined;
}

/**
 * The superseded versions of a key that hold chunks, newest first, down to the number `down`; `retention`: of
 * its space.
 */
export async function oldVersions(
  cursor: KeyCursor,
  prefix: Uint8Array,
  down: Seq,
  retention: readonly PeriodRules[],
): Promise<OldVersion[]> {
  const versions: OldVersion[] = [];
  const judge = new RetentionJudge(retention);
  let above = 0;
  let rows = 0;
  let gone = -1;
  let step = await settle(cursor, () => cursor.seek(rowKey(prefix, Number.MAX_SAFE_INTEGER)));
  for (; step === OK; step = await settle(cursor, () => cursor.next())) {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom } = cursor;
    if (keyTo - keyFrom !== prefix.length + seqBytes) break;
    if (compareRange(keyBytes, keyFrom, keyTo - seqBytes, prefix, 0, prefix.length) !== 0) break;
    const seq = seqOf(keyBytes, keyTo);
    if (seq < down) break;
    if (rowKindAt(valueBytes, valueFrom) === rowKinds.gone) {
      gone = seq;
      continue;
    }
    if (seq !== gone) {
      const isRetained = rows > 0 && retention.length > 0 && judge.keeps(timeHere(cursor));
      const refs = rows > 0 ? refsHere(cursor) : undefined;
      if (refs !== undefined) versions.push({ seq, above, newer: rows - 1, refs, isRetained });
      rows++;
    }
    above = seq;
  }
  return versions;
}

function refsHere({ valueBytes, valueFrom, valueTo }: KeyCursor): RecordRefs | undefined {
  if (rowKindAt(valueBytes, valueFrom) !== rowKinds.put) return undefined;
  return refsOf(parseValueRecord(valueBytes, valueFrom, valueTo, place));
}

function timeHere({ valueBytes, valueFrom, valueTo }: KeyCursor): number {
  return parseValueRecord(valueBytes, valueFrom, valueTo, place).timeMs;
}

function rowKey(prefix: Uint8Array, seq: Seq): Uint8Array {
  const key = new Uint8Array(prefix.length + seqBytes);
  key.set(prefix);
  writeSeq(key, prefix.length, seq);
  return key;
}
