/**
 * Keys of tree X: one row for each entry of a secondary index. Plain byte order of the encoded form is the
 * order of the indexed values, then of the keys that have them, then newest first:
 *
 *   X tree   index u32 BE | component .. | escape(userKey) 00 01 | ~seq u64 BE
 *
 * A component is one value: a tag, then what the tag says. No component is the beginning of another, so
 * components one behind the other are in the order of tuples.
 *
 *   10       null
 *   18, 19   false, true
 *   20       number: the 8 bytes of its float 64, big-endian, the sign bit inverted, all bits where it was
 *            set; -0 is 0; NaN is eight zero bytes, below every other number
 *   28       date: ms since 1970, as a number
 *   30       string: escape(UTF-8) 00 01
 *   38       bytes: escape(bytes) 00 01
 *   40       hash: xxh64 of the components it stands for, u64 BE; in hash indexes, the only component
 *
 * `escape` is that of row keys (internal-key.ts): 00 becomes 00 FF.
 */
import type { Seq } from '../base/brands.ts';
import { decodeUtf8, encodeUtf8, u32be, viewOf } from '../base/bytes.ts';
import { corrupt, invalid, type Place, type VarveError } from '../base/errors.ts';
import { integerMax } from '../base/limits.ts';
import { xxh64 } from '../codec/checksum.ts';
import { seqBytes, seqOf } from './internal-key.ts';

/** First byte of a component. Never changed, never reused; their order is that of the values. */
export const indexTags = {
  null: 0x10,
  false: 0x18,
  true: 0x19,
  number: 0x20,
  date: 0x28,
  string: 0x30,
  bytes: 0x38,
  hash: 0x40,
} as const;

/** What an index orders. */
export type IndexValue = null | boolean | number | Date | string | Uint8Array;

/** Bytes of the index number a key begins with. */
export const indexIdBytes = 4;
const hashBytes = 9;
const numberBytes = 9;

/** One value as a component, a fresh array. Strings are well-formed, dates valid. */
export function encodeComponent(value: IndexValue): Uint8Array {
  if (value === null) return Uint8Array.of(indexTags.null);
  if (typeof value === 'boolean') return Uint8Array.of(value ? indexTags.true : indexTags.false);
  if (typeof value === 'number') return encodeNumber(indexTags.number, value);
  if (value instanceof Date) return encodeNumber(indexTags.date, value.getTime());
  if (typeof value === 'string') {
    return encodeText(indexTags.string, encodeUtf8(value, 'indexed value'), true);
  }
  return encodeText(indexTags.bytes, value, true);
}

/** A string or bytes up to where those go on that begin with it: no terminator. */
export function encodeOpenComponent(value: string | Uint8Array): Uint8Array {
  if (typeof value === 'string') {
    return encodeText(indexTags.string, encodeUtf8(value, 'indexed value'), false);
  }
  return encodeText(indexTags.bytes, value, false);
}

/** Eight bytes of a number on their way: a view of every buffer would cost more than copying them. */
const word = new Uint8Array(8);
const wordView = viewOf(word);

/** What stands for a tuple in a hash index. The checksum module is initialized. */
export function hashComponent(tuple: Uint8Array): Uint8Array {
  const out = new Uint8Array(hashBytes);
  out[0] = indexTags.hash;
  wordView.setBigUint64(0, xxh64(tuple));
  out.set(word, 1);
  return out;
}

function encodeNumber(tag: number, value: number): Uint8Array {
  const out = new Uint8Array(numberBytes);
  out[0] = tag;
  if (Number.isNaN(value)) return out;
  wordView.setFloat64(0, value === 0 ? 0 : value);
  for (let i = 0; i < word.length; i++) out[i + 1] = word[i]!;
  if (out[1]! < 0x80) out[1]! |= 0x80;
  else for (let i = 1; i < numberBytes; i++) out[i]! ^= 0xff;
  return out;
}

function encodeText(tag: number, bytes: Uint8Array, closed: boolean): Uint8Array {
  let zeros = 0;
  for (const byte of bytes) if (byte === 0) zeros++;
  const out = new Uint8Array(1 + bytes.length + zeros + (closed ? 2 : 0));
  out[0] = tag;
  let at = 1;
  for (const byte of bytes) {
    out[at++] = byte;
    if (byte === 0) out[at++] = 0xff;
  }
  if (closed) out[at + 1] = 1;
  return out;
}

/** Where the keys of an index begin, a fresh array. */
export function indexPrefix(index: number): Uint8Array {
  const out = new Uint8Array(indexIdBytes);
  setNumber(out, index);
  return out;
}

/** The first four bytes. */
function setNumber(out: Uint8Array, index: number): void {
  out[0] = index >>> 24;
  out[1] = index >>> 16;
  out[2] = index >>> 8;
  out[3] = index;
}

/**
 * Row prefix of an entry, a fresh array: all of its key but ~seq. `keyPrefix` is the row prefix of the key in
 * tree K, whose space is left out.
 */
export function encodeIndexPrefix(index: number, tuple: Uint8Array, keyPrefix: Uint8Array): Uint8Array {
  const keyFrom = indexIdBytes + tuple.length;
  const out = new Uint8Array(keyFrom + keyPrefix.length - spaceBytes);
  setNumber(out, index);
  out.set(tuple, indexIdBytes);
  for (let i = spaceBytes; i < keyPrefix.length; i++) out[keyFrom + i - spaceBytes] = keyPrefix[i]!;
  return out;
}

const spaceBytes = 4;

/** Number of the index a key of tree X belongs to; `buf` holds at least its four bytes. */
export function indexOf(buf: Uint8Array, from: number): number {
  return u32be(buf, from);
}

