/**
 * Value record: the value of a row in the key tree. It says what one version of a key holds.
 *
 *   head 8 B
 *   PUT      varint size | [u48 expireAtMs] | [varint ms from the key's creation to this commit]
 *            | [varint length, metadata] | body
 *     form 0   the bytes themselves, at most 64 KiB
 *     form 1   u8 n (1 .. 16), n chunk refs
 *     form 2   chunk ref of the root list node, tree tail 16 B
 *   DELETE, late DELETE    nothing more
 *   GONE     u64 number of the purging commit
 *
 * The bracketed parts are there when their flag is set. Chunk ids are identity; the place beside each is only
 * a hint.
 */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import { u48le, viewOf } from '../base/bytes.ts';
import { corrupt, type Place, VarveError } from '../base/errors.ts';
import {
  chunkMaxCeiling,
  directChunksMax,
  inlineBytesMax,
  listHeightMax,
  metadataBytesMax,
} from '../base/limits.ts';
import { ByteReader } from '../codec/byte-reader.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { decodeLayout, defineLayout, encodeLayout, f, layoutBytes, writeU64 } from '../codec/layout.ts';
import type { ChunkLocation, ChunkRef } from './chunk-ref.ts';
import {
  chunkRefBytes,
  chunkRefHint,
  chunkRefLayout,
  chunkRefRawLen,
  writeChunkRef,
} from './chunk-ref-bytes.ts';
import { listNodeCountOf } from './list-node.ts';
import { rowKindAt, rowKinds } from './row-kinds.ts';

/** How a PUT holds its value. Never changed, never reused. */
export const recordForms = { inline: 0, list: 1, tree: 2 } as const;

/** Bits of the flags byte. Never changed, never reused; an unknown one is a newer format. */
export const recordFlags = { ttl: 1, metadata: 2, created: 4 } as const;
const knownFlags = 7;

export const recordHead = defineLayout('vrec', 'value record head', 8, {
  kindForm: f(
    0,
    'u8',
    'kind | form << 4; kind 1 PUT, 2 DELETE, 3 GONE, 4 late DELETE; form 0 inline, 1 list, 2 tree',
  ),
  flags: f(
    1,
    'u8',
    '1 expiry, 2 metadata, 4 creation time. guards: newer format (an unknown bit is refused)',
  ),
  commitTimeMs: f(2, 'u48', "the commit's time, ms since 1970"),
});

export const treeTail = defineLayout('vrectree', 'value record tree tail', 16, {
  height: f(0, 'u8', 'levels of list nodes, 1 .. 5. guards: a node of another level as root'),
  reserved: f(1, 7, 'zero'),
  leafCount: f(8, 'u64', 'data chunks of the value. guards: a tree with leaves missing'),
});

/** What a PUT record's body is made of. */
export type RecordBody =
  /** `bytes` is borrowed while the record is written. */
  | { readonly form: typeof recordForms.inline; readonly size: number; readonly bytes: Uint8Array }
  /** `refs`: n encoded chunk references in order. */
  | { readonly form: typeof recordForms.list; readonly size: number; readonly refs: Uint8Array }
  | {
      readonly form: typeof recordForms.tree;
      readonly size: number;
      readonly root: ChunkRef;
      readonly height: number;
      readonly leafCount: number;
    };

/** A record to write. Times are ms since 1970. */
export type RecordFields =
  | {
      kind: typeof rowKinds.put;
      timeMs: number;
      body: RecordBody;
      expireAtMs?: number;
      /** First put since the key was absent; the commit time when omitted. At most `timeMs`. */
      createdMs?: number;
      /** From encodeMetadata; omitted or empty = none. Borrowed. */
      metadata?: Uint8Array;
    }
  | { kind: typeof rowKinds.delete | typeof rowKinds.lateDelete; timeMs: number }
  | { kind: typeof rowKinds.gone; timeMs: number; seq: Seq };

/** Appends one record to `w`. Values are trusted (checked where they came in). */
export function writeValueRecord(w: ByteWriter, fields: RecordFields): void {
  if (fields.kind !== rowKinds.put) {
    writeHead(w, fields.kind, 0, fields.timeMs);
    if (fields.kind === rowKinds.gone) w.u64(fields.seq);
    return;
  }
  const { timeMs, body, expireAtMs, metadata } = fields;
  const age = timeMs - (fields.createdMs ?? timeMs);
  assert(age >= 0, 'a key is not created after its commit');
  const withMetadata = metadata !== undefined && metadata.length > 0;
  const flags =
    (expireAtMs === undefined ? 0 : recordFlags.ttl) |
    (withMetadata ? recordFlags.metadata : 0) |
    (age === 0 ? 0 : recordFlags.created);
  writeHead(w, rowKinds.put | (body.form << 4), flags, timeMs);
  w.varint(body.size);
  if (expireAtMs !== undefined) w.u48(expireAtMs);
  if (age > 0) w.varint(age);
  if (withMetadata) w.varBytes(metadata);
  writeBody(w, body);
}

