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
  /** Where the first frame that is not whole in it begins in the pack. */
  readonly next: number;
  /** Positions of frames + 1, by their ids; 0: free. */
  readonly #slots: Uint32Array;

  /**
   * `bytes`, which lie in `memory`, are taken. What looks like a frame is one for now: whoever reads it
   * checks it.
   */
  constructor(name: string, from: number, bytes: Uint8Array, memory: Uint8Array) {
    this.name = name;
    this.from = from;
    this.bytes = bytes;
    this.memory = memory;
    const positions: number[] = [];
    let pos = 0;
    while (pos + chunkFrame.size <= bytes.length && u32le(bytes, pos + at.magic) === chunkFrameMagic) {
      const next = pos + frameBytes(u32le(bytes, pos + at.storedLen));
      if (next > bytes.length) break;
      positions.push(pos);
      pos = next;
    }
    this.next = from + pos;
    let size = 4;
    while (size < positions.length * 2) size *= 2;
    this.#slots = new Uint32Array(size);
    for (const pos of positions) {
      let slot = u32le(bytes, pos + at.chunkId) & (size - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (size - 1);
      this.#slots[slot] = pos + 1;
    }
  }

  /** Where in the pack the frame of the chunk seems to begin; -1: not here. */
  offsetOf(id: Uint8Array, idAt: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = u32le(id, idAt) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const pos = slots[slot]! - 1;
      if (isSame(this.bytes, pos + at.chunkId, id, idAt)) return this.from + pos;
    }
    return -1;
  }
}

function isSame(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < chunkIdBytes; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
