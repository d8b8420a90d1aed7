/**
 * Memtable of the chunk tree (C): location and reference delta per chunk id, in shared memory.
 *
 * Two arrays. Entries lie densely in the order they came, 56 B each, fields as in a chunk table's entry:
 *    0  id 32   32  segment u32   36  off8 u32   40  storedLen u32   44  rawLen u32   48  refs i32
 *   52  kind u8   53  codec << 4   54  flags u16
 * The index is open addressing with linear probing, at most half full: u32 = tag << 25 | slot + 1, 0 = free,
 * 8 to 16 B per entry. The tag keeps most probes of a miss away from the entries.
 *
 * Invariants
 * - A slot is the entry's number and is valid as long as the memtable: growth rebuilds the index and moves no
 *   entry ("slots stay valid while the table grows").
 * - Every id has one entry, reachable from its place in the index ("memtable equals a Map under any
 *   operations and growth").
 * - Location and refs are two columns: neither operation touches the other's ("a location never changes the
 *   count, nor a count the location").
 * - A count that left the range of i32 stays at its end, marked saturated ("counts saturate and stick").
 */
import { assert } from '../base/assert.ts';
import { i32le } from '../base/bytes.ts';
import { pagedBytes } from '../base/own-pages.ts';
import { mix32 } from '../codec/key-hash.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { chunkBitsHash, chunkBucketHash } from '../format/chunk-table.ts';
import { emptyShared, growShared, roomFor, weightOf } from './arena.ts';
import { checkedBytesMax, type MemtableOptions } from './key-memtable.ts';
import type { RecentFilter } from './recent-filter.ts';
import { sortSlots } from './slot-sort.ts';

/** Flags of an entry, as on disk. Never changed, never reused. */
export const chunkFlags = { hasLocation: 1, dropped: 2, saturated: 4 } as const;

const entryBytes = 56;
const entryWords = entryBytes / 4;
const segmentWord = 8;
const off8Word = 9;
const storedLenWord = 10;
const rawLenWord = 11;
const refsWord = 12;
const kindByte = 52;
const codecByte = 53;
const flagsHalf = 27;

const tagShift = 25;
const slotMask = 2 ** tagShift - 1;
const indexEntriesMin = 1024;
/** Every index starts with this one free place, too few for any entry. Never written. */
const emptyIndex = new Uint32Array(new SharedArrayBuffer(4));
const refsMax = 2 ** 31 - 1;
const refsMin = -(2 ** 31);

/** What commits since the last checkpoint say of chunks. One thread writes; ids are copied in. */
export class ChunkMemtable {
  readonly bytesMax: number;
  #bytes = emptyShared;
  #halves = new Uint16Array(this.#bytes.buffer);
  #words = new Uint32Array(this.#bytes.buffer);
  #signed = new Int32Array(this.#bytes.buffer);
  #index = emptyIndex;
  /** Held as long as the memory is. */
  #weight: ArrayBuffer | undefined;
  #entries = 0;
  #minSeq = 0;
  #maxSeq = 0;
  #frozen = false;

  /** Has every id there is here, perhaps with those of other memtables. */
  readonly recent: RecentFilter | undefined;

  /** `recent` is told of every id. */
  constructor(options: MemtableOptions, recent?: RecentFilter) {
    this.bytesMax = checkedBytesMax(options);
    this.recent = recent;
  }

  /** Entries; slots are 0 .. entries - 1. */
  get entries(): number {
    return this.#entries;
  }

  /** Bytes of entries and index. */
  get bytesUsed(): number {
    return this.#entries * entryBytes + Math.max(indexEntriesMin, this.#index.length) * 4;
  }

