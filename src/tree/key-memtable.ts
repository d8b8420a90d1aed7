/**
 * Memtable of the key trees (K, X, S): internal keys in order, in shared memory, insert-only.
 *
 * Budget: 8 B per entry of record header, its key and value, padded to 4, and 12 B of leaf at a fill between
 * one half (random keys, about 17 B then) and one (ascending keys). Reserved memory is at most twice that;
 * what is reserved in large arrays and not written to takes none (own-pages.ts).
 *
 * Invariants
 * - Entries are never changed or removed; a handle stays valid as long as the memtable ("memtable equals a
 *   sorted model under any inserts and lookups").
 * - Equal keys are all kept, the newest first ("equal keys come newest first, also across leaves").
 * - A cursor stays on its entry whatever is inserted between two moves and then goes on in order ("cursor
 *   keeps its entry while inserts split its leaf").
 * - After `freeze` nothing changes ("a frozen memtable refuses inserts and still reads").
 * - An insert goes to the place the lookup before it has found only where a search would lead there ("inserts
 *   right after lookups equal inserts without them").
 */
import { assert, unreachable } from '../base/assert.ts';
import { compareRange } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import { memtableBytesMax, RecordArena } from './arena.ts';
import { ArenaTree } from './arena-tree.ts';
import { END, type KeyCursor, OK, type Step } from './cursor.ts';
import type { RecentFilter } from './recent-filter.ts';

/** Options of a memtable. */
export interface MemtableOptions {
  /** Budget in bytes, 1 .. 1 GiB; `full` says when it is used up. */
  bytesMax: number;
}

/** A budget within bounds, or VARVE_INVALID_ARGUMENT. */
export function checkedBytesMax(options: MemtableOptions): number {
  const { bytesMax } = options;
  if (!Number.isSafeInteger(bytesMax) || bytesMax < 1 || bytesMax > memtableBytesMax) {
    throw invalid(`memtable budget must be 1 to ${memtableBytesMax} bytes`, { actual: bytesMax });
  }
  return bytesMax;
}

/** Ordered rows of a key tree that no table holds yet. One thread writes; bytes are copied in. */
export class KeyMemtable {
  readonly bytesMax: number;
  /** Has every row there is here, perhaps with those of other memtables. */
  readonly recent: RecentFilter | undefined;
  readonly #arena = new RecordArena();
  readonly #tree = new ArenaTree(this.#arena);
  #minSeq = 0;
  #maxSeq = 0;
  #frozen = false;
  /** Key under search: the row prefix and a sequence number. */
  #target = new Uint8Array(256);
  /** Of the last `find`: bytes of its row prefix, its number, and the tree's moves after its search. */
  #soughtLength = 0;
  #soughtSeq = 0;
  #soughtMoves = -1;

  /** `recent` is told of every row. */
  constructor(options: MemtableOptions, recent?: RecentFilter) {
    this.bytesMax = checkedBytesMax(options);
    this.recent = recent;
  }

  get entries(): number {
    return this.#tree.entries;
  }

  /** Bytes of records and nodes. */
  get bytesUsed(): number {
    return this.#arena.used + this.#tree.bytesUsed;
  }

