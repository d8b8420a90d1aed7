/**
 * Payloads of log frames: OPEN as a fixed record, BATCH and STAGE as `count x { u32 txnLen, txn }`, where a
 * transaction is a run of ops: u8 code, then fields of varints and length-prefixed bytes.
 *
 * Encoding appends to a ByteWriter, decoding calls a visitor with positions in the payload: no object per op.
 */
import type { FileNo, Seq } from '../base/brands.ts';
import type { Place } from '../base/errors.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { defineLayout, f } from '../codec/layout.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { OpReader, putId } from './op-reader.ts';
import { type PurgeVisitor, purgeOpCodes, visitListDrop, visitPurge } from './purge-ops.ts';
import type { TreeId } from './trees.ts';

/** Codes of ops. Never changed, never reused. */
export const opCodes = {
  put: 1,
  delete: 2,
  chunk: 3,
  purge: purgeOpCodes.purge,
  trash: 5,
  indexAdd: 6,
  indexDrop: 7,
  move: 8,
  listDrop: purgeOpCodes.listDrop,
  sys: 11,
} as const;

/** Durability a log was opened with. Never changed, never reused. */
export const durabilityCodes = { full: 0, group: 1, os: 2 } as const;

export const openPayload = defineLayout('open', 'OPEN payload', 56, {
  prevFileNo: f(0, 'u64', 'log file this one follows, 0 = none. guards: missing file'),
  prevEndOffset: f(
    8,
    'u64',
    'where replay of that file stops. guards: shortened file, a cut tail coming back',
  ),
  prevLastSeq: f(16, 'u64', 'highest number before that offset'),
  firstSeq: f(24, 'u64', 'lowest number in this file, the one of OPEN included: prevLastSeq + 1'),
  writerEpoch: f(32, 'u64', 'epoch of the writer. guards: a writer that lost its lock'),
  timelineId: f(40, 'u64', 'branch of history'),
  durability: f(48, 'u8', '0 full, 1 group, 2 os; fixed while the store is open'),
  reserved: f(49, 7, 'zero'),
});

/** What opens a log file. */
export interface OpenFields {
  prevFileNo: FileNo;
  prevEndOffset: number;
  prevLastSeq: Seq;
  firstSeq: Seq;
  writerEpoch: number;
  timelineId: number;
  /** One of durabilityCodes. */
  durability: number;
}

/** Starts a transaction; give the result to `endTxn`. */
export function beginTxn(w: ByteWriter): number {
  const start = w.pos;
  w.u32(0);
  return start;
}

/** Ends the transaction that `beginTxn` started: fills in its length. */
export function endTxn(w: ByteWriter, start: number): void {
  w.view.setUint32(start, w.pos - start - 4, true);
}

/** PUTV: a new version of `key`. `value` may come in parts that are joined. */
export function putPut(
  w: ByteWriter,
  tree: TreeId,
  key: Uint8Array,
  value: Uint8Array | readonly Uint8Array[],
): void {
  w.u8(opCodes.put);
  w.u8(tree);
  w.varBytes(key);
  if (value instanceof Uint8Array) {
    w.varBytes(value);
    return;
  }
  let total = 0;
  for (const part of value) total += part.length;
  w.varint(total);
  for (const part of value) w.raw(part);
}

/**
 * PUTV up to where the value begins: the key is keyBuf[from..to), and the next `valueLength` bytes written
 * are the value.
 */
export function putPutHead(
  w: ByteWriter,
  tree: TreeId,
  keyBuf: Uint8Array,
  from: number,
  to: number,
  valueLength: number,
): void {
  const length = to - from;
  w.reserve(2 + 8 + length + 8);
  w.u8(opCodes.put);
  w.u8(tree);
  w.varint(length);
  const keyAt = w.pos;
  const { bytes } = w;
  for (let i = 0; i < length; i++) bytes[keyAt + i] = keyBuf[from + i]!;
  w.pos = keyAt + length;
  w.varint(valueLength);
}

/** DELV: a delete marker; `coveringSeq` is 0, or the number of the range delete it carries out. */
export function putDelete(w: ByteWriter, tree: TreeId, key: Uint8Array, coveringSeq: Seq): void {
  w.u8(opCodes.delete);
  w.u8(tree);
  w.varBytes(key);
  w.varint(coveringSeq);
}

/** CHUNK: the id at `id[idAt..idAt+32)` enters the index. */
export function putChunk(
  w: ByteWriter,
  id: Uint8Array,
  idAt: number,
  segment: FileNo,
  off8: number,
  storedLen: number,
  rawLen: number,
  kind: number,
  codec: number,
): void {
  w.u8(opCodes.chunk);
  putId(w, id, idAt);
  w.varint(segment);
  w.varint(off8);
  w.varint(storedLen);
  w.varint(rawLen);
  w.u8(kind);
  w.u8(codec);
}

/** MOVE: a new place of an id that is in the index. */
export function putMove(
  w: ByteWriter,
  id: Uint8Array,
  idAt: number,
  segment: FileNo,
  off8: number,
  storedLen: number,
): void {
  w.u8(opCodes.move);
  putId(w, id, idAt);
  w.varint(segment);
  w.varint(off8);
  w.varint(storedLen);
}

/** TRASH: the version `seq1` of `key` was superseded at `seq2` and awaits its purge. */
export function putTrash(w: ByteWriter, seq2: Seq, key: Uint8Array, seq1: Seq): void {
  w.u8(opCodes.trash);
  w.varint(seq2);
  w.varBytes(key);
  w.varint(seq1);
}

/** SYS: sets a system row, or deletes it when `value` is undefined. */
export function putSys(w: ByteWriter, key: Uint8Array, value: Uint8Array | undefined): void {
  w.u8(opCodes.sys);
  w.varBytes(key);
  w.u8(value === undefined ? 0 : 1);
  if (value !== undefined) w.varBytes(value);
}

