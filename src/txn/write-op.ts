/** What a transaction is told to do to keys, and what that takes in the log. */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import { VarveError } from '../base/errors.ts';
import { batchBytesMax } from '../base/limits.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { inlineRecordBytes, writeInlineRecord } from '../format/inline-record.ts';
import { putPutHead } from '../format/log-ops.ts';
import { trees } from '../format/trees.ts';
import { type RecordBody, recordForms, type ValueRecord } from '../format/value-record.ts';
import type { NamedChunks } from '../value/value-ingest.ts';
import type { RecordRefs } from './version-ends.ts';

/** A new version of a key. `prefix` and `metadata` are borrowed until `commit` returns. */
export interface PutOp {
  readonly kind: 'put';
  readonly prefix: Uint8Array;
  readonly body: RecordBody;
  /** Encoded metadata; undefined = none. */
  readonly metadata: Uint8Array | undefined;
  readonly ifSeq?: Seq | undefined;
  /** The version expires so long after its commit, ms; undefined: as the space says; Infinity: never. */
  readonly ttlMs?: number | undefined;
  /** It expires then, ms since 1970, whatever `ttlMs` and the space say. */
  readonly expireAtMs?: number | undefined;
}

/** Removes a key where there is one. */
export interface DeleteOp {
  readonly kind: 'delete';
  readonly prefix: Uint8Array;
  readonly ifSeq?: Seq | undefined;
  /** Also removes a version that has expired, which counts as absent else. */
  readonly isExpired?: boolean;
}

export type WriteOp = PutOp | DeleteOp;

/** The row a transaction meets. */
export interface OldRow {
  seq: Seq;
  /** Current version is a put (not deleted, not absent). */
  live: boolean;
  createdMs: number;
  /** What it gives back when it ends; undefined where it holds no chunks. */
  refs: RecordRefs | undefined;
  /** Of a live row. */
  record: ValueRecord | undefined;
}

export const absent: OldRow = { seq: 0, live: false, createdMs: 0, refs: undefined, record: undefined };

/** Appends the PUTV of an inline value without metadata; returns the bytes of its record, the last ones. */
export function encodeInline(
  writer: ByteWriter,
  prefix: Uint8Array,
  to: number,
  value: Uint8Array,
  timeMs: number,
  old: OldRow,
): number {
  const ageMs = old.live ? Math.max(0, timeMs - old.createdMs) : 0;
  const recordBytes = inlineRecordBytes(value.length, ageMs);
  putPutHead(writer, trees.K, prefix, 0, to, recordBytes);
  const from = writer.pos;
  writeInlineRecord(writer, timeMs, ageMs, value);
  assert(writer.pos - from === recordBytes, 'a record has the length it was given');
  return recordBytes;
}

/** When a version put at `timeMs` expires; undefined: never. `spaceTtlMs`: of values of its space. */
export function expiryOf(
  op: Pick<PutOp, 'ttlMs' | 'expireAtMs'>,
  timeMs: number,
  spaceTtlMs: number | undefined,
): number | undefined {
  if (op.expireAtMs !== undefined) return op.expireAtMs;
  const ttlMs = op.ttlMs ?? spaceTtlMs;
  return ttlMs === undefined || ttlMs === Number.POSITIVE_INFINITY ? undefined : timeMs + ttlMs;
}

/** Room a transaction needs in a frame, at most. */
export function estimate(ops: readonly WriteOp[], named: readonly NamedChunks[]): number {
  let bytes = 0;
  for (const chunks of named) bytes += chunks.births.count * 64;
  for (const op of ops) {
    bytes += 64 + 2 * op.prefix.length;
    if (op.kind === 'delete') continue;
    bytes += 1024 + (op.metadata?.length ?? 0);
    if (op.body.form === recordForms.inline) bytes += op.body.size;
  }
  return bytes;
}

/** VARVE_INVALID_ARGUMENT for a transaction beyond the bound of one frame. */
export function tooLarge(bytes: number): VarveError {
  return new VarveError(
    'VARVE_INVALID_ARGUMENT',
    `the transaction takes ${bytes} bytes in the log; at most ${batchBytesMax} are allowed`,
  );
}

/** The row `op` meets, of which `found` was found. VARVE_CONFLICT when it is not the one `ifSeq` says. */
export function checkedRow(op: WriteOp, found: OldRow): OldRow {
  const isTaken = op.kind === 'delete' && op.isExpired === true && found.record !== undefined;
  const old = isTaken ? { ...found, live: true } : found;
  if (op.ifSeq === undefined) return old;
  const current = old.live ? old.seq : 0;
  if (current !== op.ifSeq) {
    throw new VarveError('VARVE_CONFLICT', 'the key has another seq than ifSeq says', {
      expected: op.ifSeq,
      actual: current,
    });
  }
  return old;
}
