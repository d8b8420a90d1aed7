/**
 * Cursor over one table. Holds one block; keys are put together in a buffer of its own.
 *
 * A move that answers MISS leaves the cursor where it was, so that it can be repeated.
 */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import { emptyBytes } from '../base/bytes.ts';
import { EntrySpot, entriesEnd, restartAt, restartBefore, searchDataBlock } from '../format/data-block.ts';
import { BlockHold, type BlockSource } from './block-hold.ts';
import { END, type KeyCursor, MISS, OK, type Step } from './cursor.ts';
import type { IndexPart, PagedIndex } from './paged-index.ts';
import type { TableScan } from './table-scan.ts';

const nowhere = -1;
/** Blocks gone through one behind the other after which those ahead are read together. */
const blocksBeforeAhead = 3;

/** See KeyCursor. Valid while its table is held. */
export class TableCursor implements KeyCursor {
  readonly keyFrom = 0;
  keyBytes: Uint8Array = new Uint8Array(256);
  keyTo = 0;
  valueFrom = 0;
  valueTo = 0;
  readonly #source: BlockSource;
  readonly #index: PagedIndex;
  readonly #hold: BlockHold;
  readonly #above: Seq;
  /** Reads pieces ahead of a cursor that goes on and on. */
  readonly #ahead: TableScan | undefined;
  #streak = 0;
  readonly #ownsHold: boolean;
  readonly #spot = new EntrySpot();
  #block: Uint8Array = emptyBytes;
  /** Number of `#block`; -1 = unpositioned. */
  #number = nowhere;

  /**
   * `above`: blocks with no number above it are passed over, forwards; -1 = none are. `ahead`: what to read
   * with once many blocks are gone through.
   */
  constructor(
    source: BlockSource,
    index: PagedIndex,
    hold: BlockHold | undefined,
    above: Seq = -1,
    ahead?: TableScan,
  ) {
    this.#above = above;
    this.#ahead = ahead;
    this.#source = source;
    this.#index = index;
    this.#hold = hold ?? new BlockHold();
    this.#ownsHold = hold === undefined;
  }

  get valueBytes(): Uint8Array {
    return this.#block;
  }

  first(): Step {
    return this.#standFirst(0);
  }

  last(): Step {
    return this.#standLast(this.#index.blocks - 1);
  }

