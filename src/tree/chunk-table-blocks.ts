/**
 * The blocks of one chunk table front to back, read past the cache in pieces, and its entries one by one.
 *
 * Invariants (test/tree/chunk-tree.test.ts)
 * - Each block is checked when it is read, also that it goes on where the one before it ended ("a flipped bit
 *   anywhere in a chunk table is detected").
 * - A whole scan meets as many entries and references as the footer says ("every entry of a table is found
 *   and a scan proves the sums").
 * - What is read ahead changes nothing before its time ("a piece read ahead that fails is met where it
 *   begins", test/tree/chunk-stretches.test.ts).
 */
import { viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import {
  ChunkColumns,
  checkChunkBlock,
  chunkBlockBytes,
  chunkBlockEntries,
  chunkEntry,
  chunkEntryAt,
  compareChunkIds,
} from '../format/chunk-table.ts';
import type { TableFooter } from '../format/table.ts';
import type { ChunkCursor } from './chunk-cursor.ts';
import { END, MISS, OK, type Step } from './cursor.ts';
import type { TableFile } from './table-file.ts';

/** Blocks read at once, at most: 128 KiB. */
const pieceBlocksMax = 32;
const entryBytes = chunkEntry.size;

/** Where block `block` of a chunk table lies in its file. */
export function chunkBlockOffset(block: number): number {
  return (block + 1) * chunkBlockBytes;
}

/** Entries of a block: all are full but the last. */
export function entriesOfBlock(footer: TableFooter, block: number): number {
  const full = block < footer.dataBlocks - 1;
  return full ? chunkBlockEntries : footer.entries - chunkBlockEntries * (footer.dataBlocks - 1);
}

/**
 * Stretches of entries in the order of their ids, which ascend also from one stretch to the next. Goes
 * forward only. After MISS call `load`, then `next` again.
 */
export interface ChunkStretches {
  next(): Step;
  load(): Promise<void>;
  /**
   * Current stretch: entries of 56 B as in a chunk table at bytes[from..to), borrowed until the next move.
   */
  readonly bytes: Uint8Array;
  /** Of `bytes`. */
  readonly view: DataView;
  readonly from: number;
  readonly to: number;
}

/** A piece of a table on its way into memory. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Number of the block behind it. */
  readonly end: number;
  readonly read: Promise<void>;
}

/**
 * Each block of a table is a stretch. Holds one piece, and where it reads ahead the next one; valid while the
 * table is held.
 */
export class ChunkTableBlocks implements ChunkStretches {
  bytes: Uint8Array;
  view: DataView;
  from = 0;
  to = 0;
  readonly #file: TableFile;
  readonly #blocks: number;
  readonly #pieceBlocks: number;
  readonly #lastId = new Uint8Array(chunkIdBytes);
  /** Blocks [loadedFrom, loadedTo) are in the buffer. */
  #loadedFrom = 0;
  #loadedTo = 0;
  #next = 0;
  #entries = 0;
  #sumRefs = 0;
  readonly #readsAhead: boolean;
  /** The piece behind the one in the buffer. */
  #ahead: Piece | undefined;
  #spare: Pick<Piece, 'bytes' | 'view'> | undefined;

