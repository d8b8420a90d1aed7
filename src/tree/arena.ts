/**
 * Append-only memory on shared buffers: a worker can read what the main thread wrote without a copy.
 *
 * Record: words of the host's byte order, then bytes, padded to 4:
 *   0  u32  key length      4  u32  value length      8  key, value
 * A record is named by its handle, the offset of its first word in words; handles stay valid for ever.
 *
 * Invariants
 * - What lies below `used` never changes, so a buffer replaced by growth still reads right through an old
 *   reference ("records keep their bytes while the arena grows").
 */

import { assert } from '../base/assert.ts';
import { copyRange } from '../base/bytes.ts';
import { GiB, KiB } from '../base/limits.ts';
import { ownPagesBytes, pagedBytes } from '../base/own-pages.ts';

/** Largest budget of one memtable, bytes: keeps every offset inside 31 bits. */
export const memtableBytesMax = GiB;

/** Longest a shared array may get, bytes: the budget, and what the commit that fills it may add. */
const sharedBytesMax = 2 * GiB - 64 * KiB;
const growthUnit = 64 * KiB;
/** Up to one growth unit memory comes in pieces of this size: most memtables of a small store stay small. */
const smallUnit = 4 * KiB;
const headerBytes = 8;

/**
 * Bytes to reserve so that `needed` fit: doubled from `capacity`, in whole units, and from a mebibyte on
 * pages of its own at once: no further copies, and none of the freed ones in between that the heap keeps.
 */
export function roomFor(capacity: number, needed: number): number {
  assert(needed <= sharedBytesMax, 'a memtable stays below 2 GiB');
  const wanted = Math.max(capacity * 2, needed);
  const unit = wanted < growthUnit ? smallUnit : growthUnit;
  const room = Math.ceil(wanted / unit) * unit;
  return Math.min(pagedBytes(room), sharedBytesMax);
}

/** A zeroed shared array of `bytes` bytes that begins with a copy of `old`. */
export function growShared(old: Uint8Array, bytes: number): Uint8Array {
  const grown = new Uint8Array(new SharedArrayBuffer(bytes));
  grown.set(old);
  return grown;
}

/**
 * What stands for shared arrays in the sums by which V8 decides when to collect, since it counts none of
 * them: a dead memtable would stay until something else fills memory. Never written, so that it takes none.
 */
export function weightOf(shared: Uint8Array): ArrayBuffer | undefined {
  return shared.length < ownPagesBytes ? undefined : new ArrayBuffer(shared.length);
}

/** No memory yet: what everything starts with, as most memtables never get a record. Never written. */
export const emptyShared: Uint8Array = new Uint8Array(new SharedArrayBuffer(0));
const emptyWords = new Uint32Array(emptyShared.buffer);

/** Append-only records of key and value bytes. */
export class RecordArena {
  #bytes = emptyShared;
  #words = emptyWords;
  /** Held as long as the memory is. */
  #weight: ArrayBuffer | undefined;
  #used = 0;

  /** The memory; replaced on growth, so read it at each use. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Bytes taken by records. */
  get used(): number {
    return this.#used;
  }

  /** Appends a copy of both ranges; returns the record's handle. Throws before anything changes. */
  append(
    keyBuf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueBuf: Uint8Array,
    valueFrom: number,
    valueTo: number,
  ): number {
    const keyLength = keyTo - keyFrom;
    const valueLength = valueTo - valueFrom;
    assert(keyFrom >= 0 && keyLength >= 0 && keyTo <= keyBuf.length, 'key lies in its buffer');
    assert(valueFrom >= 0 && valueLength >= 0 && valueTo <= valueBuf.length, 'value lies in its buffer');
    const at = this.#used;
    const needed = at + headerBytes + keyLength + valueLength + 3;
    if (needed > this.#bytes.length) this.#grow(needed);
    const handle = at >>> 2;
    this.#words[handle] = keyLength;
    this.#words[handle + 1] = valueLength;
    copyRange(keyBuf, keyFrom, keyTo, this.#bytes, at + headerBytes);
    copyRange(valueBuf, valueFrom, valueTo, this.#bytes, at + headerBytes + keyLength);
    this.#used = needed & ~3;
    return handle;
  }

  keyFrom(handle: number): number {
    return (handle << 2) + headerBytes;
  }

  keyTo(handle: number): number {
    return (handle << 2) + headerBytes + this.#words[handle]!;
  }

  valueTo(handle: number): number {
    return (handle << 2) + headerBytes + this.#words[handle]! + this.#words[handle + 1]!;
  }

  #grow(needed: number): void {
    this.#bytes = growShared(this.#bytes, roomFor(this.#bytes.length, needed));
    this.#words = new Uint32Array(this.#bytes.buffer);
    this.#weight ??= weightOf(this.#bytes);
  }
}
