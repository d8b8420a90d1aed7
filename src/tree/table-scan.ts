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
import type { BlockSource } from './block-hold.ts';
import type { IndexPart, PagedIndex } from './paged-index.ts';
import type { TableFile } from './table-file.ts';

/** Bytes read at once, unless one block is longer. */
const pieceBytes = 256 * KiB;

/** One reader's source of blocks; holds one piece, and one partition of the index. */
export class TableScan implements BlockSource {
  readonly no: FileNo;
  readonly #file: TableFile;
  readonly #index: PagedIndex;
  #part: IndexPart | undefined;
  /** Blocks `#from` and following, checked. */
  #blocks: Uint8Array[] = [];
  #from = 0;

  constructor(file: TableFile, index: PagedIndex) {
    this.no = file.no;
    this.#file = file;
    this.#index = index;
  }

  cached(block: number): Uint8Array | undefined {
    return this.#blocks[block - this.#from];
  }

  async loadBlock(block: number): Promise<Uint8Array> {
    const part = this.#partWith(block) ?? (await this.#index.once(this.#index.numberOf(block)));
    const piece = new Uint8Array(pieceEnd(part, block) - part.offsetOf(block));
    await this.#file.read(piece, part.offsetOf(block));
    return this.#admit(block, part, piece);
  }

  loadBlockSync(block: number): Uint8Array {
    const part = this.#partWith(block) ?? this.#index.onceSync(this.#index.numberOf(block));
    const piece = new Uint8Array(pieceEnd(part, block) - part.offsetOf(block));
    this.#file.readSync(piece, part.offsetOf(block));
    return this.#admit(block, part, piece);
  }

  retain(): void {
    this.#file.retain();
  }

  release(): void {
    this.#file.release();
  }

  #partWith(block: number): IndexPart | undefined {
    const part = this.#part;
    return part !== undefined && part.first <= block && block < part.end ? part : undefined;
  }

  #admit(first: number, part: IndexPart, piece: Uint8Array): Uint8Array {
    this.#part = part;
    const { seed, path } = this.#file;
    const start = part.offsetOf(first);
    const blocks: Uint8Array[] = [];
    for (let block = first; block < part.end; block++) {
      const offset = part.offsetOf(block);
      const end = blockEnd(part, block);
      if (end - start > piece.length) break;
      const raw = piece.subarray(offset - start, end - start);
      const bytes = openBlock(raw, part.lengthOf(block), seed, offset, path);
      checkDataBlock(bytes, part.rowsOf(block), this.#file.place(offset));
      blocks.push(bytes);
    }
    this.#blocks = blocks;
    this.#from = first;
    return blocks[0]!;
  }
}

/** End of the piece that begins with a block: in its partition, as far as one read goes. */
function pieceEnd(part: IndexPart, block: number): number {
  const start = part.offsetOf(block);
  let end = blockEnd(part, block);
  for (let next = block + 1; next < part.end; next++) {
    const nextEnd = blockEnd(part, next);
    if (nextEnd - start > pieceBytes) break;
    end = nextEnd;
  }
  return end;
}

function blockEnd(part: IndexPart, block: number): number {
  return align8(part.offsetOf(block) + part.lengthOf(block));
}