  /**
   * `pieceBytes`: read at once, unless that is less than a block or more than 128 KiB. `readsAhead`: while a
   * piece is gone through the next one is read.
   */
  constructor(
    file: TableFile,
    blocks: number,
    pieceBytes: number = pieceBlocksMax * chunkBlockBytes,
    readsAhead = false,
  ) {
    this.#readsAhead = readsAhead;
    this.#file = file;
    this.#blocks = blocks;
    const inPiece = Math.max(1, Math.floor(pieceBytes / chunkBlockBytes));
    this.#pieceBlocks = Math.min(pieceBlocksMax, inPiece, blocks);
    this.bytes = new Uint8Array(this.#pieceBlocks * chunkBlockBytes);
    this.view = viewOf(this.bytes);
  }

  next(): Step {
    if (this.#next === this.#blocks) {
      this.#checkSums();
      return END;
    }
    if (this.#next === this.#loadedTo) return MISS;
    const at = (this.#next - this.#loadedFrom) * chunkBlockBytes;
    const count = entriesOfBlock(this.#file.footer, this.#next);
    // Here and not where the piece is read: a piece takes longer to check than others should wait.
    this.#check(this.#next, at, count);
    this.#next++;
    this.from = at + chunkEntryAt(0);
    this.to = at + chunkEntryAt(count);
    this.#count(count);
    return OK;
  }

  /** Reads the next piece. The current stretch is over. */
  async load(): Promise<void> {
    if (this.#next === this.#blocks || this.#next < this.#loadedTo) return;
    const piece = this.#ahead ?? this.#begin(this.#next, this);
    this.#ahead = undefined;
    await piece.read;
    if (piece.bytes !== this.bytes) this.#spare = { bytes: this.bytes, view: this.view };
    this.bytes = piece.bytes;
    this.view = piece.view;
    this.#loadedFrom = this.#next;
    this.#loadedTo = piece.end;
    if (!this.#readsAhead || piece.end === this.#blocks) return;
    this.#ahead = this.#begin(piece.end, this.#spareBuffer());
    // Whoever comes to it is told.
    this.#ahead.read.catch(() => undefined);
  }

  /** Reads blocks from `first` on into `buffer`. */
  #begin(first: number, { bytes, view }: Pick<Piece, 'bytes' | 'view'>): Piece {
    const end = Math.min(first + this.#pieceBlocks, this.#blocks);
    const part = bytes.subarray(0, (end - first) * chunkBlockBytes);
    return { bytes, view, end, read: this.#file.read(part, chunkBlockOffset(first)) };
  }

  #spareBuffer(): Pick<Piece, 'bytes' | 'view'> {
    if (this.#spare !== undefined) return this.#spare;
    const bytes = new Uint8Array(this.bytes.length);
    return { bytes, view: viewOf(bytes) };
  }

  #check(number: number, at: number, count: number): void {
    const { seed, path } = this.#file;
    const offset = chunkBlockOffset(number);
    checkChunkBlock(this.bytes.subarray(at, at + chunkBlockBytes), count, seed, offset, path);
    if (number > 0 && compareChunkIds(this.#lastId, 0, this.bytes, at + chunkEntryAt(0)) >= 0) {
      throw corrupt('chunk blocks are not in order', this.#file.place(offset));
    }
    const last = at + chunkEntryAt(count - 1);
    for (let i = 0; i < chunkIdBytes; i++) this.#lastId[i] = this.bytes[last + i]!;
  }

  #count(count: number): void {
    const { view, to } = this;
    let refs = 0;
    for (let at = this.from + chunkEntry.at.refs; at < to; at += entryBytes) refs += view.getInt32(at, true);
    this.#entries += count;
    this.#sumRefs += refs;
  }

  #checkSums(): void {
    const { entries, sumRefs, filterOff } = this.#file.footer;
    if (this.#entries !== entries || this.#sumRefs !== sumRefs) {
      const message = 'sum of references differs from the footer';
      throw corrupt(message, this.#file.place(filterOff), sumRefs, this.#sumRefs);
    }
  }
}

/** Reads a table entry by entry. */
export class ChunkTableScan implements ChunkCursor {
  readonly columns: ChunkColumns = new ChunkColumns();
  idAt = 0;
  readonly #blocks: ChunkTableBlocks;

  constructor(blocks: ChunkTableBlocks) {
    this.#blocks = blocks;
  }

  get idBytes(): Uint8Array {
    return this.#blocks.bytes;
  }

  next(): Step {
    const blocks = this.#blocks;
    if (this.idAt + entryBytes < blocks.to) this.idAt += entryBytes;
    else {
      const step = blocks.next();
      if (step !== OK) return step;
      this.idAt = blocks.from;
    }
    this.columns.read(blocks.bytes, this.idAt);
    return OK;
  }

  load(): Promise<void> {
    return this.#blocks.load();
  }
}
