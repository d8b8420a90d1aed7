/** When a version expires, read from its record without parsing the rest. */
import { u48le } from '../base/bytes.ts';
import { rowKinds } from './row-kinds.ts';
import { recordFlags, recordHead } from './value-record.ts';

/**
 * The record at `from` is a PUT that expires by `ms` (since 1970). Unchecked: for records that are parsed
 * where they are used. Costs a look at two bytes where the version has no expiry.
 */
export function expiresBy(buf: Uint8Array, from: number, ms: number): boolean {
  if ((buf[from]! & 15) !== rowKinds.put || (buf[from + recordHead.at.flags]! & recordFlags.ttl) === 0) {
    return false;
  }
  let at = from + recordHead.size;
  while (buf[at]! >= 128) at++;
  at++;
  return u48le(buf, at) <= ms;
}
