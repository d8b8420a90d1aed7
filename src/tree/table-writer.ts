/** Writes the rows of an ordered tree (K, X, S) to an immutable table. */
import { assert } from '../base/assert.ts';
import { corrupt } from '../base/errors.ts';
import { grownWords } from '../base/own-pages.ts';
import { hashKey32, keyHashVersion } from '../codec/key-hash.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { DataBlockBuilder, restartInterval } from '../format/data-block.ts';
import { fileHeader } from '../format/file-header.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import {
  blockTrailer,
  dataBlockBytesMax,
  dataBlockBytesTarget,
  encodeTableProps,
  filterPartitionBytes,
  indexDataBlockBytesTarget,
  type TableFooter,
} from '../format/table.ts';
import { encodeTopIndex, IndexBuilder, separatorBetween } from '../format/table-index.ts';
import { trees } from '../format/trees.ts';
import type { FsPort } from '../fs/port.ts';
import { BloomFilter, bucketsFor } from './bloom.ts';
import { MISS, OK, type RowSource } from './cursor.ts';
import type { MergeSlice } from './merge-slice.ts';
import { type TableIdentity, TableOutput, TableScratch } from './table-output.ts';

const filterBitsPerKey = 12;
/** Keys that go to a filter between two looks at the clock: their places in memory are far apart. */
const hashesPerLook = 8192;

/** What to write. */
export interface KeyTableInput extends TableIdentity {
  /** At least one row, in order. Read front to back; a memtable's must not change meanwhile. */
  rows: RowSource;
}

/**
 * Writes a table and proves it by reading it back; durable, name included, when it resolves. Memory: a write
 * buffer, one block, the index (under 1 % of the table) and 4 B per distinct row prefix. On failure the file
 * is deleted: VARVE_NO_SPACE, VARVE_IO, VARVE_CORRUPT when it reads back otherwise or rows are unordered.
 */
export async function writeKeyTable(fs: FsPort, input: KeyTableInput): Promise<CatalogTable> {
  const rows = new RowsWriter(input);
  const { size, checksum } = await TableOutput.write(fs, input, (out) => rows.write(out, input.rows));
  return {
    tree: input.tree as CatalogTable['tree'],
    level: input.level,
    no: input.no,
    size,
    entries: rows.entries,
    minKey: rows.minKey,
    maxKey: rows.maxKey,
    minSeq: rows.minSeq,
    maxSeq: rows.maxSeq,
    checksum,
  };
}

/** State of one run. */
class RowsWriter {
  entries = 0;
  minSeq = Number.MAX_SAFE_INTEGER;
  maxSeq = 0;
  minKey: Uint8Array = new Uint8Array(0);
  maxKey: Uint8Array = new Uint8Array(0);
  readonly #tree: number;
  readonly #level: number;
  readonly #blockBytes: number;
  readonly #block = new DataBlockBuilder();
  readonly #index = new IndexBuilder();
  readonly #hashes: HashList;
  readonly #scratch: TableScratch;
  readonly #slice: MergeSlice | undefined;
  #blocks = 0;
  #tombstones = 0;
  #blockTombstones = 0;
  #blockMaxSeq = 0;
  #separator: Uint8Array = new Uint8Array(0);

  constructor(identity: TableIdentity) {
    this.#scratch = identity.scratch ?? new TableScratch();
    this.#slice = identity.slice;
    this.#hashes = new HashList(this.#scratch.words);
    this.#tree = identity.tree;
    this.#level = identity.level;
    this.#blockBytes = identity.tree === trees.X ? indexDataBlockBytesTarget : dataBlockBytesTarget;
  }

  async write(out: TableOutput, rows: RowSource): Promise<Omit<TableFooter, 'fileChecksum'>> {
    let step = rows.first();
    for (;;) {
      while (step === MISS) {
        await rows.load();
        step = this.entries === 0 ? rows.first() : rows.next();
      }
      if (step !== OK) break;
      const { keyBytes, keyFrom, keyTo } = rows;
      const shared = this.#place(keyBytes, keyFrom, keyTo, out);
      if (this.#block.bytes >= this.#blockBytes && shared < keyTo - keyFrom) {
        const { lastKey, lastKeyBytes } = this.#block;
        const separator = separatorBetween(lastKey, lastKeyBytes, keyBytes, keyFrom, keyTo, shared);
        await this.#closeBlock(out);
        this.#separator = separator;
      }
      this.#add(rows, shared);
      step = rows.next();
    }
    assert(this.entries > 0, 'a table has rows');
    this.maxKey = this.#block.lastKey.slice(0, this.#block.lastKeyBytes);
    await this.#closeBlock(out);
    return await this.#finish(out);
  }

