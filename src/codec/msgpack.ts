/**
 * Canonical MessagePack: equal values give equal bytes, and only bytes that `encodeMsgpack` could have
 * written are accepted, so encode(decode(b)) = b.
 *
 * Encoding is msgpackr's, over a checked copy of the value whose maps are sorted by the UTF-8 bytes of their
 * keys. Decoding is a strict walk of our own: msgpackr's decoder drops a byte order mark at the start of a
 * string, renames the key `__proto__`, hangs a DataView on the bytes it is given and accepts every
 * non-canonical form.
 *
 * Canonical: shortest integers and lengths, integers beyond 32 bits and fractions as float 64, -0 as 0, one
 * NaN, map keys strings in strictly rising byte order, strings valid UTF-8, Dates as the shortest timestamp.
 *
 * Invariants
 * - what is accepted encodes back to the same bytes (test: "accepted bytes are exactly those that encode
 *   again")
 * - a declared count never exceeds the bytes left, depth is bounded, so bad input allocates nothing large
 *   (test: "declared lengths beyond the bytes left are refused before anything is allocated").
 */
import { Packr } from 'msgpackr/pack';
import { compareRange, decodeUtf8, isWellFormed } from '../base/bytes.ts';
import { corrupt, invalid, type Place, type VarveError } from '../base/errors.ts';
import { KiB, metadataDepthMax } from '../base/limits.ts';
import { ByteReader } from './byte-reader.ts';

/** What can be stored: no undefined, bigint, function, symbol or class instance. */
export type PackValue =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | Date
  | readonly PackValue[]
  | { readonly [key: string]: PackValue };

/** A map of values by name, as decoded. */
export type PackMap = { [key: string]: PackValue };

export interface MsgpackLimits {
  /** Encoded bytes; 64 KiB when omitted. */
  bytesMax?: number;
  /** Containers within each other, the outermost counted; 16 when omitted. */
  depthMax?: number;
}

const bytesMaxDefault = 64 * KiB;

/** The key that would set a prototype instead of a field: refused both ways. */
const forbiddenKey = '__proto__';

const packr = new Packr({ useRecords: false, variableMapSize: true, useToJSON: false, moreTypes: false });

/**
 * Canonical bytes of `value`, a fresh array. Every property is read once. VARVE_INVALID_ARGUMENT, with the
 * path of the offending part after `what`, on anything that is not a PackValue, on a cycle and beyond the
 * limits.
 */
export function encodeMsgpack(value: unknown, what = 'value', limits: MsgpackLimits = {}): Uint8Array {
  const bytesMax = limits.bytesMax ?? bytesMaxDefault;
  const checked = new Checker(what, bytesMax, limits.depthMax ?? metadataDepthMax).copy(value, '');
  const packed = packr.pack(checked);
  if (packed.length > bytesMax) throw tooLong(what, bytesMax);
  return new Uint8Array(packed);
}

function tooLong(what: string, bytesMax: number): VarveError {
  return invalid(`${what} takes more than ${bytesMax} bytes encoded`);
}

/** Makes the checked copy that msgpackr encodes: Maps in key order, plain Uint8Arrays, fresh Dates. */
class Checker {
  readonly #what: string;
  readonly #bytesMax: number;
  readonly #depthMax: number;
  /** A lower bound of the encoded length: stops a value that is far too long before it is all copied. */
  #bytes = 0;
  readonly #open: object[] = [];

  constructor(what: string, bytesMax: number, depthMax: number) {
    this.#what = what;
    this.#bytesMax = bytesMax;
    this.#depthMax = depthMax;
  }

  copy(value: unknown, path: string): unknown {
    this.#count(1);
    switch (typeof value) {
      case 'boolean':
      case 'number':
        return value;
      case 'string':
        return this.#text(value, path);
      case 'object':
        return value === null ? null : this.#object(value, path);
      default:
        throw this.#fail(path, `is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}`);
    }
  }

  #object(value: object, path: string): unknown {
    if (value instanceof Uint8Array) {
      this.#count(value.length);
      return new Uint8Array(value.buffer, value.byteOffset, value.length);
    }
    if (value instanceof Date) {
      const time = value.getTime();
      if (Number.isNaN(time)) throw this.#fail(path, 'is an invalid Date');
      return new Date(time);
    }
    if (this.#open.includes(value)) throw this.#fail(path, 'contains itself');
    if (this.#open.length >= this.#depthMax)
      throw this.#fail(path, `is nested deeper than ${this.#depthMax}`);
    this.#open.push(value);
    const copied = Array.isArray(value) ? this.#array(value, path) : this.#map(value, path);
    this.#open.pop();
    return copied;
  }

  #array(value: readonly unknown[], path: string): unknown[] {
    this.#count(value.length);
    if (Object.keys(value).length !== value.length)
      throw this.#fail(path, 'is an array with holes or named fields');
    return value.map((item, i) => this.copy(item, `${path}[${i}]`));
  }

