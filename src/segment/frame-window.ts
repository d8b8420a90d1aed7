/** A piece of a segment in memory that moves over it: frames are checked one at a time in bounded memory. */
import { emptyBytes, i32le } from '../base/bytes.ts';
import { MiB } from '../base/limits.ts';
import {
  type ChunkFrame,
  type ChunkFrameVerdict,
  checkChunkFrame,
  chunkFrame,
  chunkFrameMagic,
} from '../format/chunk-frame.ts';
import type { FsFile } from '../fs/port.ts';

/** Bytes read at a time; only a longer frame makes the window grow (to 16 MiB and 64 bytes at most). */
export const scanBytes: number = 4 * MiB;

/** Gives memory for the next bytes, any number of them; undefined: the window takes its own. */
export type WindowMemory = () => Promise<Uint8Array | undefined>;

export class FrameWindow {
  readonly #file: FsFile;
  readonly #limit: number;
  readonly #memory: WindowMemory | undefined;
  #bytes: Uint8Array = emptyBytes;
  #own: Uint8Array = emptyBytes;
  /** File offset of `bytes[0]`. */
  #base = 0;
  #filled = 0;

  /** A window on `file` (borrowed) below file offset `limit`, which is at most its size. */
  constructor(file: FsFile, limit: number, memory?: WindowMemory) {
    this.#file = file;
    this.#limit = limit;
    this.#memory = memory;
  }

  /** The window's buffer: replaced or refilled by every other call. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Where file offset `offset` lies in `bytes`. */
  indexOf(offset: number): number {
    return offset - this.#base;
  }

  /** Checks the frame at file offset `offset`; positions in `out` are of `bytes`. */
  async check(offset: number, out: ChunkFrame): Promise<ChunkFrameVerdict> {
    await this.#fill(offset, chunkFrame.size);
    const verdict = this.#checkHere(offset, out);
    if (verdict !== 'cut off') return verdict;
    const length = out.next - this.indexOf(offset);
    if (offset + length > this.#limit) return 'cut off';
    await this.#fill(offset, length);
    return this.#checkHere(offset, out);
  }

  /**
   * First offset >= `offset`, in steps of 8 from it, with the magic of a frame; undefined when there is none.
   */
  async findMagic(offset: number): Promise<number | undefined> {
    for (let from = offset; from + chunkFrame.size <= this.#limit; ) {
      await this.#fill(from, chunkFrame.size);
      const bytes = this.#bytes;
      let pos = this.indexOf(from);
      if (pos + 4 > this.#filled) return undefined;
      for (; pos + 4 <= this.#filled; pos += 8) {
        if (bytes[pos] !== firstByte) continue;
        const word = i32le(bytes, pos);
        if (word === chunkFrameMagic) return this.#base + pos;
      }
      from = this.#base + pos;
    }
    return undefined;
  }

  #checkHere(offset: number, out: ChunkFrame): ChunkFrameVerdict {
    return checkChunkFrame(this.#bytes, this.indexOf(offset), this.#filled, out);
  }

  #ownOf(length: number): Uint8Array {
    if (length > this.#own.length)
      this.#own = new Uint8Array(Math.max(length, Math.min(scanBytes, this.#limit)));
    return this.#own;
  }

  /** Makes [offset, offset + length) part of the window as far as it lies below the limit. */
  async #fill(offset: number, length: number): Promise<void> {
    const to = Math.min(offset + length, this.#limit);
    if (offset >= this.#base && to <= this.#base + this.#filled) return;
    const lent = await this.#memory?.();
    this.#bytes = lent !== undefined && lent.length >= length ? lent : this.#ownOf(length);
    const wanted = Math.max(0, Math.min(this.#bytes.length, this.#limit - offset));
    this.#base = offset;
    this.#filled = 0;
    if (wanted > 0) this.#filled = await this.#file.read(this.#bytes.subarray(0, wanted), offset);
  }
}

const firstByte = chunkFrameMagic & 255;
