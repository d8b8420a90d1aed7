/**
 * A piece of a segment in memory that moves over it: frames are checked one at a time in bounded memory. In
 * memory of its own the next piece is read while this one is checked.
 */
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
export const scanBytes: number = 2 * MiB;
/** Room before them for the start of a frame that the piece before has. */
const leadBytes = MiB;

/** Gives memory for the next bytes, any number of them; undefined: the window takes its own. */
export type WindowMemory = () => Promise<Uint8Array | undefined>;

/** Memory for windows on one file after another: 3 MiB for this piece, and for the next one. */
export class WindowBuffers {
  readonly #spare: Uint8Array[] = [];

  /** At least `length` bytes: zeros, or what was read before. */
  take(length: number): Uint8Array {
    const bytes = this.#spare.pop();
    return bytes !== undefined && bytes.length >= length ? bytes : new Uint8Array(length);
  }

  give(bytes: Uint8Array): void {
    this.#spare.push(bytes);
  }
}

/** The piece behind this one, on its way. */
interface Ahead {
  readonly from: number;
  /** The piece lies behind room for the end of the one before. */
  readonly bytes: Uint8Array;
  /** Bytes read. */
  readonly got: Promise<number>;
}

export class FrameWindow {
  readonly #file: FsFile;
  readonly #limit: number;
  readonly #memory: WindowMemory | undefined;
  readonly #buffers: WindowBuffers;
  /** Bytes read at a time, and room before them. */
  readonly #piece: number;
  readonly #lead: number;
  #bytes: Uint8Array = emptyBytes;
  /** `bytes` is from the buffers. */
  #isOwn = false;
  /** For frames that are longer than those. */
  #long: Uint8Array = emptyBytes;
  /** File offset of `bytes[0]`. */
  #base = 0;
  /** What was read lies from `from` on, up to `filled`. */
  #from = 0;
  #filled = 0;
  #ahead: Ahead | undefined;
  /** Frames have been longer than that room: what is read ahead would be read again. */
  #areLong = false;

  /**
   * A window on `file` (borrowed) below file offset `limit`, which is at most its size. `close` gives back
   * what it has of `buffers`.
   */
  constructor(file: FsFile, limit: number, memory?: WindowMemory, buffers?: WindowBuffers) {
    this.#file = file;
    this.#limit = limit;
    this.#memory = memory;
    this.#buffers = buffers ?? new WindowBuffers();
    this.#piece = Math.min(scanBytes, limit);
    this.#lead = limit > scanBytes ? leadBytes : 0;
  }

  /** The window's buffer: replaced or refilled by every other call. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Where file offset `offset` lies in `bytes`. */
  indexOf(offset: number): number {
    return offset - this.#base;
  }

  /** Checks the frame at file offset `offset`, at once if it is here; positions in `out` are of `bytes`. */
  check(offset: number, out: ChunkFrame): ChunkFrameVerdict | Promise<ChunkFrameVerdict> {
    if (this.#has(offset, chunkFrame.size)) {
      const verdict = this.#checkHere(offset, out);
      if (verdict !== 'cut off') return verdict;
    }
    return this.#checkRead(offset, out);
  }

  /** Nothing is read any more, and the buffers are given back. */
  async close(): Promise<void> {
    await this.#giveUpAhead();
    this.#giveBack();
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

  #has(offset: number, length: number): boolean {
    const to = Math.min(offset + length, this.#limit);
    return offset >= this.#base + this.#from && to <= this.#base + this.#filled;
  }

  async #checkRead(offset: number, out: ChunkFrame): Promise<ChunkFrameVerdict> {
    await this.#fill(offset, chunkFrame.size);
    const verdict = this.#checkHere(offset, out);
    if (verdict !== 'cut off') return verdict;
    const length = out.next - this.indexOf(offset);
    if (offset + length > this.#limit) return 'cut off';
    await this.#fill(offset, length);
    return this.#checkHere(offset, out);
  }

  /** Makes [offset, offset + length) part of the window as far as it lies below the limit. */
  async #fill(offset: number, length: number): Promise<void> {
    if (this.#has(offset, length)) return;
    const lent = await this.#memory?.();
    if (lent !== undefined && lent.length >= length) {
      this.#giveBack();
      this.#bytes = lent;
      await this.#read(offset, 0);
    } else if (length > this.#piece) {
      this.#giveBack();
      if (this.#long.length < length) this.#long = new Uint8Array(length);
      this.#bytes = this.#long;
      await this.#read(offset, 0);
    } else await this.#moveOn(offset);
  }

  /** To the piece read ahead, with the end of this one before it, where that is what is wanted. */
  async #moveOn(offset: number): Promise<void> {
    const ahead = this.#ahead;
    const tail = ahead === undefined ? -1 : ahead.from - offset;
    const isHere = offset >= this.#base + this.#from && offset + tail <= this.#base + this.#filled;
    if (ahead === undefined || !isHere || tail < 0 || tail > this.#lead) {
      this.#areLong ||= tail > this.#lead;
      await this.#giveUpAhead();
      if (!this.#isOwn) this.#bytes = this.#buffers.take(this.#lead + this.#piece);
      this.#isOwn = true;
      await this.#read(offset, this.#lead);
    } else {
      const got = await ahead.got;
      this.#ahead = undefined;
      const at = offset - this.#base;
      ahead.bytes.set(this.#bytes.subarray(at, at + tail), this.#lead - tail);
      this.#giveBack();
      this.#bytes = ahead.bytes;
      this.#isOwn = true;
      this.#base = ahead.from - this.#lead;
      this.#from = this.#lead - tail;
      this.#filled = this.#lead + got;
    }
    const from = this.#base + this.#filled;
    // Memory that is lent follows other rules: what it holds is being hashed.
    if (from < this.#limit && this.#memory === undefined && !this.#areLong) this.#readAhead(from);
  }

  /** Reads from `offset` on to bytes[at..]. */
  async #read(offset: number, at: number): Promise<void> {
    const bytes = this.#bytes;
    const room = at === 0 ? bytes.length : this.#piece;
    const wanted = Math.max(0, Math.min(room, bytes.length - at, this.#limit - offset));
    this.#base = offset - at;
    this.#from = at;
    this.#filled = at;
    if (wanted > 0) this.#filled += await this.#file.read(bytes.subarray(at, at + wanted), offset);
  }

  #readAhead(from: number): void {
    const bytes = this.#buffers.take(this.#lead + this.#piece);
    const wanted = Math.min(this.#piece, this.#limit - from);
    const got = this.#file.read(bytes.subarray(this.#lead, this.#lead + wanted), from);
    // Whoever comes to that piece is told.
    got.catch(() => undefined);
    this.#ahead = { from, bytes, got };
  }

  async #giveUpAhead(): Promise<void> {
    const ahead = this.#ahead;
    if (ahead === undefined) return;
    this.#ahead = undefined;
    await Promise.allSettled([ahead.got]);
    this.#buffers.give(ahead.bytes);
  }

  #giveBack(): void {
    if (this.#isOwn) this.#buffers.give(this.#bytes);
    this.#isOwn = false;
    this.#bytes = emptyBytes;
    this.#from = 0;
    this.#filled = 0;
  }
}

const firstByte = chunkFrameMagic & 255;
