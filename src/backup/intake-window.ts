/**
 * A stretch of a pack in memory that threads share, on its way into a store: which of its chunks are wanted,
 * by whom, and which the store has.
 */

import { u32le } from '../base/bytes.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import { type ChunkFrame, checkChunkFrame, chunkFrame, chunkFrameError } from '../format/chunk-frame.ts';
import { chunkKinds, codecs } from '../format/chunk-ref.ts';
import { sha256Bytes } from '../kernels/hash/sha256.ts';
import type { HashBatch } from '../pool/hash-turns.ts';
import type { FrameWindow } from './frame-window.ts';

/** Whatever needs chunks. */
export interface ChunkOwner {
  /** Why one of them is not to be had. */
  failed: VarveError | undefined;
}

/** Of a frame: nobody has asked for it; it is asked for; the store has it; it was read, not for the store. */
const marks = { none: 0, wanted: 1, stored: 2, passed: 3 } as const;

export class IntakeWindow {
  readonly shared: SharedArrayBuffer;
  /** Number of the pack. */
  readonly pack: number;
  readonly frames: FrameWindow;
  /** It begins where another one ends. */
  readonly follows: boolean;
  /** When the first of the chunks that are wanted was asked for; infinite where none is. */
  since: number = Number.POSITIVE_INFINITY;
  /** Frames that are wanted. */
  wanted = 0;
  /** Once they are being held against their ids: until they are stored no more can be asked for. */
  hashed: HashBatch | undefined;
  /** Runs of it that are being written from where they lie. */
  writing = 0;
  readonly #marks: Uint8Array;
  /** Frames nobody has asked for. */
  #left: number;
  /** Who has asked, and for which frame. */
  readonly #owners: ChunkOwner[] = [];
  readonly #owned: number[] = [];

  /** `frames` lie in `shared`; both are taken. */
  constructor(shared: SharedArrayBuffer, pack: number, frames: FrameWindow, follows: boolean) {
    this.shared = shared;
    this.pack = pack;
    this.frames = frames;
    this.follows = follows;
    this.#marks = new Uint8Array(frames.count);
    this.#left = frames.count;
  }

  /** Every frame has been asked for. */
  get isComplete(): boolean {
    return this.#left === 0;
  }

  isWanted(i: number): boolean {
    return this.#marks[i] === marks.wanted;
  }

  isStored(i: number): boolean {
    return this.#marks[i] === marks.stored;
  }

  /** `owner` wants frame `i`, at the moment `now`. */
  want(i: number, owner: ChunkOwner, now: number): void {
    if (this.#marks[i] !== marks.wanted) {
      if (this.#marks[i] === marks.none) this.#left--;
      this.#marks[i] = marks.wanted;
      if (this.wanted++ === 0) this.since = now;
    }
    const last = this.#owners.length - 1;
    if (this.#owners[last] === owner && this.#owned[last] === i) return;
    this.#owners.push(owner);
    this.#owned.push(i);
  }

  /** Frame `i` was read for something else than the store. */
  pass(i: number): void {
    if (this.#marks[i] !== marks.none) return;
    this.#marks[i] = marks.passed;
    this.#left--;
  }

  /** Those who want frame `i`. */
  ownersOf(i: number): ChunkOwner[] {
    return this.#owners.filter((_owner, k) => this.#owned[k] === i);
  }

  /** Pairs of from and to in the memory, of the bytes of each wanted frame. */
  ranges(): Uint32Array {
    const { bytes, positions, count } = this.frames;
    const ranges = new Uint32Array(this.wanted * 2);
    for (let i = 0, k = 0; i < count; i++) {
      if (this.#marks[i] !== marks.wanted) continue;
      const from = positions[i]! + chunkFrame.size;
      ranges[k++] = bytes.byteOffset + from;
      ranges[k++] = bytes.byteOffset + from + u32le(bytes, positions[i]! + chunkFrame.at.storedLen);
    }
    return ranges;
  }

  /** What is wrong with frame `i`, whose bytes have the digest at digests[at..]; fills `out`. */
  faultOf(i: number, digests: Uint8Array, at: number, out: ChunkFrame): VarveError | undefined {
    const { bytes, positions, name: file, from } = this.frames;
    const pos = positions[i]!;
    const offset = from + pos;
    const verdict = checkChunkFrame(bytes, pos, positions[i + 1]!, out);
    if (verdict !== 'ok') return chunkFrameError(verdict, file, offset);
    if (out.codec !== codecs.raw) return chunkFrameError('unsupported', file, offset);
    for (let k = 0; k < sha256Bytes; k++) {
      if (digests[at + k] !== bytes[out.idAt + k])
        return corrupt('chunk does not have the bytes its id names', { file, offset });
    }
    return undefined;
  }

  /** Frame `i`, which is wanted, has been checked and is data. */
  isData(i: number): boolean {
    return this.frames.bytes[this.frames.positions[i]! + chunkFrame.at.kind] === chunkKinds.data;
  }

  /** What was wanted is stored, but for the frames in `lost`, which may be asked for again. */
  settle(lost: readonly number[]): void {
    const all = this.#marks;
    for (let i = 0; i < all.length; i++) if (all[i] === marks.wanted) all[i] = marks.stored;
    for (const i of lost) all[i] = marks.none;
    this.#left += lost.length;
    this.wanted = 0;
    this.since = Number.POSITIVE_INFINITY;
    this.hashed = undefined;
    this.#owners.length = 0;
    this.#owned.length = 0;
  }
}
