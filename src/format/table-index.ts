/**
 * Index of a table of an ordered tree: where each data block lies and which keys it can hold.
 *
 *   partition:  entries of varint separator length | separator | varint offset / 8 | varint length
 *               | varint rows | varint highest sequence number | varint rows that are not PUT
 *   top index:  the same fields for each partition, "length" being that of the partition and the first
 *               number that of its blocks
 *
 * Separators are lower bounds: all keys before block i are smaller than separator i, all keys from block i
 * on are not. That of the first block is empty. They are as short as `separatorBetween` can make them, which
 * is also what makes a lookup need no more than one block.
 *
 * In memory an index takes its separators, 4 B each for their ends, and 20 B per block.
 */
import { assert } from '../base/assert.ts';
import { align8, compareRange, emptyBytes, equalBytes } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';
import { ByteReader } from '../codec/byte-reader.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { seqBytes } from './internal-key.ts';
import { blockTrailer, dataBlockBytesMax, indexPartitionBytesTarget, type TableFooter } from './table.ts';

/**
 * Bytes that separate `last` from the greater key `first`, copied: last < separator <= first. When the two
 * are not versions of one row the separator is not greater than the row prefix of `first`; when they are it
 * is the successor of `last`. So a search for any version of a row never starts in a block before its own.
 */
export function separatorBetween(
  last: Uint8Array,
  lastBytes: number,
  first: Uint8Array,
  firstFrom: number,
  firstTo: number,
  shared: number,
): Uint8Array {
  assert(shared < firstTo - firstFrom, 'equal keys share a block');
  if (shared < firstTo - firstFrom - seqBytes) return first.slice(firstFrom, firstFrom + shared + 1);
  const out = new Uint8Array(lastBytes + 1);
  out.set(last.subarray(0, lastBytes));
  return out;
}

/** Least bytes of an entry beside its separator: six varints. */
export const indexEntryBytesLeast = 6;

/** Memory of a block: its columns. */
const columnBytes = 24;

/** What an index entry says of a block or partition. */
export interface IndexEntry {
  separator: Uint8Array;
  /** Offset in the file. */
  offset: number;
  /** Bytes with trailer, without padding. */
  length: number;
  /** Rows of a block; blocks of a partition. */
  rows: number;
  maxSeq: number;
  tombstones: number;
}

function writeEntry(out: ByteWriter, entry: IndexEntry): void {
  out.varBytes(entry.separator);
  out.varint(entry.offset / 8);
  out.varint(entry.length);
  out.varint(entry.rows);
  out.varint(entry.maxSeq);
  out.varint(entry.tombstones);
}

function readEntry(reader: ByteReader): IndexEntry {
  const separator = reader.varBytes();
  const offset = reader.varint() * 8;
  const length = reader.varint();
  const rows = reader.varint();
  const maxSeq = reader.varint();
  const tombstones = reader.varint();
  const sane =
    length >= blockTrailer.size &&
    length <= dataBlockBytesMax &&
    rows >= 1 &&
    rows < 2 ** 32 &&
    tombstones <= rows * dataBlockBytesMax;
  if (!sane) throw reader.fail('index entry is out of range');
  return { separator, offset, length, rows, maxSeq, tombstones };
}

/** One finished partition, to be sealed and written by the caller. */
export interface IndexPartition {
  bytes: Uint8Array;
  /** Entry for the top index; its offset and length are still to be set. */
  entry: IndexEntry;
}

/** Collects index entries into partitions of about 16 KiB. */
export class IndexBuilder {
  readonly partitions: IndexPartition[] = [];
  #out = new ByteWriter(4096);
  #open: IndexEntry | undefined;

