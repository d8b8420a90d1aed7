/**
 * Blocks of one table front to back, read past the cache in pieces: who reads every block once, a merge or a
 * long scan, must not drive out what lookups need.
 *
 * Invariants
 * - Each block is checked when it is read ("a merge stops at a damaged block").
 * - A block stays as it is until the piece after the next is read, or for good where buffers are not reused
 *   ("a scan that reuses its buffers gives the rows of one that does not").
 * - Damage is met at the block it lies in, and not before ("a scan that reads ahead gives every row before a
 *   damaged block", test/tree/scan-ahead.test.ts).
 */
import type { FileNo } from '../base/brands.ts';
import { align8, emptyBytes } from '../base/bytes.ts';
import { isDamage } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { checkDataBlock } from '../format/data-block.ts';
import { openBlock } from '../format/table.ts';
import type { BlockSource } from './block-hold.ts';
import type { IndexPart, PagedIndex } from './paged-index.ts';
import type { TableFile } from './table-file.ts';

/** Bytes that a merge reads at once, unless one block is longer. */
const mergePieceBytes = 256 * KiB;

/** One reader's source of blocks; holds one piece, and one partition of the index. */
export class TableScan implements BlockSource {
  readonly no: FileNo;
  readonly #file: TableFile;
  readonly #index: PagedIndex;
  readonly #pieceBytes: number;
  /** Of pieces, the older one first; undefined where each piece has one of its own. */
  readonly #buffers: Uint8Array[] | undefined;
  #part: IndexPart | undefined;
  /** Blocks `#from` and following, checked. */
  #blocks: Uint8Array[] = [];
  #from = 0;

  /**
   * `pieceBytes`: read at once, unless one block is longer. `reuses`: for a cursor that only goes forward,
   * and whose owner keeps nothing of a row once it has moved on.
   */
  constructor(file: TableFile, index: PagedIndex, pieceBytes: number = mergePieceBytes, reuses = false) {
    this.#buffers = reuses ? [emptyBytes, emptyBytes] : undefined;
    this.no = file.no;
    this.#pieceBytes = pieceBytes;
    this.#file = file;
    this.#index = index;
  }

  cached(block: number): Uint8Array | undefined {
    return this.#blocks[block - this.#from];
  }

  async loadBlock(block: number): Promise<Uint8Array> {
    const part = this.#partWith(block) ?? (await this.#index.once(this.#index.numberOf(block)));
    const offset = part.offsetOf(block);
    const piece = this.#piece(pieceEnd(part, block, this.#pieceBytes) - offset);
    const got = await this.#file.read(piece, offset).then(() => piece, orDamage);
    if (got !== undefined) return this.#admit(block, part, got);
    // Something in the piece cannot be read: the block itself may be.
    const alone = new Uint8Array(blockEnd(part, block) - offset);
    await this.#file.read(alone, offset);
    return this.#admit(block, part, alone);
  }

  loadBlockSync(block: number): Uint8Array {
    const part = this.#partWith(block) ?? this.#index.onceSync(this.#index.numberOf(block));
    const offset = part.offsetOf(block);
    // On the calling thread, and for one move only: nothing is read ahead.
    const alone = new Uint8Array(blockEnd(part, block) - offset);
    this.#file.readSync(alone, offset);
    return this.#admit(block, part, alone);
  }

  retain(): void {
    this.#file.retain();
  }

  release(): void {
    this.#file.release();
  }

  /** Memory for a piece of so many bytes. */
  #piece(length: number): Uint8Array {
    const buffers = this.#buffers;
    if (buffers === undefined) return new Uint8Array(length);
    const [older, newer] = buffers as [Uint8Array, Uint8Array];
    const buffer = older.length >= length ? older : new Uint8Array(Math.max(length, this.#pieceBytes));
    buffers[0] = newer;
    buffers[1] = buffer;
    return buffer.subarray(0, length);
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
      try {
        const bytes = openBlock(raw, part.lengthOf(block), seed, offset, path);
        checkDataBlock(bytes, part.rowsOf(block), this.#file.place(offset));
        blocks.push(bytes);
      } catch (error) {
        // Whoever comes to this block reads it again, and is told.
        if (block === first) throw error;
        break;
      }
    }
    this.#blocks = blocks;
    this.#from = first;
    return blocks[0]!;
  }
}

/** Undefined where the disk cannot read the bytes; other errors are thrown. */
function orDamage(error: unknown): undefined {
  if (!isDamage(error)) throw error;
  return undefined;
}

/** End of the piece that begins with a block: in its partition, as far as one read goes. */
function pieceEnd(part: IndexPart, block: number, pieceBytes: number): number {
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
