/**
 * Keys of the ordered trees. Plain byte order of the encoded form is the order of user keys, then newest
 * first:
 *
 *   K tree   space u32 BE | escape(userKey) 00 01 | ~seq u64 BE
 *   S tree                  escape(sysKey)  00 01 | ~seq u64 BE
 *
 * `escape` maps 00 to 00 FF. The terminator is 00 01 and not 00 alone because ~seq starts with FF, which
 * would read as an escaped zero. Everything before ~seq is the *row prefix*: equal for all versions of one
 * key.
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, i32be, prefixEnd, u32be } from '../base/bytes.ts';
import { corrupt, invalid, type Place, type VarveError } from '../base/errors.ts';
import { integerMax, keyBytesMax } from '../base/limits.ts';

/** Bytes of ~seq at the end of every internal key. */
export const seqBytes = 8;
/** Longest row prefix, and longest internal key: the size of a scratch buffer that always suffices. */
export const rowPrefixBytesMax: number = 4 + 2 * keyBytesMax + 2;
export const rowKeyBytesMax: number = rowPrefixBytesMax + seqBytes;

/** Largest number of a space. */
export const spaceMax = 0xffffffff;

/**
 * Writes the row prefix of `key` at `at` and returns the position after it. `out` must have room for
 * `rowPrefixBytesMax` (or 6 + 2 * key.length). VARVE_INVALID_ARGUMENT for a key above 65,535 bytes.
 */
export function writeRowPrefix(out: Uint8Array, at: number, space: number, key: Uint8Array): number {
  return writeTerminator(out, writeEscaped(out, writeSpace(out, at, space), key));
}

/** As writeRowPrefix for the UTF-8 form of `text`, without an array in between. Refuses lone surrogates. */
export function writeRowPrefixText(out: Uint8Array, at: number, space: number, text: string): number {
  if (text.length > keyBytesMax) throw keyTooLong();
  const start = writeSpace(out, at, space);
  let end = start;
  let zeros = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x80) {
      end = writeWide(out, end, text, i, c);
      if (c >= 0xd800 && c < 0xe000) i++;
    } else {
      out[end++] = c;
      if (c === 0) {
        out[end++] = 0xff;
        zeros++;
      }
    }
    if (end - start - zeros > keyBytesMax) throw keyTooLong();
  }
  return writeTerminator(out, end);
}

/** Writes one character above U+007F; a surrogate takes its pair at i + 1 with it. */
function writeWide(out: Uint8Array, at: number, text: string, i: number, c: number): number {
  if (c < 0x800) {
    out[at++] = 0xc0 | (c >> 6);
  } else if (c < 0xd800 || c >= 0xe000) {
    out[at++] = 0xe0 | (c >> 12);
    out[at++] = 0x80 | ((c >> 6) & 63);
  } else {
    const low = i + 1 < text.length ? text.charCodeAt(i + 1) : 0;
    if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
      throw invalid('key has a lone surrogate: give a Uint8Array for arbitrary bytes');
    c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
    out[at++] = 0xf0 | (c >> 18);
    out[at++] = 0x80 | ((c >> 12) & 63);
    out[at++] = 0x80 | ((c >> 6) & 63);
  }
  out[at++] = 0x80 | (c & 63);
  return at;
}

/** Writes the whole internal key of one version; returns the position after it (room: `rowKeyBytesMax`). */
export function writeRowKey(out: Uint8Array, at: number, space: number, key: Uint8Array, seq: Seq): number {
  return writeSeq(out, writeRowPrefix(out, at, space, key), seq);
}

/** Writes ~seq big-endian; returns the position after it. */
export function writeSeq(out: Uint8Array, at: number, seq: Seq): number {
  const high = ~Math.floor(seq / 2 ** 32);
  const low = ~((seq % 2 ** 32) | 0);
  out[at] = high >>> 24;
  out[at + 1] = high >>> 16;
  out[at + 2] = high >>> 8;
  out[at + 3] = high;
  out[at + 4] = low >>> 24;
  out[at + 5] = low >>> 16;
  out[at + 6] = low >>> 8;
  out[at + 7] = low;
  return at + seqBytes;
}

