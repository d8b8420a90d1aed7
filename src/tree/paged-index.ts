/**
 * The index of a table of an ordered tree, in its partitions of about 16 KiB: the top index is in memory as
 * long as the table is open, a partition is read when a lookup comes to it.
 *
 * Invariants (test/tree/table-parts.test.ts)
 * - It answers as the whole index does ("lookups end and answer the same with any budget").
 * - A partition is checked each time it is read, also against its neighbours in the top index ("a partition
 *   that contradicts the top index is damage").
 */
import { assert } from '../base/assert.ts';
import { compareBytes } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';
import { fileHeader } from '../format/file-header.ts';
import { seqBytes } from '../format/internal-key.ts';
import { blockTrailer, type TableProps } from '../format/table.ts';
import { indexEntryBytesLeast, TableIndex } from '../format/table-index.ts';
import type { BlockHold } from './block-hold.ts';
import type { MergeSlice } from './merge-slice.ts';
import { Part, type PartOwner, type PartRoom } from './part-room.ts';
import type { TableFile } from './table-file.ts';
import { TableParts } from './table-parts.ts';

/** A partition in memory. Block numbers are those of the table. */
export class IndexPart extends Part {
  /** Blocks [first, end) are in it. */
  readonly first: number;
  readonly end: number;
  readonly #index: TableIndex;

  constructor(owner: PartOwner, number: number, first: number, index: TableIndex) {
    super(owner, number, index.bytes);
    this.first = first;
    this.end = first + index.blocks;
    this.#index = index;
  }

  /** See TableIndex. */
  find(key: Uint8Array, keyTo: number): number {
    return this.first + this.#index.find(key, keyTo);
  }

  offsetOf(block: number): number {
    return this.#index.offsetOf(block - this.first);
  }

  lengthOf(block: number): number {
    return this.#index.lengthOf(block - this.first);
  }

  rowsOf(block: number): number {
    return this.#index.rowsOf(block - this.first);
  }

  separatorOf(block: number): Uint8Array {
    return this.#index.separatorOf(block - this.first);
  }

  maxSeqOf(block: number): number {
    return this.#index.maxSeqOf(block - this.first);
  }

  /** What its entries add up to. */
  get sums(): TableIndex['sums'] {
    return this.#index.sums;
  }
}

export class PagedIndex extends TableParts<IndexPart> {
  /** Data blocks of the table. */
  readonly blocks: number;
  readonly #top: TableIndex;
  /** First block of each partition, and the end. */
  readonly #firsts: Uint32Array;

  private constructor(file: TableFile, top: TableIndex, firsts: Uint32Array, room: PartRoom) {
    super(file, top.blocks, room);
    this.blocks = file.footer.dataBlocks;
    this.#top = top;
    this.#firsts = firsts;
  }

  /** Reads the top index. VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_IO. */
  static async open(file: TableFile, props: TableProps, room: PartRoom): Promise<PagedIndex> {
    const { footer } = file;
    const place = file.place(footer.topIndexOff);
    if (footer.dataBlocks * (blockTrailer.size + seqBytes) > footer.dataLen)
      throw corrupt('table has more blocks than bytes for them', place);
    const partitions = props.indexPartitions;
    if (partitions === 0 || partitions > footer.dataBlocks)
      throw corrupt('table has an impossible number of index partitions', place);
    const raw = await file.block(footer.topIndexOff, footer.topIndexLen);
    const top = new TableIndex(partitions, props.indexOff);
    top.addPartition(raw, { rows: partitions }, place);
    const { tombstones, maxSeq, dataBlocks: rows, topIndexOff: end } = footer;
    if (!top.adds({ end, rows, tombstones, maxSeq }))
      throw corrupt('top index of the table contradicts its footer', place);
    const firsts = new Uint32Array(partitions + 1);
    for (let i = 0; i < partitions; i++) firsts[i + 1] = firsts[i]! + top.rowsOf(i);
    return new PagedIndex(file, top, firsts, room);
  }

  /** Bytes of memory of the top index. */
  get topBytes(): number {
    return this.#top.bytes + this.#firsts.byteLength;
  }