  /** Bytes shared with the key before; VARVE_CORRUPT when the key sorts before it. */
  #place(key: Uint8Array, from: number, to: number, out: TableOutput): number {
    const { lastKey, lastKeyBytes } = this.#block;
    const shared = this.#block.sharedWithLast(key, from, to);
    const ordered = shared === lastKeyBytes || (shared < to - from && lastKey[shared]! < key[from + shared]!);
    if (!ordered) throw corrupt('rows to be written are out of order', { file: out.path, offset: out.pos });
    return shared;
  }

  #add(rows: RowSource, shared: number): void {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = rows;
    this.#block.add(keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo, shared);
    if (this.entries === 0) this.minKey = keyBytes.slice(keyFrom, keyTo);
    this.entries++;
    const seq = seqOf(keyBytes, keyTo);
    if (seq < this.minSeq) this.minSeq = seq;
    if (seq > this.maxSeq) this.maxSeq = seq;
    if (seq > this.#blockMaxSeq) this.#blockMaxSeq = seq;
    const isPut = valueFrom < valueTo && rowKindAt(valueBytes, valueFrom) === rowKinds.put;
    if (!isPut) this.#blockTombstones++;
    this.#hashes.add(hashKey32(keyBytes, keyFrom, keyTo - seqBytes));
  }

  async #closeBlock(out: TableOutput): Promise<void> {
    const rows = this.#block.entries;
    const { bytes, length } = this.#block.finish(blockTrailer.size + 8);
    assert(length + blockTrailer.size <= dataBlockBytesMax, 'a data block stays below its bound');
    this.#index.add({
      separator: this.#separator,
      offset: out.pos,
      length: length + blockTrailer.size,
      rows,
      maxSeq: this.#blockMaxSeq,
      tombstones: this.#blockTombstones,
    });
    this.#blocks++;
    this.#tombstones += this.#blockTombstones;
    this.#blockTombstones = 0;
    this.#blockMaxSeq = 0;
    await out.appendBlock(bytes, length);
  }

  async #finish(out: TableOutput): Promise<Omit<TableFooter, 'fileChecksum'>> {
    const filterOff = out.pos;
    const filter = new BloomFilter(bucketsFor(this.#hashes.count, filterBitsPerKey));
    for (let from = 0; from < this.#hashes.count; from += hashesPerLook) {
      this.#hashes.addTo(filter, from, from + hashesPerLook);
      if (this.#slice?.isLate() === true) await this.#slice.rest();
    }
    this.#scratch.words = this.#hashes.words;
    const filterLen = await out.appendFilter(filter);
    const indexOff = out.pos;
    this.#index.finish();
    for (const partition of this.#index.partitions) {
      partition.entry.offset = out.pos;
      partition.entry.length = partition.bytes.length + blockTrailer.size;
      await out.appendSmallBlock(partition.bytes);
    }
    const topIndexOff = out.pos;
    const top = encodeTopIndex(this.#index.partitions.map((partition) => partition.entry));
    await out.appendSmallBlock(top);
    const propsOff = out.pos;
    const props = encodeTableProps({
      tree: this.#tree,
      level: this.#level,
      keyHashVersion,
      restartInterval,
      blockBytes: this.#blockBytes,
      filterPartitionBytes,
      filterBuckets: filter.buckets,
      indexPartitions: this.#index.partitions.length,
      indexOff,
    });
    await out.appendSmallBlock(props);
    return {
      topIndexOff,
      topIndexLen: top.length + blockTrailer.size,
      dataBlocks: this.#blocks,
      filterOff,
      filterLen,
      filterBitsX16: filterBitsPerKey * 16,
      propsOff,
      propsLen: props.length + blockTrailer.size,
      tombstones: this.#tombstones,
      entries: this.entries,
      minSeq: this.minSeq,
      maxSeq: this.maxSeq,
      dataLen: filterOff - fileHeader.size,
      sumRefs: 0,
    };
  }
}

/** Hashes of the rows in order, neighbours that are equal kept once: 4 B each. */
class HashList {
  #hashes: Uint32Array<ArrayBufferLike>;
  count = 0;

  constructor(words: Uint32Array) {
    this.#hashes = words;
  }

  /** The memory, for the next list. */
  get words(): Uint32Array {
    return this.#hashes;
  }

  add(hash: number): void {
    if (this.count > 0 && this.#hashes[this.count - 1] === hash) return;
    if (this.count === this.#hashes.length) {
      this.#hashes = grownWords(this.#hashes, this.#hashes.length * 2);
    }
    this.#hashes[this.count++] = hash;
  }

  /** Those in [from, to), as far as there are. */
  addTo(filter: BloomFilter, from: number, to: number): void {
    const hashes = this.#hashes;
    const end = Math.min(to, this.count);
    for (let i = from; i < end; i++) filter.addHash(hashes[i]!);
  }
}