/** Row prefix of a key, a fresh array. */
export function encodeRowPrefix(space: number, userKey: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + escapedLength(userKey) + 2);
  writeRowPrefix(out, 0, space, userKey);
  return out;
}

/** Internal key: row prefix and ~seq, a fresh array. Serves the K and the S tree. */
export function encodeInternalKey(prefix: Uint8Array, seq: Seq): Uint8Array {
  const out = new Uint8Array(prefix.length + seqBytes);
  out.set(prefix);
  writeSeq(out, prefix.length, seq);
  return out;
}

/** Row prefix of a system row: no space in front. A fresh array. */
export function encodeSysPrefix(sysKey: Uint8Array): Uint8Array {
  const out = new Uint8Array(escapedLength(sysKey) + 2);
  writeTerminator(out, writeEscaped(out, 0, sysKey));
  return out;
}

/** Internal key of a system row, a fresh array. */
export function encodeSysKey(sysKey: Uint8Array, seq: Seq): Uint8Array {
  return encodeInternalKey(encodeSysPrefix(sysKey), seq);
}

/** Number of the space a key of the key tree belongs to; `buf` holds at least its four bytes. */
export function spaceOf(buf: Uint8Array, from: number): number {
  return u32be(buf, from);
}

/** Sequence number of the key that ends at `keyTo`. Unchecked: `decodeInternalKey` checks. */
export function seqOf(buf: Uint8Array, keyTo: number): Seq {
  const at = keyTo - seqBytes;
  const high = i32be(buf, at);
  const low = i32be(buf, at + 4);
  return (~high >>> 0) * 2 ** 32 + (~low >>> 0);
}

/** Where the row prefix of the key buf[from..to) ends. */
export function rowPrefixEnd(_buf: Uint8Array, _from: number, to: number): number {
  return to - seqBytes;
}

/** Parts of a K-tree key; `userKey` is a copy. */
export interface InternalKey {
  space: number;
  userKey: Uint8Array;
  seq: Seq;
}

const unplaced: Place = { file: 'internal key' };

/**
 * Decodes buf[from..to). VARVE_CORRUPT when it is not the encoding of any key; place.offset is that of
 * buf[0].
 */
export function decodeInternalKey(
  buf: Uint8Array,
  from: number,
  to: number,
  place: Place = unplaced,
): InternalKey {
  if (to - from < 4 + 2 + seqBytes) throw damaged('internal key is cut off', place, from);
  const space = u32be(buf, from);
  return { space, userKey: decodeEscaped(buf, from + 4, to, place), seq: checkedSeq(buf, to, place) };
}

/**
 * Writes the user key of the K-tree key buf[from..to) to the start of `out`, which has room for keyBytesMax,
 * and returns its length. VARVE_CORRUPT as decodeInternalKey.
 */
export function writeUserKey(
  out: Uint8Array,
  buf: Uint8Array,
  from: number,
  to: number,
  place: Place = unplaced,
): number {
  if (to - from < 4 + 2 + seqBytes) throw damaged('internal key is cut off', place, from);
  return unescapeInto(out, buf, from + 4, to, place);
}

/** Decodes a system key buf[from..to) as decodeInternalKey does. */
export function decodeSysKey(
  buf: Uint8Array,
  from: number,
  to: number,
  place: Place = unplaced,
): { sysKey: Uint8Array; seq: Seq } {
  if (to - from < 2 + seqBytes) throw damaged('internal key is cut off', place, from);
  return { sysKey: decodeEscaped(buf, from, to, place), seq: checkedSeq(buf, to, place) };
}

/** Limits of a listing: all given ones hold together. */
export interface KeyRange {
  prefix?: Uint8Array;
  gt?: Uint8Array;
  gte?: Uint8Array;
  lt?: Uint8Array;
  lte?: Uint8Array;
}