  /** The partition with the block that `find` is to look for; undefined: `hold` wants it. */
  partFor(key: Uint8Array, keyTo: number, hold: BlockHold): IndexPart | undefined {
    return this.part(this.count === 1 ? 0 : this.#top.find(key, keyTo), hold);
  }

  /** The partition with a block; undefined: `hold` wants it. */
  partOf(block: number, hold: BlockHold): IndexPart | undefined {
    return this.part(this.numberOf(block), hold);
  }

  /** The first block from `block` on that the top index does not say to have no number above `seq`. */
  skipTo(block: number, seq: number): number {
    let at = block;
    while (at < this.blocks) {
      const number = this.numberOf(at);
      if (this.#top.maxSeqOf(number) > seq) break;
      at = this.#firsts[number + 1]!;
    }
    return at;
  }

  /** Which partition has a block. */
  numberOf(block: number): number {
    assert(block >= 0 && block < this.blocks, 'a block is one of the table');
    const firsts = this.#firsts;
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (firsts[middle]! <= block) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * Reads every partition, and checks that they go on where the one before ended and add up to the footer.
   * They are kept as far as the budget has room.
   */
  async loadAll(slice?: MergeSlice): Promise<void> {
    const { footer } = this.file;
    let rows = 0;
    let end: number = fileHeader.size;
    for (let number = 0; number < this.count; number++) {
      if (slice?.isLate() === true) await slice.rest();
      const part = this.cached(number) ?? (await this.loadBlock(number));
      if (part.offsetOf(part.first) !== end)
        throw corrupt('data blocks do not follow each other', this.#place(number));
      ({ end } = part.sums);
      rows += part.sums.rows;
    }
    if (rows !== footer.entries)
      throw corrupt('index of the table contradicts its footer', this.file.place(footer.topIndexOff));
  }

  /** For tables whose whole index is in memory: those opened without a budget. */
  offsetOf(block: number): number {
    return this.#resident(block).offsetOf(block);
  }

  lengthOf(block: number): number {
    return this.#resident(block).lengthOf(block);
  }

  rowsOf(block: number): number {
    return this.#resident(block).rowsOf(block);
  }

  separatorOf(block: number): Uint8Array {
    return this.#resident(block).separatorOf(block);
  }

  protected async read(number: number): Promise<IndexPart> {
    const { offset, length } = this.#spanOf(number);
    return this.#decoded(number, await this.file.block(offset, length));
  }

  protected readSync(number: number): IndexPart {
    const { offset, length } = this.#spanOf(number);
    return this.#decoded(number, this.file.blockSync(offset, length));
  }

  protected makeRoom(part: IndexPart): boolean {
    return this.room.demand(part.bytes);
  }

  #resident(block: number): IndexPart {
    const part = this.cached(this.numberOf(block));
    assert(part !== undefined, 'the whole index is in memory');
    return part;
  }

  #decoded(number: number, raw: Uint8Array): IndexPart {
    const place = this.#place(number);
    const { filterOff } = this.file.footer;
    const rows = this.#firsts[number + 1]! - this.#firsts[number]!;
    const from = number === 0 ? fileHeader.size : undefined;
    // What is not separators: so the memory for them need not grow.
    const separatorBytes = Math.max(0, raw.length - indexEntryBytesLeast * rows);
    const index = new TableIndex(rows, from, this.#top.separatorOf(number), separatorBytes);
    index.addPartition(raw, { rows }, place);
    const { end, maxSeq } = index.sums;
    const isLast = number + 1 === this.count;
    const fits =
      maxSeq === this.#top.maxSeqOf(number) &&
      index.offsetOf(0) >= fileHeader.size &&
      (isLast ? end === filterOff : end < filterOff) &&
      (isLast || compareBytes(index.separatorOf(rows - 1), this.#top.separatorOf(number + 1)) < 0);
    if (!fits) throw corrupt('index partition contradicts the top index', place);
    return new IndexPart(this, number, this.#firsts[number]!, index);
  }

  #spanOf(number: number): { offset: number; length: number } {
    return { offset: this.#top.offsetOf(number), length: this.#top.lengthOf(number) };
  }

  #place(number: number): Place {
    return this.file.place(this.#top.offsetOf(number));
  }
}
