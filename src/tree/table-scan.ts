/**
 * Blocks of one table front to back, read past the cache in pieces: a merge reads every block once, and must
 * not drive out what lookups need.
 *
 * Invariant: each block is checked when it is read ("a merge stops at a damaged block").
 */
import type { FileNo } from '../base/brands.ts';
import { align8 } from '../base/bytes.ts';
import { KiB } from '../base/limits.ts';
import { checkDataBlock } from '../format/data-block.ts';
import { openBlock } from '../format/table.ts';
import type { TableIndex } from '../format/table-index.ts';
import type { BlockSource } from './block-hold.ts';
import type { TableFile } from './table-file.ts';

/** Bytes read at once, unless one block is longer. */
const pieceBytes = 256 * KiB;

/** One reader's source of blocks; holds one piece. */
export class TableScan implements BlockSource {
  readonly no: FileNo;
  readonly #file: TableFile;
  readonly #index: TableIndex;
  /** Blocks `#from` and following, checked. */
  #blocks: Uint8Array[] = [];
  #from = 0;

  constructor(file: TableFile, index: TableIndex) {
    this.no = file.no;
    this.#file = file;
    this.#index = index;
  }

  cached(block: number): Uint8Array | undefined {
    return this.#blocks[block - this.#from];
  }

  async loadBlock(block: number): Promise<Uint8Array> {
    const piece = new Uint8Array(this.#pieceEnd(block) - this.#index.offsetOf(block));
    await this.#file.read(piece, this.#index.offsetOf(block));
    return this.#admit(block, piece);
  }

  loadBlockSync(block: number): Uint8Array {
    const piece = new Uint8Array(this.#pieceEnd(block) - this.#index.offsetOf(block));
    this.#file.readSync(piece, this.#index.offsetOf(block));
    return this.#admit(block, piece);
  }

  retain(): void {
    this.#file.retain();
  }

  release(): void {
    this.#file.release();
  }

  #pieceEnd(block: number): number {
    const start = this.#index.offsetOf(block);
    let end = this.#blockEnd(block);
    for (let next = block + 1; next < this.#index.blocks; next++) {
      const nextEnd = this.#blockEnd(next);
      if (nextEnd - start > pieceBytes) break;
      end = nextEnd;
    }
    return end;
  }

  #blockEnd(block: number): number {
    return align8(this.#index.offsetOf(block) + this.#index.lengthOf(block));
  }

  #admit(first: number, piece: Uint8Array): Uint8Array {
    const { seed, path } = this.#file;
    const start = this.#index.offsetOf(first);
    const blocks: Uint8Array[] = [];
    for (let block = first; block < this.#index.blocks; block++) {
      const offset = this.#index.offsetOf(block);
      const end = this.#blockEnd(block);
      if (end - start > piece.length) break;
      const raw = piece.subarray(offset - start, end - start);
      const bytes = openBlock(raw, this.#index.lengthOf(block), seed, offset, path);
      checkDataBlock(bytes, this.#index.rowsOf(block), this.#file.place(offset));
      blocks.push(bytes);
    }
    this.#blocks = blocks;
    this.#from = first;
    return blocks[0]!;
  }
}