/**
 * The range as bounds on internal keys: from <= key < to. `to` is undefined only past the last key of the
 * last space; `from` equals `to` where nothing can match. Both are fresh arrays.
 */
export function boundsOf(range: KeyRange, space: number): { from: Uint8Array; to: Uint8Array | undefined } {
  const whole = encodeOpenPrefix(space, range.prefix ?? new Uint8Array(0));
  let from = whole;
  let to = prefixEnd(whole);
  const raise = (bound: Uint8Array): void => {
    if (compareBytes(bound, from) > 0) from = bound;
  };
  const lower = (bound: Uint8Array): void => {
    if (to === undefined || compareBytes(bound, to) < 0) to = bound;
  };
  if (range.gte !== undefined) raise(encodeRowPrefix(space, range.gte));
  if (range.gt !== undefined) raise(afterRow(space, range.gt));
  if (range.lt !== undefined) lower(encodeRowPrefix(space, range.lt));
  if (range.lte !== undefined) lower(afterRow(space, range.lte));
  if (to !== undefined && compareBytes(from, to) > 0) to = from.slice();
  return { from, to };
}

/** Above every version of `key`, below every other key after it: the terminator 00 01 becomes 00 02. */
function afterRow(space: number, key: Uint8Array): Uint8Array {
  const out = encodeRowPrefix(space, key);
  out[out.length - 1] = 2;
  return out;
}

function encodeOpenPrefix(space: number, prefix: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + escapedLength(prefix));
  writeEscaped(out, writeSpace(out, 0, space), prefix);
  return out;
}

function escapedLength(key: Uint8Array): number {
  let n = key.length;
  for (let i = 0; i < key.length; i++) if (key[i] === 0) n++;
  return n;
}

function writeSpace(out: Uint8Array, at: number, space: number): number {
  out[at] = space >>> 24;
  out[at + 1] = space >>> 16;
  out[at + 2] = space >>> 8;
  out[at + 3] = space;
  return at + 4;
}

function writeEscaped(out: Uint8Array, at: number, key: Uint8Array): number {
  if (key.length > keyBytesMax) throw keyTooLong();
  for (let i = 0; i < key.length; i++) {
    const byte = key[i]!;
    out[at++] = byte;
    if (byte === 0) out[at++] = 0xff;
  }
  return at;
}

function writeTerminator(out: Uint8Array, at: number): number {
  out[at] = 0;
  out[at + 1] = 1;
  return at + 2;
}

function decodeEscaped(buf: Uint8Array, from: number, keyTo: number, place: Place): Uint8Array {
  const out = new Uint8Array(Math.max(0, keyTo - seqBytes - 2 - from));
  return out.slice(0, unescapeInto(out, buf, from, keyTo, place));
}

/** Writes the key without escapes to the start of `out` and returns its length. */
function unescapeInto(out: Uint8Array, buf: Uint8Array, from: number, keyTo: number, place: Place): number {
  const end = keyTo - seqBytes - 2;
  if (buf[end] !== 0 || buf[end + 1] !== 1) throw damaged('internal key has no terminator', place, end);
  let n = 0;
  for (let i = from; i < end; i++) {
    const byte = buf[i]!;
    out[n++] = byte;
    if (byte !== 0) continue;
    i++;
    if (i >= end || buf[i] !== 0xff) throw damaged('internal key has a bad escape', place, i);
  }
  if (n > keyBytesMax) throw damaged('internal key is too long', place, from);
  return n;
}

function checkedSeq(buf: Uint8Array, keyTo: number, place: Place): Seq {
  const seq = seqOf(buf, keyTo);
  if (seq > integerMax) throw damaged('sequence number above 2^53-1', place, keyTo - seqBytes);
  return seq;
}

function damaged(what: string, place: Place, at: number): VarveError {
  return corrupt(what, { file: place.file, offset: (place.offset ?? 0) + at });
}

function keyTooLong(): VarveError {
  return invalid(`keys are at most ${keyBytesMax} bytes long`);
}