/** Receives ops in order. Positions are in `buf`, which is borrowed until the call returns. */
export interface OpVisitor extends PurgeVisitor {
  /** A transaction begins; every op up to the next call belongs to it. */
  txn?(seq: Seq): void;
  put(
    tree: TreeId,
    seq: Seq,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
  ): void;
  del(tree: TreeId, seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, coveringSeq: Seq): void;
  chunk(
    seq: Seq,
    buf: Uint8Array,
    idAt: number,
    segment: FileNo,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): void;
  move(seq: Seq, buf: Uint8Array, idAt: number, segment: FileNo, off8: number, storedLen: number): void;
  trash(seq2: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, seq1: Seq): void;
  /** `valueFrom` and `valueTo` are -1 when the row is deleted. */
  sys(seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void;
}

/** Passes over every op: what a visitor of a few kinds is made from. */
export const silentOps: OpVisitor = {
  put: () => undefined,
  del: () => undefined,
  chunk: () => undefined,
  move: () => undefined,
  purge: () => undefined,
  listDrop: () => undefined,
  trash: () => undefined,
  sys: () => undefined,
};

/**
 * Walks the ops of a BATCH payload `payload[from..to)`; transaction i has number `seqFirst + i`.
 * `place.offset` is the file offset of `payload[0]`. VARVE_CORRUPT when the bytes are not `count` whole
 * transactions, VARVE_FORMAT_VERSION on an op this build cannot apply; ops before it have been visited.
 */
export function visitOps(
  payload: Uint8Array,
  from: number,
  to: number,
  seqFirst: Seq,
  count: number,
  visitor: OpVisitor,
  place: Place,
): void {
  walk(payload, from, to, seqFirst, count, visitor, place, false);
}

/** The same for a STAGE payload: one transaction of CHUNK ops under the number `seq`. */
export function visitStage(
  payload: Uint8Array,
  from: number,
  to: number,
  seq: Seq,
  visitor: OpVisitor,
  place: Place,
): void {
  walk(payload, from, to, seq, 1, visitor, place, true);
}

function walk(
  payload: Uint8Array,
  from: number,
  to: number,
  seqFirst: Seq,
  count: number,
  visitor: OpVisitor,
  place: Place,
  chunksOnly: boolean,
): void {
  const r = new OpReader(payload, place, from, to);
  for (let i = 0; i < count; i++) {
    const length = r.u32();
    if (length > r.left) throw r.fail('transaction is longer than its frame');
    r.limit = r.pos + length;
    visitor.txn?.(seqFirst + i);
    while (r.pos < r.limit) {
      r.opAt = r.pos;
      const code = r.u8();
      if (chunksOnly && code !== opCodes.chunk) throw r.fail('a STAGE frame holds an op other than CHUNK');
      visitOp(r, code, seqFirst + i, visitor);
    }
  }
  r.finish();
}

function visitOp(r: OpReader, code: number, seq: Seq, visitor: OpVisitor): void {
  switch (code) {
    case opCodes.put:
      visitPut(r, seq, visitor);
      break;
    case opCodes.delete:
      visitDelete(r, seq, visitor);
      break;
    case opCodes.chunk: {
      const idAt = r.span(chunkIdBytes);
      const segment = r.varint32();
      const off8 = r.varint32();
      const storedLen = r.varint32();
      const rawLen = r.varint32();
      const kind = r.u8();
      const codec = r.u8();
      r.check();
      visitor.chunk(seq, r.bytes, idAt, segment, off8, storedLen, rawLen, kind, codec);
      break;
    }
    case opCodes.move: {
      const idAt = r.span(chunkIdBytes);
      const segment = r.varint32();
      const off8 = r.varint32();
      const storedLen = r.varint32();
      r.check();
      visitor.move(seq, r.bytes, idAt, segment, off8, storedLen);
      break;
    }
    case opCodes.purge:
      visitPurge(r, seq, visitor);
      break;
    case opCodes.listDrop:
      visitListDrop(r, seq, visitor);
      break;
    case opCodes.trash: {
      const seq2 = r.varint();
      const keyFrom = r.varSpan();
      const keyTo = r.pos;
      const seq1 = r.varint();
      r.check();
      visitor.trash(seq2, r.bytes, keyFrom, keyTo, seq1);
      break;
    }
    case opCodes.sys:
      visitSys(r, seq, visitor);
      break;
    default:
      throw r.unknown(code);
  }
}

function visitPut(r: OpReader, seq: Seq, visitor: OpVisitor): void {
  const tree = r.tree();
  const keyFrom = r.varSpan();
  const keyTo = r.pos;
  const valueFrom = r.varSpan();
  r.check();
  visitor.put(tree, seq, r.bytes, keyFrom, keyTo, valueFrom, r.pos);
}

function visitDelete(r: OpReader, seq: Seq, visitor: OpVisitor): void {
  const tree = r.tree();
  const keyFrom = r.varSpan();
  const keyTo = r.pos;
  const coveringSeq = r.varint();
  r.check();
  visitor.del(tree, seq, r.bytes, keyFrom, keyTo, coveringSeq);
}

function visitSys(r: OpReader, seq: Seq, visitor: OpVisitor): void {
  const keyFrom = r.varSpan();
  const keyTo = r.pos;
  const present = r.u8();
  if (present > 1) throw r.fail('SYS op has an unknown form');
  const valueFrom = present === 1 ? r.varSpan() : -1;
  r.check();
  visitor.sys(seq, r.bytes, keyFrom, keyTo, valueFrom, present === 1 ? r.pos : -1);
}
