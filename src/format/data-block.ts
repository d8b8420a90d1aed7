/**
 * Data blocks of the ordered trees (K, X, S): entries in key order, prefix-compressed.
 *
 *   entry:  varint shared | varint unshared | varint value length | key suffix | value
 *   block:  entries | u32 offset of every 16th entry | u32 number of those
 *
 * `shared` counts the bytes an entry's key has in common with the key before it and is 0 at restart points.
 * A block is checked once, when it is loaded (`checkDataBlock`); the accessors below trust checked blocks
 * and neither allocate nor build keys: a search compares in place.
 */
import { assert } from '../base/assert.ts';
import { compareRange, u32le } from '../base/bytes.ts';
import { corrupt, type Place, type VarveError } from '../base/errors.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { seqBytes } from './internal-key.ts';

/** Entries between restart points. */
export const restartInterval = 16;

/** Builds one block after another; holds no more than one block and one key. */
export class DataBlockBuilder {
  readonly #out = new ByteWriter(16 * 1024);
  #restarts = new Uint32Array(64);
  #restartCount = 0;
  #entries = 0;
  #lastKey: Uint8Array = new Uint8Array(256);
  #lastKeyBytes = 0;

  get entries(): number {
    return this.#entries;
  }

  /** Bytes of the block if it were finished now. */
  get bytes(): number {
    return this.#out.pos + 4 * this.#restartCount + 4;
  }