function writeHead(w: ByteWriter, kindForm: number, flags: number, timeMs: number): void {
  w.reserve(recordHead.size);
  w.u8(kindForm);
  w.u8(flags);
  w.u48(timeMs);
}

function writeBody(w: ByteWriter, body: RecordBody): void {
  if (body.form === recordForms.inline) {
    assert(body.bytes.length === body.size, 'inline bytes have the size of the value');
    w.raw(body.bytes);
  } else if (body.form === recordForms.list) {
    const n = body.refs.length / chunkRefBytes;
    assert(Number.isInteger(n) && n >= 1 && n <= directChunksMax, 'a chunk list holds 1 to 16 references');
    w.u8(n);
    w.raw(body.refs);
  } else {
    w.reserve(chunkRefBytes);
    writeChunkRef(w.bytes, w.pos, body.root.id, 0, body.root);
    w.pos += chunkRefBytes;
    w.raw(layoutBytes(treeTail, { height: body.height, leafCount: body.leafCount }));
  }
}

/** A delete marker, a fresh array; `late` = made by the reaper for a range delete. */
export function deleteRecord(timeMs: number, late = false): Uint8Array {
  return layoutBytes(recordHead, {
    kindForm: late ? rowKinds.lateDelete : rowKinds.delete,
    flags: 0,
    commitTimeMs: timeMs,
  });
}

/** The row of a version that is physically gone since commit `seq`, a fresh array. */
export function goneRecord(timeMs: number, seq: Seq): Uint8Array {
  const out = new Uint8Array(recordHead.size + 8);
  encodeLayout(recordHead, { kindForm: rowKinds.gone, flags: 0, commitTimeMs: timeMs }, out);
  writeU64(viewOf(out), recordHead.size, seq);
  return out;
}

/** A parsed record: numbers and offsets into `buf`, which is borrowed for as long as the record is used. */
export interface ValueRecord {
  readonly buf: Uint8Array;
  /** One of rowKinds. All that follows but `timeMs` and `goneSeq` is meaningful for PUT only. */
  readonly kind: number;
  /** One of recordForms. */
  readonly form: number;
  readonly timeMs: number;
  readonly size: number;
  readonly expireAtMs: number | undefined;
  readonly createdMs: number;
  /** Encoded metadata; equal when there is none. */
  readonly metadataFrom: number;
  readonly metadataTo: number;
  /** Inline bytes, the first chunk reference or the root's. */
  readonly bodyFrom: number;
  /** Data chunks; 0 for inline. */
  readonly chunks: number;
  /** Levels of list nodes; 0 for inline and list. */
  readonly height: number;
  /** GONE only: number of the purging commit. */
  readonly goneSeq: Seq;
}

/**
 * Parses buf[from..to) without copying. VARVE_CORRUPT on anything writeValueRecord does not write,
 * VARVE_FORMAT_VERSION on unknown flags. `place.offset` is the file offset of buf[0].
 */
export function parseValueRecord(buf: Uint8Array, from: number, to: number, place: Place): ValueRecord {
  const r = new ByteReader(buf, place, from, to);
  const kindForm = r.u8();
  const flags = r.u8();
  if ((flags & ~knownFlags) !== 0) {
    const offset = (place.offset ?? 0) + from + recordHead.at.flags;
    throw new VarveError('VARVE_FORMAT_VERSION', `${place.file}: value record with unknown flags`, {
      file: place.file,
      offset,
      actual: flags,
    });
  }
  const timeMs = r.u48();
  if ((kindForm & 15) !== rowKinds.put) return parseMarker(r, kindForm, flags, timeMs);
  const form = kindForm >> 4;
  if (form > recordForms.tree) throw r.fail('value record has an unknown form');
  const size = r.varint();
  const expireAtMs = (flags & recordFlags.ttl) === 0 ? undefined : r.u48();
  let age = 0;
  if ((flags & recordFlags.created) !== 0) {
    age = r.varint();
    if (age === 0 || age > timeMs) throw r.fail('value record has a creation time out of range');
  }
  let metadataFrom = r.pos;
  if ((flags & recordFlags.metadata) !== 0) {
    const length = r.varint();
    if (length === 0 || length > metadataBytesMax) throw r.fail('metadata length is out of range');
    metadataFrom = r.pos;
    r.view(length);
  }
  const metadataTo = r.pos;
  const body = parseBody(r, form, size, place);
  r.finish();
  const createdMs = timeMs - age;
  const { bodyFrom, chunks, height } = body;
  return {
    buf,
    kind: rowKinds.put,
    form,
    timeMs,
    size,
    expireAtMs,
    createdMs,
    metadataFrom,
    metadataTo,
    bodyFrom,
    chunks,
    height,
    goneSeq: 0,
  };
}

