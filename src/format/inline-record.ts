/** The value record of an inline value without metadata or expiry, written without an object. */
import type { ByteWriter } from '../codec/byte-writer.ts';
import { varintBytes } from '../codec/varint.ts';
import { rowKinds } from './row-kinds.ts';
import { recordFlags, recordForms, recordHead } from './value-record.ts';

/** Bytes of the record of a value of `size` bytes; `ageMs`: from the key's creation to the commit. */
export function inlineRecordBytes(size: number, ageMs: number): number {
  return recordHead.size + varintBytes(size) + (ageMs === 0 ? 0 : varintBytes(ageMs)) + size;
}

/** Appends what writeValueRecord would. `bytes` is copied. */
export function writeInlineRecord(w: ByteWriter, timeMs: number, ageMs: number, bytes: Uint8Array): void {
  w.reserve(recordHead.size);
  w.u8(rowKinds.put | (recordForms.inline << 4));
  w.u8(ageMs === 0 ? 0 : recordFlags.created);
  w.u48(timeMs);
  w.varint(bytes.length);
  if (ageMs > 0) w.varint(ageMs);
  w.raw(bytes);
}