  /** The budget is used up: time to freeze. Never while empty. Changes are taken all the same. */
  get full(): boolean {
    return this.entries > 0 && this.bytesUsed >= this.bytesMax;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Lowest and highest sequence number noted; 0 before the first. */
  get minSeq(): number {
    return this.#minSeq;
  }

  get maxSeq(): number {
    return this.#maxSeq;
  }

  /** Says that the changes now made belong to commit `seq` (1 .. 2^53-1). */
  note(seq: number): void {
    assert(!this.#frozen, 'a frozen memtable takes no changes');
    if (this.#maxSeq === 0 || seq < this.#minSeq) this.#minSeq = seq;
    if (seq > this.#maxSeq) this.#maxSeq = seq;
  }

  /** Slot of the id at id[idAt .. idAt+32) (borrowed), or -1. */
  find(id: Uint8Array, idAt: number): number {
    const index = this.#index;
    const mask = index.length - 1;
    const hash = hashOf(id, idAt);
    const tag = hash >>> tagShift;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const packed = index[at]!;
      if (packed === 0) return -1;
      if (packed >>> tagShift === tag && this.#hasId((packed & slotMask) - 1, id, idAt)) {
        return (packed & slotMask) - 1;
      }
    }
  }

  /**
   * Adds `delta` (an integer) to the id's count of references; makes the entry if need be. Returns the slot.
   */
  addRefs(id: Uint8Array, idAt: number, delta: number): number {
    assert(Number.isInteger(delta), 'a reference delta is an integer');
    const slot = this.#upsert(id, idAt);
    if ((this.flagsAt(slot) & chunkFlags.saturated) !== 0) return slot;
    const at = slot * entryWords + refsWord;
    const sum = this.#signed[at]! + delta;
    this.#signed[at] = Math.max(refsMin, Math.min(refsMax, sum));
    if (sum > refsMax || sum < refsMin) this.#halves[slot * 28 + flagsHalf]! |= chunkFlags.saturated;
    return slot;
  }

  /** Sets where the id lies now, whether it was known, located or dropped before. Returns the slot. */
  setLocation(
    id: Uint8Array,
    idAt: number,
    segment: number,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): number {
    assert(isU32(segment) && isU32(off8), 'a location fits its columns');
    assert(isU32(storedLen) && isU32(rawLen), 'chunk lengths fit their columns');
    assert(kind === (kind & 255) && codec === (codec & 15), 'chunk kind and codec fit their columns');
    const slot = this.#upsert(id, idAt);
    const at = slot * entryWords;
    this.#words[at + segmentWord] = segment;
    this.#words[at + off8Word] = off8;
    this.#words[at + storedLenWord] = storedLen;
    this.#words[at + rawLenWord] = rawLen;
    this.#bytes[slot * entryBytes + kindByte] = kind;
    this.#bytes[slot * entryBytes + codecByte] = codec << 4;
    this.#setFlags(slot, chunkFlags.hasLocation, chunkFlags.dropped);
    return slot;
  }

  /**
   * Marks the id as gone from the index: it hides every older location, and its own is cleared. Only list
   * nodes die so; the kind becomes `list`. The count stays. Returns the slot.
   */
  drop(id: Uint8Array, idAt: number): number {
    const slot = this.#upsert(id, idAt);
    const at = slot * entryWords;
    this.#words.fill(0, at + segmentWord, at + rawLenWord + 1);
    this.#bytes[slot * entryBytes + kindByte] = chunkKinds.list;
    this.#bytes[slot * entryBytes + codecByte] = 0;
    this.#setFlags(slot, chunkFlags.dropped, chunkFlags.hasLocation);
    return slot;
  }

  /**
   * Memory that holds the ids: id of a slot = ids[idFrom(slot) .. +32). Replaced on growth; never write to
   * it.
   */
  get ids(): Uint8Array {
    return this.#bytes;
  }

  idFrom(slot: number): number {
    return slot * entryBytes;
  }

  segmentAt(slot: number): number {
    return this.#words[slot * entryWords + segmentWord]!;
  }

  off8At(slot: number): number {
    return this.#words[slot * entryWords + off8Word]!;
  }

  storedLenAt(slot: number): number {
    return this.#words[slot * entryWords + storedLenWord]!;
  }

  rawLenAt(slot: number): number {
    return this.#words[slot * entryWords + rawLenWord]!;
  }

  /** Sum of the deltas, -2^31 .. 2^31-1; exact unless flagged saturated. */
  refsAt(slot: number): number {
    return this.#signed[slot * entryWords + refsWord]!;
  }

  kindAt(slot: number): number {
    return this.#bytes[slot * entryBytes + kindByte]!;
  }

  codecAt(slot: number): number {
    return this.#bytes[slot * entryBytes + codecByte]! >>> 4;
  }

  /** Bits of `chunkFlags`. */
  flagsAt(slot: number): number {
    return this.#halves[slot * 28 + flagsHalf]!;
  }

  /** All slots in the order of their ids; taken by the caller. Needs 16 B per entry while it runs. */
  sorted(): Uint32Array {
    return sortSlots(this.#bytes, entryBytes, chunkIdBytes, this.#entries);
  }

  /** From now on a change is a failed assertion. Idempotent. */
  freeze(): void {
    this.#frozen = true;
  }

  #setFlags(slot: number, set: number, clear: number): void {
    const at = slot * 28 + flagsHalf;
    this.#halves[at] = (this.#halves[at]! | set) & ~clear;
  }

  #hasId(slot: number, id: Uint8Array, idAt: number): boolean {
    const bytes = this.#bytes;
    const from = slot * entryBytes;
    for (let i = 0; i < chunkIdBytes; i++) if (bytes[from + i] !== id[idAt + i]) return false;
    return true;
  }

  #upsert(id: Uint8Array, idAt: number): number {
    assert(!this.#frozen, 'a frozen memtable takes no changes');
    assert(idAt >= 0 && idAt + chunkIdBytes <= id.length, 'a chunk id lies in its buffer');
    const known = this.find(id, idAt);
    if (known !== -1) return known;
    this.#reserve();
    const slot = this.#entries;
    const bytes = this.#bytes;
    const from = slot * entryBytes;
    for (let i = 0; i < chunkIdBytes; i++) bytes[from + i] = id[idAt + i]!;
    this.#entries = slot + 1;
    place(this.#index, hashOf(bytes, from), slot);
    this.recent?.addPair(chunkBucketHash(bytes, from), chunkBitsHash(bytes, from));
    return slot;
  }

  /** Makes room for one more entry; a failed allocation changes nothing. */
  #reserve(): void {
    const needed = (this.#entries + 1) * entryBytes;
    if (needed > this.#bytes.length) {
      this.#bytes = growShared(this.#bytes, roomFor(this.#bytes.length, needed));
      this.#halves = new Uint16Array(this.#bytes.buffer);
      this.#words = new Uint32Array(this.#bytes.buffer);
      this.#signed = new Int32Array(this.#bytes.buffer);
      this.#weight ??= weightOf(this.#bytes);
    }
    if ((this.#entries + 1) * 2 <= this.#index.length) return;
    assert(this.#entries + 1 < slotMask, 'slots fit the index');
    const length = Math.max(indexEntriesMin, this.#index.length * 2);
    const index = new Uint32Array(new SharedArrayBuffer(pagedBytes(length * 4)), 0, length);
    for (let slot = 0; slot < this.#entries; slot++)
      place(index, hashOf(this.#bytes, slot * entryBytes), slot);
    this.#index = index;
  }
}

/** Puts a slot, of an id that is not there, into the first free place from its hash on. */
function place(index: Uint32Array, hash: number, slot: number): void {
  const mask = index.length - 1;
  let at = hash & mask;
  while (index[at] !== 0) at = (at + 1) & mask;
  index[at] = ((hash >>> tagShift) << tagShift) | (slot + 1);
}

/** Ids are digests: their first word, mixed, is the hash. Low bits give the place, the top 7 the tag. */
function hashOf(id: Uint8Array, at: number): number {
  return mix32(i32le(id, at));
}

function isU32(value: number): boolean {
  return value === value >>> 0;
}
