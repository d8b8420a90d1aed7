/**
 * Chunks of a vault by id, in memory: open addressing over columns, 50 B and two slots at most per chunk.
 *
 * Invariants (test/backup/key-tree.test.ts)
 * - Equals a Map of what was added ("the table equals a map").
 */
import { i32le } from '../base/bytes.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import type { IndexColumns } from '../format/vault-index.ts';

const firstRows = 1024;

/** Entries of index objects in columns, in the order they were added. */
export class IndexRows implements IndexColumns {
  ids: Uint8Array = new Uint8Array(firstRows * chunkIdBytes);
  pack: Uint32Array = new Uint32Array(firstRows);
  off8: Uint32Array = new Uint32Array(firstRows);
  storedLen: Uint32Array = new Uint32Array(firstRows);
  rawLen: Uint32Array = new Uint32Array(firstRows);
  kind: Uint8Array = new Uint8Array(firstRows);
  codec: Uint8Array = new Uint8Array(firstRows);
  count = 0;

  /** Adds an entry; the id is copied. Returns its row. */
  append(
    id: Uint8Array,
    at: number,
    pack: number,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): number {
    if (this.count === this.pack.length) this.#grow();
    const row = this.count++;
    this.ids.set(id.subarray(at, at + chunkIdBytes), row * chunkIdBytes);
    this.pack[row] = pack;
    this.off8[row] = off8;
    this.storedLen[row] = storedLen;
    this.rawLen[row] = rawLen;
    this.kind[row] = kind;
    this.codec[row] = codec;
    return row;
  }

  /** The id of a row; a view. */
  idOf(row: number): Uint8Array {
    return this.ids.subarray(row * chunkIdBytes, (row + 1) * chunkIdBytes);
  }

  /** `rows` sorted by id, then by pack, in place. */
  sort(rows: Uint32Array): Uint32Array {
    return rows.sort((a, b) => this.compare(a, b));
  }

  /** Order of two rows: by id, then by pack. */
  compare(a: number, b: number): number {
    const { ids, pack } = this;
    for (let i = 0; i < chunkIdBytes; i++) {
      const d = ids[a * chunkIdBytes + i]! - ids[b * chunkIdBytes + i]!;
      if (d !== 0) return d;
    }
    return pack[a]! - pack[b]!;
  }

  /** Takes all rows out. */
  protected reset(): void {
    this.ids = new Uint8Array(firstRows * chunkIdBytes);
    this.pack = new Uint32Array(firstRows);
    this.off8 = new Uint32Array(firstRows);
    this.storedLen = new Uint32Array(firstRows);
    this.rawLen = new Uint32Array(firstRows);
    this.kind = new Uint8Array(firstRows);
    this.codec = new Uint8Array(firstRows);
    this.count = 0;
  }

  #grow(): void {
    const rows = this.pack.length * 2;
    this.ids = grown(this.ids, new Uint8Array(rows * chunkIdBytes));
    this.pack = grown(this.pack, new Uint32Array(rows));
    this.off8 = grown(this.off8, new Uint32Array(rows));
    this.storedLen = grown(this.storedLen, new Uint32Array(rows));
    this.rawLen = grown(this.rawLen, new Uint32Array(rows));
    this.kind = grown(this.kind, new Uint8Array(rows));
    this.codec = grown(this.codec, new Uint8Array(rows));
  }
}

/** Chunks by id: each once. */
export class ChunkTable extends IndexRows {
  /** Row + 1; 0 = free. */
  #slots = new Uint32Array(firstRows * 2);

  /** Row of the id at id[at..at+32), or -1. */
  find(id: Uint8Array, at = 0): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = i32le(id, at) & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot]! - 1;
      if (row < 0) return -1;
      if (this.#hasId(row, id, at)) return row;
    }
  }

  has(id: Uint8Array, at = 0): boolean {
    return this.find(id, at) >= 0;
  }

  /** Adds a chunk unless its id is there; -1 then, else its row. The id is copied. */
  add(
    id: Uint8Array,
    at: number,
    pack: number,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): number {
    if (this.has(id, at)) return -1;
    const row = this.append(id, at, pack, off8, storedLen, rawLen, kind, codec);
    if (this.count * 3 > this.#slots.length * 2) this.#spread();
    else this.#place(row);
    return row;
  }

  /** Takes everything out, and gives its memory back. */
  clear(): void {
    this.reset();
    this.#slots = new Uint32Array(firstRows * 2);
  }

  #hasId(row: number, id: Uint8Array, at: number): boolean {
    const { ids } = this;
    const from = row * chunkIdBytes;
    for (let i = 0; i < chunkIdBytes; i++) if (ids[from + i] !== id[at + i]) return false;
    return true;
  }

  #place(row: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = i32le(this.ids, row * chunkIdBytes) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = row + 1;
  }

  #spread(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let row = 0; row < this.count; row++) this.#place(row);
  }
}

function grown<T extends Uint8Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** A set of rows: one bit each. */
export class RowSet {
  #bits: Uint32Array;
  count = 0;

  constructor(rows: number) {
    this.#bits = new Uint32Array(Math.max(1, Math.ceil(rows / 32)));
  }

  has(row: number): boolean {
    return ((this.#bits[row >>> 5] ?? 0) & (1 << (row & 31))) !== 0;
  }

  /** False when it was there. */
  add(row: number): boolean {
    if (this.has(row)) return false;
    if (row >>> 5 >= this.#bits.length) {
      const more = new Uint32Array(Math.max(this.#bits.length * 2, (row >>> 5) + 1));
      more.set(this.#bits);
      this.#bits = more;
    }
    this.#bits[row >>> 5]! |= 1 << (row & 31);
    this.count++;
    return true;
  }
}