  /** Bytes `key` (a range of `buf`) has in common with the key added last, in this block or before it. */
  sharedWithLast(buf: Uint8Array, from: number, to: number): number {
    const n = Math.min(to - from, this.#lastKeyBytes);
    let i = 0;
    while (i < n && buf[from + i] === this.#lastKey[i]) i++;
    return i;
  }

  /** The key added last, kept across `finish`: lastKey[0..lastKeyBytes), borrowed. */
  get lastKey(): Uint8Array {
    return this.#lastKey;
  }

  get lastKeyBytes(): number {
    return this.#lastKeyBytes;
  }

  /** Appends an entry (copied). `sharedBytes` is what `sharedWithLast` said of its key. */
  add(
    key: Uint8Array,
    keyFrom: number,
    keyTo: number,
    value: Uint8Array,
    valueFrom: number,
    valueTo: number,
    sharedBytes: number,
  ): void {
    let shared = sharedBytes;
    if (this.#entries % restartInterval === 0) {
      shared = 0;
      if (this.#restartCount === this.#restarts.length) {
        const grown = new Uint32Array(this.#restarts.length * 2);
        grown.set(this.#restarts);
        this.#restarts = grown;
      }
      this.#restarts[this.#restartCount++] = this.#out.pos;
    }
    const out = this.#out;
    out.varint(shared);
    out.varint(keyTo - keyFrom - shared);
    out.varint(valueTo - valueFrom);
    out.range(key, keyFrom + shared, keyTo);
    out.range(value, valueFrom, valueTo);
    this.#entries++;
    this.#keepKey(key, keyFrom, keyTo, sharedBytes);
  }

  /** The finished block with `room` spare bytes behind it, borrowed until `add`; starts a new one. */
  finish(room: number): { bytes: Uint8Array; length: number } {
    assert(this.#entries > 0, 'a block has entries');
    const out = this.#out;
    for (let i = 0; i < this.#restartCount; i++) out.u32(this.#restarts[i]!);
    out.u32(this.#restartCount);
    const length = out.pos;
    out.reserve(room);
    out.clear();
    this.#restartCount = 0;
    this.#entries = 0;
    return { bytes: out.bytes, length };
  }

  #keepKey(key: Uint8Array, from: number, to: number, shared: number): void {
    const length = to - from;
    if (length > this.#lastKey.length) {
      const grown = new Uint8Array(Math.max(length, this.#lastKey.length * 2));
      grown.set(this.#lastKey.subarray(0, shared));
      this.#lastKey = grown;
    }
    for (let i = shared; i < length; i++) this.#lastKey[i] = key[from + i]!;
    this.#lastKeyBytes = length;
  }
}

/** Number of restart points of a checked block. */
export function restartCount(raw: Uint8Array): number {
  return u32le(raw, raw.length - 4);
}

/** Position behind the last entry of a checked block. */
export function entriesEnd(raw: Uint8Array): number {
  return raw.length - 4 - 4 * restartCount(raw);
}

/** Position of the entry at restart point `index` of a checked block. */
export function restartAt(raw: Uint8Array, index: number): number {
  return u32le(raw, entriesEnd(raw) + 4 * index);
}

/** The last restart point at or before position `at`. */
export function restartBefore(raw: Uint8Array, at: number): number {
  let low = 0;
  let high = restartCount(raw) - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (restartAt(raw, middle) <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** One entry's place in a checked block; reused, so that decoding allocates nothing. */
export class EntrySpot {
  /** Position of the entry. */
  at = 0;
  shared = 0;
  suffixFrom = 0;
  suffixTo = 0;
  valueTo = 0;

  /** The value follows the key suffix. */
  get valueFrom(): number {
    return this.suffixTo;
  }

  get keyBytes(): number {
    return this.shared + this.suffixTo - this.suffixFrom;
  }

  /** Decodes the entry at `at` of a checked block. */
  read(raw: Uint8Array, at: number): void {
    this.at = at;
    const shared = raw[at]!;
    const unshared = raw[at + 1]!;
    const value = raw[at + 2]!;
    if ((shared | unshared | value) < 128) {
      this.shared = shared;
      this.suffixFrom = at + 3;
      this.suffixTo = at + 3 + unshared;
      this.valueTo = this.suffixTo + value;
    } else this.#readLong(raw, at);
  }

  #readLong(raw: Uint8Array, from: number): void {
    let at = from;
    let shift = 0;
    let number = 0;
    let field = 0;
    let unshared = 0;
    while (field < 3) {
      const byte = raw[at++]!;
      number |= (byte & 127) << shift;
      shift += 7;
      if (byte >= 128) continue;
      if (field === 0) this.shared = number;
      else if (field === 1) unshared = number;
      else this.valueTo = number;
      field++;
      shift = 0;
      number = 0;
    }
    this.suffixFrom = at;
    this.suffixTo = at + unshared;
    this.valueTo += this.suffixTo;
  }
}

/**
 * Finds the first entry with a key >= key[0..keyTo) in a checked block. True: `spot` is at it, and the
 * entry's key is key[0..spot.shared) followed by its suffix. False: every entry is smaller.
 */
export function searchDataBlock(raw: Uint8Array, key: Uint8Array, keyTo: number, spot: EntrySpot): boolean {
  const restarts = restartCount(raw);
  const end = raw.length - 4 - 4 * restarts;
  let low = 0;
  let high = restarts - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    spot.read(raw, u32le(raw, end + 4 * middle));
    if (compareRange(raw, spot.suffixFrom, spot.suffixTo, key, 0, keyTo) < 0) low = middle;
    else high = middle - 1;
  }
  // Bytes the smaller entry before `at` has in common with the sought key.
  let matched = 0;
  for (let at = u32le(raw, end + 4 * low); at < end; at = spot.valueTo) {
    spot.read(raw, at);
    const { shared, suffixFrom, suffixTo } = spot;
    // Agrees with the entry before it beyond the byte in which that one was smaller.
    if (shared > matched) continue;
    const stop = Math.min(suffixTo, suffixFrom + keyTo - shared);
    let i = suffixFrom;
    let k = shared;
    while (i < stop && raw[i] === key[k]) {
      i++;
      k++;
    }
    if (i < stop ? raw[i]! > key[k]! : k === keyTo) return true;
    matched = k;
  }
  return false;
}

/**
 * Checks the structure of a block whose checksum holds, so that no accessor can leave it: every length, the
 * restart points, the number of entries against the index. VARVE_CORRUPT otherwise.
 */
export function checkDataBlock(raw: Uint8Array, entries: number, place: Place): void {
  const fail = (what: string, at: number): VarveError =>
    corrupt(what, { file: place.file, offset: (place.offset ?? 0) + at });
  const restarts = raw.length < 4 ? 0 : restartCount(raw);
  if (restarts === 0 || restarts !== Math.ceil(entries / restartInterval) || 4 + 4 * restarts > raw.length) {
    throw fail('data block has a wrong number of restart points', 0);
  }
  const end = entriesEnd(raw);
  const spot = new EntrySpot();
  let at = 0;
  let keyBytes = 0;
  for (let i = 0; i < entries; i++) {
    if (lengthsEnd(raw, at, end) < 0) throw fail('entry of a data block is cut off', at);
    spot.read(raw, at);
    const restart = i % restartInterval === 0;
    if (restart && (spot.shared !== 0 || restartAt(raw, i / restartInterval) !== at)) {
      throw fail('restart point of a data block is wrong', at);
    }
    if (spot.shared > keyBytes || spot.suffixTo > end || spot.valueTo > end || spot.keyBytes < seqBytes) {
      throw fail('entry of a data block does not fit', at);
    }
    keyBytes = spot.keyBytes;
    at = spot.valueTo;
  }
  if (at !== end) throw fail('data block has bytes after its last entry', at);
}

/** Position behind the three lengths of an entry; -1 when one exceeds 4 bytes or they are cut off. */
function lengthsEnd(raw: Uint8Array, from: number, end: number): number {
  let at = from;
  for (let field = 0; field < 3; field++) {
    let n = 0;
    do {
      if (at >= end || n === 4) return -1;
      n++;
    } while (raw[at++]! >= 128);
  }
  return at;
}
