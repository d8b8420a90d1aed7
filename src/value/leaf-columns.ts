/** Chunks of a value with their places, in columns: nothing is made per chunk. 57 bytes each. */
import { chunkIdBytes } from '../format/chunk-ref.ts';

/** Room before it grows. */
const leavesFirst = 64;

/** Rows 0 .. count-1 mean something. */
export class LeafColumns {
  count = 0;
  /** 32 bytes apiece. */
  ids: Uint8Array = new Uint8Array(leavesFirst * chunkIdBytes);
  /** Where the chunk begins in the value. */
  from: Float64Array = new Float64Array(leavesFirst);
  /** Bytes of the chunk. */
  length: Uint32Array = new Uint32Array(leavesFirst);
  /** Where its frame lies; segment 0: nobody knows. */
  segment: Uint32Array = new Uint32Array(leavesFirst);
  off8: Uint32Array = new Uint32Array(leavesFirst);
  /** 1: the record of the value names the place. */
  hinted: Uint8Array = new Uint8Array(leavesFirst);

  /** Adds a row with any content and returns its number. */
  add(): number {
    if (this.count === this.length.length) this.#grow(this.count * 2);
    return this.count++;
  }

  /** The id of row `i`: a view, until rows are added or dropped. */
  id(i: number): Uint8Array {
    return this.ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes);
  }

  /** Becomes a copy of the first `count` rows of `other`. */
  copy(other: LeafColumns, count: number): void {
    if (count > this.length.length) this.#grow(other.length.length);
    this.ids.set(other.ids.subarray(0, count * chunkIdBytes));
    this.from.set(other.from.subarray(0, count));
    this.length.set(other.length.subarray(0, count));
    this.segment.set(other.segment.subarray(0, count));
    this.off8.set(other.off8.subarray(0, count));
    this.hinted.set(other.hinted.subarray(0, count));
    this.count = count;
  }

  /** Takes the first `count` rows away. */
  drop(count: number): void {
    const { count: all } = this;
    this.ids.copyWithin(0, count * chunkIdBytes, all * chunkIdBytes);
    this.from.copyWithin(0, count, all);
    this.length.copyWithin(0, count, all);
    this.segment.copyWithin(0, count, all);
    this.off8.copyWithin(0, count, all);
    this.hinted.copyWithin(0, count, all);
    this.count = all - count;
  }

  #grow(room: number): void {
    const { ids, from, length, segment, off8, hinted } = this;
    this.ids = new Uint8Array(room * chunkIdBytes);
    this.ids.set(ids);
    this.from = new Float64Array(room);
    this.from.set(from);
    this.length = new Uint32Array(room);
    this.length.set(length);
    this.segment = new Uint32Array(room);
    this.segment.set(segment);
    this.off8 = new Uint32Array(room);
    this.off8.set(off8);
    this.hinted = new Uint8Array(room);
    this.hinted.set(hinted);
  }
}
