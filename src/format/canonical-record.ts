/**
 * Value records without places: what a version holds, said alike in every store and vault. A canonical record
 * is a PUT record whose chunk references carry id and length only.
 */

import { isZero } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import type { ChunkLocation } from './chunk-ref.ts';
import { chunkRefLayout } from './chunk-ref-bytes.ts';
import { rowKinds } from './row-kinds.ts';
import { parseValueRecord, recordForms, refIdAt, type ValueRecord } from './value-record.ts';

const hintFrom = chunkRefLayout.at.hintSegment;
const hintTo = chunkRefLayout.at.rawLen;

/** References a record counts: chunks of a list, the root of a tree. */
export function refCount(record: ValueRecord): number {
  if (record.form === recordForms.inline) return 0;
  return record.form === recordForms.tree ? 1 : record.chunks;
}

/** Appends the PUT record at record.buf[from..to) without its places. */
export function writeCanonicalRecord(w: ByteWriter, record: ValueRecord, from: number, to: number): void {
  const start = w.pos;
  w.raw(record.buf.subarray(from, to));
  for (let i = 0; i < refCount(record); i++) {
    const at = start + refIdAt(record, i) - from;
    w.bytes.fill(0, at + hintFrom, at + hintTo);
  }
}

/** Parses buf[from..to). VARVE_CORRUPT unless it is a PUT record without places. */
export function parseCanonicalRecord(buf: Uint8Array, from: number, to: number, place: Place): ValueRecord {
  const record = parseValueRecord(buf, from, to, place);
  const at = { file: place.file, offset: (place.offset ?? 0) + from };
  if (record.kind !== rowKinds.put) throw corrupt('record of a backup is no value', at);
  for (let i = 0; i < refCount(record); i++) {
    const ref = refIdAt(record, i);
    if (!isZero(buf, ref + hintFrom, ref + hintTo)) throw corrupt('record of a backup has places', at);
  }
  return record;
}

/** Writes the place of reference `i` into the record, in place. */
export function setPlace(record: ValueRecord, i: number, place: ChunkLocation): void {
  const view = new DataView(record.buf.buffer, record.buf.byteOffset);
  const at = refIdAt(record, i);
  view.setUint32(at + chunkRefLayout.at.hintSegment, place.segment, true);
  view.setUint32(at + chunkRefLayout.at.hintOff8, place.off8, true);
  view.setUint32(at + chunkRefLayout.at.storedLen, place.storedLen, true);
}