function parseMarker(r: ByteReader, kind: number, flags: number, timeMs: number): ValueRecord {
  const known = kind === rowKinds.delete || kind === rowKinds.lateDelete || kind === rowKinds.gone;
  if (!known) throw r.fail('value record has an unknown kind');
  if (flags !== 0) throw r.fail('value record without a value has flags');
  const goneSeq = kind === rowKinds.gone ? r.u64() : 0;
  r.finish();
  const at = r.pos;
  return {
    buf: r.bytes,
    kind,
    form: recordForms.inline,
    timeMs,
    size: 0,
    expireAtMs: undefined,
    createdMs: timeMs,
    metadataFrom: at,
    metadataTo: at,
    bodyFrom: at,
    chunks: 0,
    height: 0,
    goneSeq,
  };
}

interface ParsedBody {
  bodyFrom: number;
  chunks: number;
  height: number;
}

function parseBody(r: ByteReader, form: number, size: number, place: Place): ParsedBody {
  if (form === recordForms.inline) {
    if (size > inlineBytesMax) throw r.fail('inline value exceeds its bound');
    const bodyFrom = r.pos;
    r.view(size);
    return { bodyFrom, chunks: 0, height: 0 };
  }
  if (form === recordForms.list) {
    const chunks = r.u8();
    if (chunks === 0 || chunks > directChunksMax) throw r.fail('chunk list has a count out of range');
    const bodyFrom = r.pos;
    let sum = 0;
    for (let i = 0; i < chunks; i++) sum += skipChunkRef(r);
    if (sum !== size) throw r.fail('chunk list does not add up to the size of the value');
    return { bodyFrom, chunks, height: 0 };
  }
  const bodyFrom = r.pos;
  const rootBytes = skipChunkRef(r);
  if (listNodeCountOf(rootBytes) === 0) throw r.fail('root of a value has no length of a list node');
  const tailAt = r.pos;
  r.view(treeTail.size);
  const { height, leafCount } = decodeLayout(treeTail, r.bytes, tailAt, place);
  if (height === 0 || height > listHeightMax) throw r.fail('value tree has a height out of range');
  if (leafCount === 0 || leafCount > size || size > leafCount * chunkMaxCeiling)
    throw r.fail('value tree has a leaf count that does not fit its size');
  return { bodyFrom, chunks: leafCount, height };
}

function skipChunkRef(r: ByteReader): number {
  r.view(chunkRefLayout.at.rawLen);
  const rawLen = r.u32();
  if (rawLen === 0 || rawLen > chunkMaxCeiling) throw r.fail('chunk length is out of range');
  return rawLen;
}

/**
 * Where the id of the i-th reference of a list record, or of a tree record's root (i = 0), starts in `buf`.
 */
export function refIdAt(record: ValueRecord, i: number): number {
  return record.bodyFrom + i * chunkRefBytes;
}

/** Bytes of the i-th chunk of a list record, or of a tree record's root node. */
export function refRawLen(record: ValueRecord, i: number): number {
  return chunkRefRawLen(record.buf, refIdAt(record, i));
}

/** Place of the i-th reference as last seen; undefined where the record carries none. */
export function refHint(record: ValueRecord, i: number): ChunkLocation | undefined {
  return chunkRefHint(record.buf, refIdAt(record, i));
}

/**
 * Calls `visit` with the offset of every chunk id the record in buf[from..to) counts as a reference: each
 * chunk of a list, the root of a tree; none for other records. VARVE_CORRUPT when the record does not parse.
 */
export function visitRecordRefs(
  buf: Uint8Array,
  from: number,
  to: number,
  visit: (idAt: number) => void,
  place: Place = { file: 'value record' },
): void {
  if (to - from < recordHead.size) throw corrupt('value record is cut off', place);
  if (recordKind(buf, from) !== rowKinds.put || recordForm(buf, from) === recordForms.inline) return;
  const record = parseValueRecord(buf, from, to, place);
  const refs = record.form === recordForms.tree ? 1 : record.chunks;
  for (let i = 0; i < refs; i++) visit(refIdAt(record, i));
}

/**
 * Kind of the record at `from`, one of rowKinds. Unchecked, as all peeks: for records that were parsed
 * before.
 */
export function recordKind(buf: Uint8Array, from: number): number {
  return rowKindAt(buf, from);
}

/** Form of the PUT record at `from`, one of recordForms. */
export function recordForm(buf: Uint8Array, from: number): number {
  return buf[from]! >> 4;
}

/** Commit time of the record at `from`, ms since 1970. */
export function recordTime(buf: Uint8Array, from: number): number {
  return u48le(buf, from + recordHead.at.commitTimeMs);
}

/** Size of the value of the record at `from`; 0 where it has none. */
export function recordSize(buf: Uint8Array, from: number): number {
  if (recordKind(buf, from) !== rowKinds.put) return 0;
  let size = 0;
  let scale = 1;
  for (let at = from + recordHead.size, n = 0; n < 8; at++, n++) {
    const byte = buf[at]!;
    size += (byte & 127) * scale;
    if (byte < 128) break;
    scale *= 128;
  }
  return size;
}
