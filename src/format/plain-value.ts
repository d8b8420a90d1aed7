/** The short way to the bytes of most value records: those without metadata and expiry that are not long. */
import { directChunksMax, inlineBytesMax } from '../base/limits.ts';
import { chunkRefBytes, chunkRefRawLen } from './chunk-ref-bytes.ts';
import { rowKinds } from './row-kinds.ts';
import { recordFlags, recordForms, recordHead, recordTime } from './value-record.ts';

/** First byte of a PUT record with an inline value, and of one with a list of chunks. */
const plainKindForm = rowKinds.put | (recordForms.inline << 4);
const plainListForm = rowKinds.put | (recordForms.list << 4);

/**
 * Where the value of the record in buf[from..to) starts, which ends at `to`, when it is inline and has
 * neither metadata nor expiry; -1 for every other record and for every damaged one: parseValueRecord tells.
 * For reads of values alone: makes no object.
 */
export function plainValueFrom(buf: Uint8Array, from: number, to: number): number {
  const flags = buf[from + recordHead.at.flags]!;
  let at = from + recordHead.size;
  if (at >= to || buf[from] !== plainKindForm || (flags & ~recordFlags.created) !== 0) return -1;
  // Positions may run past `to` on damage: then what is left is negative, and no size.
  let size = buf[at++]!;
  if (size >= 128) {
    const second = buf[at++]!;
    size = (size & 127) | ((second & 127) << 7);
    if (second >= 128) {
      const third = buf[at++]!;
      size |= third << 14;
      if (third === 0 || third >= 128) return -1;
    } else if (second === 0) return -1;
  }
  if (flags !== 0) at = ageTo(buf, at, recordTime(buf, from));
  return to - at === size && size <= inlineBytesMax ? at : -1;
}

/**
 * Where the references of the chunk list of the record in buf[from..to) start, which end at `to`, when it has
 * neither metadata nor expiry and a value of at most 64 KiB; -1 for every other record and for every damaged
 * one. Makes no object.
 */
export function plainListFrom(buf: Uint8Array, from: number, to: number): number {
  const flags = buf[from + recordHead.at.flags]!;
  let at = from + recordHead.size;
  if (at >= to || buf[from] !== plainListForm || (flags & ~recordFlags.created) !== 0) return -1;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = buf[at++]!;
    size |= (byte & 127) << shift;
    if (byte < 128) {
      if (byte === 0 || size > inlineBytesMax) return -1;
      break;
    }
    // Behind the end of the bytes too.
    if (!(byte >= 128) || shift === 14) return -1;
  }
  if (flags !== 0) at = ageTo(buf, at, recordTime(buf, from));
  const count = buf[at++]!;
  if (!(count >= 1 && count <= directChunksMax) || to - at !== count * chunkRefBytes) return -1;
  for (let ref = at; ref < to; ref += chunkRefBytes) {
    const rawLen = chunkRefRawLen(buf, ref);
    size = rawLen === 0 || rawLen > size ? -1 : size - rawLen;
    if (size < 0) return -1;
  }
  return size === 0 ? at : -1;
}

/** Position behind the age at `at`; Infinity when it is out of range or not in its shortest form. */
function ageTo(buf: Uint8Array, from: number, ageMax: number): number {
  let age = 0;
  let scale = 1;
  for (let at = from; at < from + 7; at++) {
    const byte = buf[at]!;
    age += (byte & 127) * scale;
    scale *= 128;
    if (byte < 128) return byte === 0 || age > ageMax ? Number.POSITIVE_INFINITY : at + 1;
  }
  return Number.POSITIVE_INFINITY;
}