  #map(value: object, path: string): Map<string, unknown> {
    if (!isPlain(value)) throw this.#fail(path, 'is neither a plain object nor a Uint8Array, Date or array');
    if (Object.getOwnPropertySymbols(value).length > 0) throw this.#fail(path, 'has a symbol as key');
    const keys = Object.keys(value);
    this.#count(keys.length * 2);
    const out = new Map<string, unknown>();
    for (const key of keys.sort(compareText)) {
      const at = `${path}.${key}`;
      if (key === forbiddenKey) throw this.#fail(at, 'is a key that cannot be stored');
      out.set(this.#text(key, at), this.copy((value as Record<string, unknown>)[key], at));
    }
    return out;
  }

  #text(text: string, path: string): string {
    this.#count(text.length);
    if (!isWellFormed(text)) throw this.#fail(path, 'has a lone surrogate');
    return text;
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    // Every part is counted at most twice its least encoded length.
    if (this.#bytes > 2 * this.#bytesMax) throw tooLong(this.#what, this.#bytesMax);
  }

  #fail(path: string, problem: string): VarveError {
    return invalid(
      `${this.#what}${path} ${problem}: allowed are null, booleans, numbers, well-formed strings, ` +
        'Uint8Arrays, Dates, arrays and plain objects',
    );
  }
}

function isPlain(value: object): boolean {
  const proto: unknown = Object.getPrototypeOf(value);
  if (proto === null || proto === Object.prototype) return true;
  // The Object.prototype of another realm.
  return Object.getPrototypeOf(proto) === null && Object.hasOwn(proto as object, 'isPrototypeOf');
}

/**
 * Order of two well-formed strings by their UTF-8 bytes: UTF-16 order, with surrogates above U+E000..U+FFFF.
 */
export function compareText(a: string, b: string): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/**
 * The value in `bytes[from..to)`; byte strings are copies. VARVE_CORRUPT on anything but one canonical value
 * within the limits; `place.offset` is the file offset of `bytes[0]`.
 */
export function decodeMsgpack(
  bytes: Uint8Array,
  place: Place,
  from = 0,
  to: number = bytes.length,
  limits: MsgpackLimits = {},
): PackValue {
  if (to - from > (limits.bytesMax ?? bytesMaxDefault)) {
    throw corrupt('packed value is longer than its bound', {
      file: place.file,
      offset: (place.offset ?? 0) + from,
    });
  }
  const decoder = new Decoder(bytes, place, from, to, limits.depthMax ?? metadataDepthMax);
  const value = decoder.value(0);
  decoder.in.finish();
  return value;
}

/** Eight bytes of a number on their way: a view of every buffer would cost more than copying them. */
const word = new Uint8Array(8);
const wordView = new DataView(word.buffer);

class Decoder {
  readonly in: ByteReader;
  readonly #bytes: Uint8Array;
  readonly #depthMax: number;

  constructor(bytes: Uint8Array, place: Place, from: number, to: number, depthMax: number) {
    this.in = new ByteReader(bytes, place, from, to);
    this.#bytes = bytes;
    this.#depthMax = depthMax;
  }

  value(depth: number): PackValue {
    const token = this.in.u8();
    if (token < 0x80) return token;
    if (token < 0x90) return this.#map(token - 0x80, depth);
    if (token < 0xa0) return this.#array(token - 0x90, depth);
    if (token < 0xc0) return this.#text(token - 0xa0);
    if (token >= 0xe0) return token - 0x100;
    switch (token) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.in.copy(this.in.u8());
      case 0xc5:
        return this.in.copy(this.#length(2, 0x100));
      case 0xc6:
        return this.in.copy(this.#length(4, 0x10000));
      case 0xc7:
        return this.#timestamp96();
      case 0xcb:
        return this.#float();
      case 0xcc:
        return this.#length(1, 0x80);
      case 0xcd:
        return this.#length(2, 0x100);
      case 0xce:
        return this.#length(4, 0x10000);
      case 0xd0:
        return this.#negative(1, -0x20);
      case 0xd1:
        return this.#negative(2, -0x80);
      case 0xd2:
        return this.#negative(4, -0x8000);
      case 0xd6:
        this.#timestampType();
        return new Date(this.#uint(4) * 1000);
      case 0xd7:
        return this.#timestamp64();
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#textLength(token));
      case 0xdc:
        return this.#array(this.#length(2, 0x10), depth);
      case 0xdd:
        return this.#array(this.#length(4, 0x10000), depth);
      case 0xde:
        return this.#map(this.#length(2, 0x10), depth);
      case 0xdf:
        return this.#map(this.#length(4, 0x10000), depth);
      default:
        throw this.in.fail('packed value has a type that is not used');
    }
  }

  #uint(width: 1 | 2 | 4): number {
    const at = this.in.skip(width);
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + this.#bytes[at + i]!;
    return value;
  }

  /** A big-endian number of `width` bytes that would not have fitted a shorter form below `least`. */
  #length(width: 1 | 2 | 4, least: number): number {
    const value = this.#uint(width);
    if (value < least) throw this.#notCanonical();
    return value;
  }