  add(entry: IndexEntry): void {
    writeEntry(this.#out, entry);
    const open = this.#open;
    if (open === undefined) this.#open = { ...entry, rows: 1 };
    else {
      open.rows++;
      open.maxSeq = Math.max(open.maxSeq, entry.maxSeq);
      open.tombstones += entry.tombstones;
    }
    if (this.#out.pos >= indexPartitionBytesTarget) this.finish();
  }

  /** Closes the open partition. */
  finish(): void {
    if (this.#open === undefined) return;
    this.partitions.push({ bytes: this.#out.take(), entry: this.#open });
    this.#out.clear();
    this.#open = undefined;
  }
}

export function encodeTopIndex(entries: readonly IndexEntry[]): Uint8Array {
  const out = new ByteWriter(1024);
  for (const entry of entries) writeEntry(out, entry);
  return out.take();
}

/** What the entries of an index add up to. */
export interface IndexSums {
  /** Where the last block ends, padding included. */
  readonly end: number;
  readonly rows: number;
  readonly tombstones: number;
  readonly maxSeq: number;
}

/** Reads the top index: `count` partitions that fill the file from `from` to `to`. `place` is its block. */
export function decodeTopIndex(
  raw: Uint8Array,
  count: number,
  from: number,
  to: number,
  place: Place,
): IndexEntry[] {
  const reader = new ByteReader(raw, place);
  const entries: IndexEntry[] = [];
  let end = from;
  for (let i = 0; i < count; i++) {
    const entry = readEntry(reader);
    if (entry.offset !== end) throw reader.fail('index partitions do not follow each other');
    end = align8(entry.offset + entry.length);
    entries.push(entry);
  }
  reader.finish();
  if (end !== to) throw corrupt('index partitions do not end where the top index starts', place, to, end);
  return entries;
}

/**
 * Entries of an index in typed arrays: of all partitions of a table, of one, or of the top index, whose
 * "blocks" are the partitions. Filled by `addPartition`, checked by `complete`.
 */
export class TableIndex {
  readonly blocks: number;
  readonly #separatorEnd: Uint32Array;
  readonly #offset8: Uint32Array;
  readonly #length: Uint32Array;
  readonly #rows: Uint32Array;
  readonly #maxSeqs: Float64Array;
  readonly #separators: ByteWriter;
  #filled = 0;
  #end: number;
  #rowSum = 0;
  #tombstoneSum = 0;
  #maxSeq = 0;
  /** Separator of the first block. */
  readonly #first: Uint8Array;

  /**
   * `blocks` is bounded by the caller, by the size of the file; `dataFrom` is where the first lies
   * (undefined: where its entry says), and `first` its separator. `separatorBytes`: about what separators
   * take.
   */
  constructor(
    blocks: number,
    dataFrom: number | undefined,
    first: Uint8Array = emptyBytes,
    separatorBytes = 1024,
  ) {
    this.blocks = blocks;
    this.#first = first;
    // One array under all columns: thousands of partitions are in memory, and come and go.
    const memory = new ArrayBuffer(columnBytes * blocks);
    const column = (at: number): Uint32Array => new Uint32Array(memory, at * blocks, blocks);
    this.#maxSeqs = new Float64Array(memory, 0, blocks);
    this.#separatorEnd = column(8);
    this.#offset8 = column(12);
    this.#length = column(16);
    this.#rows = column(20);
    this.#separators = new ByteWriter(separatorBytes);
    this.#end = dataFrom ?? -1;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#separators.bytes.length + columnBytes * this.blocks;
  }

  addPartition(raw: Uint8Array, partition: Pick<IndexEntry, 'rows'>, place: Place): void {
    const reader = new ByteReader(raw, place);
    for (let i = 0; i < partition.rows; i++) {
      const entry = readEntry(reader);
      const n = this.#filled;
      if (n === this.blocks) throw reader.fail('index has more blocks than the table');
      if (entry.offset !== this.#end && this.#end !== -1)
        throw reader.fail('data blocks do not follow each other');
      if (n === 0 ? !equalBytes(entry.separator, this.#first) : this.#compare(n - 1, entry.separator) >= 0) {
        throw reader.fail('index separators are not in order');
      }
      this.#end = align8(entry.offset + entry.length);
      this.#separators.raw(entry.separator);
      this.#separatorEnd[n] = this.#separators.pos;
      this.#offset8[n] = entry.offset / 8;
      this.#length[n] = entry.length;
      this.#rows[n] = entry.rows;
      this.#maxSeqs[n] = entry.maxSeq;
      this.#rowSum += entry.rows;
      this.#tombstoneSum += entry.tombstones;
      this.#maxSeq = Math.max(this.#maxSeq, entry.maxSeq);
      this.#filled++;
    }
    reader.finish();
  }

  /** Checks the sums of the index against the footer. */
  complete(footer: TableFooter, place: Place): void {
    const { filterOff, entries, tombstones, maxSeq } = footer;
    if (!this.adds({ end: filterOff, rows: entries, tombstones, maxSeq }))
      throw corrupt('index of the table contradicts its footer', place);
  }

  /** All blocks were added, end there, and have those sums. */
  adds(sums: IndexSums): boolean {
    return (
      this.#filled === this.blocks &&
      this.#end === sums.end &&
      this.#rowSum === sums.rows &&
      this.#tombstoneSum === sums.tombstones &&
      this.#maxSeq === sums.maxSeq
    );
  }

  /** What the entries add up to. */
  get sums(): IndexSums {
    return { end: this.#end, rows: this.#rowSum, tombstones: this.#tombstoneSum, maxSeq: this.#maxSeq };
  }

  offsetOf(block: number): number {
    return this.#offset8[block]! * 8;
  }

  /** Bytes with trailer, without padding. */
  lengthOf(block: number): number {
    return this.#length[block]!;
  }

  rowsOf(block: number): number {
    return this.#rows[block]!;
  }

  /** Lower bound of the keys of a block, a view; empty for the first. */
  separatorOf(block: number): Uint8Array {
    const from = block === 0 ? 0 : this.#separatorEnd[block - 1]!;
    return this.#separators.bytes.subarray(from, this.#separatorEnd[block]!);
  }

  /** Highest sequence number in it. */
  maxSeqOf(block: number): number {
    return this.#maxSeqs[block]!;
  }

  /** The block that holds key[0..keyTo) if any does, and from which on greater keys lie. */
  find(key: Uint8Array, keyTo: number): number {
    const separators = this.#separators.bytes;
    const ends = this.#separatorEnd;
    let low = 0;
    let high = this.blocks - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (compareRange(separators, ends[middle - 1]!, ends[middle]!, key, 0, keyTo) <= 0) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #compare(block: number, key: Uint8Array): number {
    const from = block === 0 ? 0 : this.#separatorEnd[block - 1]!;
    return compareRange(this.#separators.bytes, from, this.#separatorEnd[block]!, key, 0, key.length);
  }
}