  /** The budget is used up: time to freeze. Never while empty. Inserts are taken all the same. */
  get full(): boolean {
    return this.entries > 0 && this.bytesUsed >= this.bytesMax;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Lowest and highest sequence number of any key; 0 while empty. */
  get minSeq(): number {
    return this.#minSeq;
  }

  get maxSeq(): number {
    return this.#maxSeq;
  }

  /** Memory the handles point into; replaced on growth, so read it at each use. Never write to it. */
  get arena(): Uint8Array {
    return this.#arena.bytes;
  }

  /**
   * Adds a row; key and value are copied. The key ends in its inverted sequence number. A row with an equal
   * key is kept and sorts after the new one. Not durable: the log is.
   */
  insert(
    keyBuf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueBuf: Uint8Array,
    valueFrom: number,
    valueTo: number,
  ): void {
    assert(!this.#frozen, 'a frozen memtable takes no inserts');
    assert(keyTo - keyFrom >= seqBytes, 'an internal key ends in a sequence number');
    const seq = seqOf(keyBuf, keyTo);
    assert(seq <= Number.MAX_SAFE_INTEGER, 'a sequence number is an exact integer');
    const handle = this.#arena.append(keyBuf, keyFrom, keyTo, valueBuf, valueFrom, valueTo);
    const isSought = this.#isSought(keyBuf, keyFrom, keyTo - seqBytes, seq);
    if (!isSought || !this.#tree.insertFound(handle)) this.#tree.insert(handle);
    this.recent?.add(keyBuf, keyFrom, keyTo - seqBytes);
    if (seq > this.#maxSeq) this.#maxSeq = seq;
    if (seq < this.#minSeq || this.#tree.entries === 1) this.#minSeq = seq;
  }

  /**
   * Handle of the newest row whose key is prefix[from..to) and a sequence number <= seqMax, or -1. The prefix
   * is borrowed for the call. Allocates nothing.
   */
  find(prefixBuf: Uint8Array, from: number, to: number, seqMax: number): number {
    const length = to - from + seqBytes;
    if (length > this.#target.length) this.#target = new Uint8Array(length * 2);
    const target = this.#target;
    let at = 0;
    for (let i = from; i < to; i++) target[at++] = prefixBuf[i]!;
    writeInvertedSeq(target, at, seqMax);
    const tree = this.#tree;
    tree.seek(target, 0, length);
    this.#soughtLength = to - from;
    this.#soughtSeq = seqMax;
    this.#soughtMoves = tree.moves;
    let leaf = tree.foundLeaf;
    let index = tree.foundIndex;
    // Row prefixes are free of prefixes in K and X, so the first entry decides; elsewhere longer keys that
    // begin with this prefix may lie between.
    for (;;) {
      if (index === tree.countOf(leaf)) {
        leaf = tree.leafAfter(leaf);
        index = 0;
        if (leaf === -1) return -1;
      }
      const handle = tree.handleAt(leaf, index);
      const keyFrom = this.#arena.keyFrom(handle);
      const keyLength = this.#arena.keyTo(handle) - keyFrom;
      if (keyLength < to - from) return -1;
      if (compareRange(this.#arena.bytes, keyFrom, keyFrom + to - from, target, 0, to - from) !== 0)
        return -1;
      if (keyLength === length) return handle;
      index++;
    }
  }

  /** The last search was for this row prefix, at this number or a newer one, and nothing moved since. */
  #isSought(keyBuf: Uint8Array, from: number, to: number, seq: number): boolean {
    if (this.#soughtMoves !== this.#tree.moves || seq > this.#soughtSeq) return false;
    const length = this.#soughtLength;
    if (to - from !== length) return false;
    const target = this.#target;
    for (let i = 0; i < length; i++) if (keyBuf[from + i] !== target[i]) return false;
    return true;
  }

  /** Key of a handle: arena[entryKeyFrom .. entryKeyTo). */
  entryKeyFrom(handle: number): number {
    return this.#arena.keyFrom(handle);
  }

  entryKeyTo(handle: number): number {
    return this.#arena.keyTo(handle);
  }

  /** Value of a handle: arena[entryValueFrom .. entryValueTo); it follows the key. */
  entryValueFrom(handle: number): number {
    return this.#arena.keyTo(handle);
  }

  entryValueTo(handle: number): number {
    return this.#arena.valueTo(handle);
  }

  /** Sequence number of the row. */
  entrySeq(handle: number): number {
    return seqOf(this.#arena.bytes, this.#arena.keyTo(handle));
  }

  /** A cursor over the live entries, unpositioned; it sees what is inserted ahead of it. */
  cursor(): KeyCursor {
    return new MemtableCursor(this.#arena, this.#tree);
  }

  /** From now on an insert is a failed assertion. Idempotent. */
  freeze(): void {
    this.#frozen = true;
  }
}

/** Never answers MISS: everything is in memory. */
class MemtableCursor implements KeyCursor {
  readonly #arena: RecordArena;
  readonly #tree: ArenaTree;
  /** Record the cursor is on; -1 = unpositioned. */
  #handle = -1;
  #leaf = -1;
  #index = 0;
  #entriesSeen = 0;

  constructor(arena: RecordArena, tree: ArenaTree) {
    this.#arena = arena;
    this.#tree = tree;
  }

  get keyBytes(): Uint8Array {
    return this.#arena.bytes;
  }

  get valueBytes(): Uint8Array {
    return this.#arena.bytes;
  }

  get keyFrom(): number {
    return this.#arena.keyFrom(this.#handle);
  }

  get keyTo(): number {
    return this.#arena.keyTo(this.#handle);
  }

  get valueFrom(): number {
    return this.#arena.keyTo(this.#handle);
  }

  get valueTo(): number {
    return this.#arena.valueTo(this.#handle);
  }

  seek(key: Uint8Array): Step {
    this.#tree.seek(key, 0, key.length);
    return this.#settle(this.#tree.foundLeaf, this.#tree.foundIndex);
  }

  seekBefore(key: Uint8Array): Step {
    this.#tree.seek(key, 0, key.length);
    return this.#settleBefore(this.#tree.foundLeaf, this.#tree.foundIndex);
  }

  first(): Step {
    return this.#settle(this.#tree.firstLeaf, 0);
  }

  last(): Step {
    return this.#settleBefore(this.#tree.lastLeaf, this.#tree.countOf(this.#tree.lastLeaf));
  }

  next(): Step {
    this.#follow();
    return this.#settle(this.#leaf, this.#index + 1);
  }

  prev(): Step {
    this.#follow();
    return this.#settleBefore(this.#leaf, this.#index);
  }

  load(): Promise<void> {
    return unreachable('a memtable cursor never misses');
  }

  loadSync(): void {
    unreachable('a memtable cursor never misses');
  }

  /** Stands on the entry at `index`, or the first of the leaf after it. */
  #settle(leaf: number, index: number): Step {
    if (index >= this.#tree.countOf(leaf)) {
      const after = this.#tree.leafAfter(leaf);
      return after === -1 ? this.#leave() : this.#stand(after, 0);
    }
    return this.#stand(leaf, index);
  }

  /** Stands on the entry before `index`, which may be the last of the leaf before it. */
  #settleBefore(leaf: number, index: number): Step {
    if (index > 0) return this.#stand(leaf, index - 1);
    const before = this.#tree.leafBefore(leaf);
    return before === -1 ? this.#leave() : this.#stand(before, this.#tree.countOf(before) - 1);
  }

  #stand(leaf: number, index: number): Step {
    this.#leaf = leaf;
    this.#index = index;
    this.#handle = this.#tree.handleAt(leaf, index);
    this.#entriesSeen = this.#tree.entries;
    return OK;
  }

  #leave(): Step {
    this.#handle = -1;
    return END;
  }

  /** Finds the current record again if inserts may have moved it. */
  #follow(): void {
    assert(this.#handle !== -1, 'a cursor moves on only from an entry');
    const tree = this.#tree;
    if (tree.entries === this.#entriesSeen) return;
    this.#entriesSeen = tree.entries;
    tree.seek(this.#arena.bytes, this.keyFrom, this.keyTo);
    let leaf = tree.foundLeaf;
    let index = tree.foundIndex;
    // Newer rows with the same key may stand before it.
    for (;;) {
      if (index === tree.countOf(leaf)) {
        leaf = tree.leafAfter(leaf);
        index = 0;
        assert(leaf !== -1, 'an entry is never removed');
      }
      if (tree.handleAt(leaf, index) === this.#handle) break;
      index++;
    }
    this.#leaf = leaf;
    this.#index = index;
  }
}

function writeInvertedSeq(bytes: Uint8Array, at: number, seq: number): void {
  const high = ~Math.floor(seq / 2 ** 32);
  const low = ~(seq >>> 0);
  bytes[at] = high >>> 24;
  bytes[at + 1] = high >>> 16;
  bytes[at + 2] = high >>> 8;
  bytes[at + 3] = high;
  bytes[at + 4] = low >>> 24;
  bytes[at + 5] = low >>> 16;
  bytes[at + 6] = low >>> 8;
  bytes[at + 7] = low;
}
