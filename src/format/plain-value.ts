/** The short way to the bytes of most value records: inline, without metadata and expiry. */
import { inlineBytesMax } from '../base/limits.ts';
import { rowKinds } from './row-kinds.ts';
import { recordFlags, recordForms, recordHead, recordTime } from './value-record.ts';

/** First byte of a PUT record with an inline value. */
const plainKindForm = rowKinds.put | (recordForms.inline << 4);

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
