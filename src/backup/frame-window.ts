/** A stretch of a pack in memory, and which chunks begin in it. */
import { u32le } from '../base/bytes.ts';
import { chunkFrame, chunkFrameMagic, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';

const { at } = chunkFrame;

export class FrameWindow {
  /** Of the pack. */
  readonly name: string;
  /** Where it begins in the pack: at a frame. */
  readonly from: number;
  readonly bytes: Uint8Array;
  /** What the bytes lie in, for the window after this one. */
  readonly memory: Uint8Array;
  /** What look like whole frames. */
  readonly count: number;
  /** Where each of them begins in the bytes, and in the end where the last one ends. */
  readonly positions: Uint32Array;
  /** Numbers of frames + 1, by their ids; 0: free. */
  readonly #slots: Uint32Array;
  /** Looked at first: chunks are asked for in the order they were stored in. */
  #expected = 0;

  /**
   * `bytes`, which lie in `memory`, are taken. What looks like a frame is one for now: whoever reads it
   * checks it.
   */
  constructor(name: string, from: number, bytes: Uint8Array, memory: Uint8Array) {
    this.name = name;
    this.from = from;
    this.bytes = bytes;
    this.memory = memory;
    const positions: number[] = [0];
    let pos = 0;
    while (pos + chunkFrame.size <= bytes.length && u32le(bytes, pos + at.magic) === chunkFrameMagic) {
      pos += frameBytes(u32le(bytes, pos + at.storedLen));
      if (pos > bytes.length) break;
      positions.push(pos);
    }
    this.positions = Uint32Array.from(positions);
    this.count = positions.length - 1;
    let size = 4;
    while (size < this.count * 2) size *= 2;
    this.#slots = new Uint32Array(size);
    for (let i = 0; i < this.count; i++) {
      let slot = u32le(bytes, positions[i]! + at.chunkId) & (size - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (size - 1);
      this.#slots[slot] = i + 1;
    }
  }

  /** Where the first frame that is not whole in it begins in the pack. */
  get next(): number {
    return this.from + this.positions[this.count]!;
  }

  /** Number of the frame that seems to have the chunk; -1: it is not here. */
  find(id: Uint8Array, idAt: number): number {
    const expected = this.#expected;
    if (expected < this.count && this.#hasId(expected, id, idAt)) {
      this.#expected++;
      return expected;
    }
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = u32le(id, idAt) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const i = slots[slot]! - 1;
      if (!this.#hasId(i, id, idAt)) continue;
      this.#expected = i + 1;
      return i;
    }
    return -1;
  }

  /** Where in the pack the frame of the chunk seems to begin; -1: not here. */
  offsetOf(id: Uint8Array, idAt: number): number {
    const i = this.find(id, idAt);
    return i < 0 ? -1 : this.from + this.positions[i]!;
  }

  #hasId(i: number, id: Uint8Array, idAt: number): boolean {
    const { bytes } = this;
    const from = this.positions[i]! + at.chunkId;
    for (let k = 0; k < chunkIdBytes; k++) if (bytes[from + k] !== id[idAt + k]) return false;
    return true;
  }
}