  seek(key: Uint8Array): Step {
    const part = this.#partFor(key);
    if (part === undefined) return MISS;
    const number = part.find(key, key.length);
    if (part.maxSeqOf(number) <= this.#above) return this.#standFirst(number + 1);
    const block = this.#get(number);
    if (block === undefined) return MISS;
    if (!searchDataBlock(block, key, key.length, this.#spot)) return this.#standFirst(number + 1);
    this.#keyFrom(key, block);
    return this.#stand(number, block);
  }

  seekBefore(key: Uint8Array): Step {
    const part = this.#partFor(key);
    if (part === undefined) return MISS;
    const number = part.find(key, key.length);
    const block = this.#get(number);
    if (block === undefined) return MISS;
    if (!searchDataBlock(block, key, key.length, this.#spot)) return this.#standLast(number);
    if (this.#spot.at === 0) return this.#standLast(number - 1);
    return this.#standBefore(number, block, this.#spot.at);
  }

  next(): Step {
    assert(this.#number !== nowhere, 'a cursor moves on only from an entry');
    if (this.valueTo === entriesEnd(this.#block)) return this.#standFirst(this.#number + 1);
    this.#spot.read(this.#block, this.valueTo);
    this.#extendKey(this.#block);
    return this.#stand(this.#number, this.#block);
  }

  prev(): Step {
    assert(this.#number !== nowhere, 'a cursor moves on only from an entry');
    if (this.#at === 0) return this.#standLast(this.#number - 1);
    return this.#standBefore(this.#number, this.#block, this.#at);
  }

  load(): Promise<void> {
    return this.#hold.load();
  }

  loadSync(): void {
    this.#hold.loadSync();
  }

  /** Position of the current entry in its block. */
  #at = 0;

  #get(number: number): Uint8Array | undefined {
    if (number === this.#number) return this.#block;
    const isAhead = this.#streak >= blocksBeforeAhead && number === this.#number + 1;
    const ahead = isAhead ? this.#ahead : undefined;
    const block = ahead?.cached(number) ?? this.#hold.find(this.#source, number);
    if (block !== undefined) return block;
    this.#restart();
    this.#hold.want(ahead ?? this.#source, number);
    return undefined;
  }

  #partFor(key: Uint8Array): IndexPart | undefined {
    this.#restart();
    return this.#index.partFor(key, key.length, this.#hold);
  }

  #restart(): void {
    if (this.#ownsHold) this.#hold.restart();
  }

  /** The first block from `at` on with a number above `#above`; -1: the partition that tells is wanted. */
  #passOver(at: number): number {
    const index = this.#index;
    let number = at;
    for (;;) {
      number = index.skipTo(number, this.#above);
      if (number === index.blocks) return number;
      this.#restart();
      const part = index.partOf(number, this.#hold);
      if (part === undefined) return nowhere;
      while (number < part.end && part.maxSeqOf(number) <= this.#above) number++;
      if (number < part.end) return number;
      if (number === index.blocks) return number;
    }
  }

  #standFirst(at: number): Step {
    const number = this.#above === -1 ? at : this.#passOver(at);
    if (number === nowhere) return MISS;
    if (number === this.#index.blocks) return this.#leave();
    const block = this.#get(number);
    if (block === undefined) return MISS;
    this.#spot.read(block, 0);
    this.#extendKey(block);
    return this.#stand(number, block);
  }

  #standLast(number: number): Step {
    if (number < 0) return this.#leave();
    const block = this.#get(number);
    if (block === undefined) return MISS;
    return this.#standBefore(number, block, entriesEnd(block));
  }

  /** Stands on the entry that ends at `end`. */
  #standBefore(number: number, block: Uint8Array, end: number): Step {
    const spot = this.#spot;
    let at = restartAt(block, restartBefore(block, end - 1));
    for (;;) {
      spot.read(block, at);
      this.#extendKey(block);
      if (spot.valueTo === end) return this.#stand(number, block);
      at = spot.valueTo;
    }
  }

  #stand(number: number, block: Uint8Array): Step {
    if (number !== this.#number) this.#streak = number === this.#number + 1 ? this.#streak + 1 : 0;
    this.#number = number;
    this.#block = block;
    this.#at = this.#spot.at;
    this.keyTo = this.#spot.keyBytes;
    this.valueFrom = this.#spot.valueFrom;
    this.valueTo = this.#spot.valueTo;
    if (this.#ownsHold) this.#hold.clear();
    return OK;
  }

  #leave(): Step {
    this.#number = nowhere;
    this.#block = emptyBytes;
    if (this.#ownsHold) this.#hold.clear();
    return END;
  }

  /** Puts the suffix of the entry at `#spot` behind what it shares with the key in the buffer. */
  #extendKey(block: Uint8Array): void {
    const { shared, suffixFrom, suffixTo } = this.#spot;
    this.#room(shared + suffixTo - suffixFrom, shared);
    const key = this.keyBytes;
    for (let i = suffixFrom, to = shared; i < suffixTo; i++, to++) key[to] = block[i]!;
  }

  /** The key of the entry found by a search for `sought`, with which it shares its first bytes. */
  #keyFrom(sought: Uint8Array, block: Uint8Array): void {
    const { shared } = this.#spot;
    this.#room(shared, 0);
    for (let i = 0; i < shared; i++) this.keyBytes[i] = sought[i]!;
    this.#extendKey(block);
  }

  #room(bytes: number, kept: number): void {
    if (bytes <= this.keyBytes.length) return;
    const grown = new Uint8Array(bytes * 2);
    grown.set(this.keyBytes.subarray(0, kept));
    this.keyBytes = grown;
  }
}