/**
 * Where the `count` components of the row prefix buf[from..to) end, which is where the key begins.
 * VARVE_CORRUPT when they are not whole.
 */
export function tupleEnd(buf: Uint8Array, from: number, to: number, count: number, place: Place): number {
  let at = from + indexIdBytes;
  for (let i = 0; i < count; i++) at = componentEnd(buf, at, to, place);
  return at;
}

/** Row prefix in tree K of the key whose escaped form is buf[from..to), a fresh array. */
export function keyPrefixOf(space: number, buf: Uint8Array, from: number, to: number): Uint8Array {
  const out = new Uint8Array(spaceBytes + to - from);
  setNumber(out, space);
  for (let i = from; i < to; i++) out[spaceBytes + i - from] = buf[i]!;
  return out;
}

/** Parts of a key of tree X. */
export interface IndexKey {
  index: number;
  /** The components as they are stored, a copy. */
  tuple: Uint8Array;
  /** Row prefix of the key in tree K. */
  keyPrefix: Uint8Array;
  seq: Seq;
}

/** Decodes buf[from..to), an entry of an index of `count` components over keys of `space`. */
export function decodeIndexKey(
  buf: Uint8Array,
  from: number,
  to: number,
  count: number,
  space: number,
  place: Place,
): IndexKey {
  const end = to - seqBytes;
  if (end - from < indexIdBytes) throw damaged('index key is cut off', place, from);
  const keyFrom = tupleEnd(buf, from, end, count, place);
  const keyEnd = textEnd(buf, keyFrom, end, place);
  if (keyEnd !== end) throw damaged('index key has bytes behind its end', place, keyEnd);
  const seq = seqOf(buf, to);
  if (seq > integerMax) throw damaged('sequence number above 2^53-1', place, end);
  return {
    index: indexOf(buf, from),
    tuple: buf.slice(from + indexIdBytes, keyFrom),
    keyPrefix: keyPrefixOf(space, buf, keyFrom, end),
    seq,
  };
}

/** The values of a tuple. VARVE_CORRUPT when it is not whole; hashes are no values. */
export function decodeTuple(tuple: Uint8Array, place: Place): IndexValue[] {
  const values: IndexValue[] = [];
  let at = 0;
  while (at < tuple.length) {
    const end = componentEnd(tuple, at, tuple.length, place);
    values.push(decodeComponent(tuple, at, end, place));
    at = end;
  }
  return values;
}

/** Where the component at `at` ends. */
export function componentEnd(buf: Uint8Array, at: number, to: number, place: Place): number {
  if (at >= to) throw damaged('index component is missing', place, at);
  switch (buf[at]) {
    case indexTags.null:
    case indexTags.false:
    case indexTags.true:
      return at + 1;
    case indexTags.number:
    case indexTags.date:
    case indexTags.hash:
      if (to - at < numberBytes) throw damaged('index component is cut off', place, at);
      return at + numberBytes;
    case indexTags.string:
    case indexTags.bytes:
      return textEnd(buf, at + 1, to, place);
    default:
      throw damaged('index component has an unknown tag', place, at);
  }
}

/** Behind the terminator of the escaped bytes at `at`. */
function textEnd(buf: Uint8Array, at: number, to: number, place: Place): number {
  for (let i = at; i + 1 < to; i++) {
    if (buf[i] !== 0) continue;
    const next = buf[++i];
    if (next === 1) return i + 1;
    if (next !== 0xff) throw damaged('index key has a bad escape', place, i);
  }
  throw damaged('index key has no terminator', place, at);
}

function decodeComponent(buf: Uint8Array, at: number, end: number, place: Place): IndexValue {
  switch (buf[at]) {
    case indexTags.null:
      return null;
    case indexTags.false:
      return false;
    case indexTags.true:
      return true;
    case indexTags.number:
      return decodeNumber(buf, at + 1, place);
    case indexTags.date: {
      const ms = decodeNumber(buf, at + 1, place);
      const date = new Date(ms);
      if (date.getTime() !== ms) throw damaged('index component is no date', place, at);
      return date;
    }
    case indexTags.string: {
      const text = decodeUtf8(unescaped(buf, at + 1, end - 2));
      if (text === undefined) throw damaged('index component is not UTF-8', place, at);
      return text;
    }
    case indexTags.bytes:
      return unescaped(buf, at + 1, end - 2);
    default:
      throw damaged('index component is no value', place, at);
  }
}

function decodeNumber(buf: Uint8Array, at: number, place: Place): number {
  const bytes = buf.slice(at, at + 8);
  if (bytes.every((byte) => byte === 0)) return Number.NaN;
  if (bytes[0]! >= 0x80) bytes[0]! &= 0x7f;
  else for (let i = 0; i < 8; i++) bytes[i]! ^= 0xff;
  const value = viewOf(bytes).getFloat64(0);
  if (Number.isNaN(value) || Object.is(value, -0)) throw damaged('index component is no number', place, at);
  return value;
}

function unescaped(buf: Uint8Array, from: number, to: number): Uint8Array {
  const out = new Uint8Array(to - from);
  let n = 0;
  for (let i = from; i < to; i++) {
    out[n++] = buf[i]!;
    if (buf[i] === 0) i++;
  }
  return out.slice(0, n);
}

/** VARVE_INVALID_ARGUMENT for what no index orders. */
export function checkIndexValue(value: unknown, what: string): IndexValue {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return value;
  if (typeof value === 'string' || value instanceof Uint8Array) return value;
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value;
  throw invalid(`${what} must be null, a boolean, number, string, Uint8Array or valid Date`);
}

function damaged(what: string, place: Place, at: number): VarveError {
  return corrupt(what, { file: place.file, offset: (place.offset ?? 0) + at });
}