  #negative(width: 1 | 2 | 4, below: number): number {
    const shift = 32 - 8 * width;
    const value = (this.#uint(width) << shift) >> shift;
    if (value >= below) throw this.#notCanonical();
    return value;
  }

  #float(): number {
    const at = this.in.skip(8);
    for (let i = 0; i < 8; i++) word[i] = this.#bytes[at + i]!;
    const value = wordView.getFloat64(0);
    const short = value >>> 0 === value || value >> 0 === value;
    const oddNaN =
      Number.isNaN(value) && (wordView.getUint32(0) !== 0x7ff80000 || wordView.getUint32(4) !== 0);
    if (short || oddNaN) throw this.#notCanonical();
    return value;
  }

  #textLength(token: number): number {
    if (token === 0xd9) return this.#length(1, 0x20);
    return token === 0xda ? this.#length(2, 0x100) : this.#length(4, 0x10000);
  }

  #text(length: number): string {
    const text = decodeUtf8(this.in.view(length));
    if (text === undefined) throw this.in.fail('packed string is not UTF-8');
    return text;
  }

  #enter(count: number, perItem: number, depth: number): void {
    if (depth >= this.#depthMax) throw this.in.fail('packed value is nested too deeply');
    if (count * perItem > this.in.left) throw this.in.fail('packed count exceeds the bytes left');
  }

  #array(count: number, depth: number): PackValue[] {
    this.#enter(count, 1, depth);
    const out: PackValue[] = [];
    for (let i = 0; i < count; i++) out.push(this.value(depth + 1));
    return out;
  }

  #map(count: number, depth: number): PackMap {
    this.#enter(count, 2, depth);
    const out: PackMap = {};
    const bytes = this.in.bytes;
    let lastFrom = 0;
    let lastTo = 0;
    for (let i = 0; i < count; i++) {
      const key = this.#key();
      const to = this.in.pos;
      const from = to - this.#keyBytes;
      if (i > 0 && compareRange(bytes, lastFrom, lastTo, bytes, from, to) >= 0)
        throw this.in.fail('packed map keys are not in order');
      if (key === forbiddenKey) throw this.in.fail('packed map has a key that cannot be stored');
      lastFrom = from;
      lastTo = to;
      out[key] = this.value(depth + 1);
    }
    return out;
  }

  #keyBytes = 0;

  #key(): string {
    const token = this.in.u8();
    if (token >= 0xa0 && token < 0xc0) this.#keyBytes = token - 0xa0;
    else if (token >= 0xd9 && token <= 0xdb) this.#keyBytes = this.#textLength(token);
    else throw this.in.fail('packed map has a key that is not a string');
    return this.#text(this.#keyBytes);
  }

  #timestampType(): void {
    if (this.in.u8() !== 0xff) throw this.in.fail('packed extension is not a timestamp');
  }

  /** Nanoseconds in the upper 30 bits, seconds in the lower 34: used for 0 < s < 2^32 with a fraction. */
  #timestamp64(): Date {
    this.#timestampType();
    const head = this.#uint(4);
    const seconds = this.#uint(4);
    const ms = head / 4_000_000;
    if (!Number.isInteger(ms) || ms < 1 || ms > 999) throw this.#notCanonical();
    return new Date(seconds * 1000 + ms);
  }

  /** u32 nanoseconds, i64 seconds: used before 1970 and from 2^32 s. */
  #timestamp96(): Date {
    if (this.in.u8() !== 12) throw this.in.fail('packed extension is not a timestamp');
    this.#timestampType();
    const ms = this.#uint(4) / 1_000_000;
    const high = this.#uint(4) | 0;
    const seconds = high * 2 ** 32 + this.#uint(4);
    const date = new Date(seconds * 1000 + ms);
    const short = seconds >= 0 && seconds < 2 ** 32;
    if (!Number.isInteger(ms) || ms > 999 || short || Number.isNaN(date.getTime()))
      throw this.#notCanonical();
    return date;
  }

  #notCanonical(): VarveError {
    return this.in.fail('packed value is not in canonical form');
  }
}
