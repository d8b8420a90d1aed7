/**
 * Chunks of a value in one piece of memory: frames that lie behind each other in a segment come with one
 * read, headers and all, and stay where they were read to.
 *
 * Invariants (test/value/bulk-reader.test.ts)
 * - what is read fits into the bytes it was planned for, unless a chunk alone is longer ("reads stay within
 *   their bounds").
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { emptyBytes } from '../base/bytes.ts';
import { KiB } from '../base/limits.ts';
import { copyBehind } from '../base/shared-copy.ts';
import { ChunkFrame, checkChunkFrame, chunkFrame, frameBytes, isPlainHeader } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import { LeafColumns } from './leaf-columns.ts';

/** What may lie between two chunks for one read to go on over it. */
const gapBytesMax: number = 32 * KiB;
/** Reads of one batch, which are made side by side. */
const readsMax = 64;
/** Reads that are looked at for a chunk that was met before. */
const readsKnown = 4;

/** A positional read into the memory of the batch. */
interface Read {
  readonly segment: FileNo;
  readonly from: number;
  to: number;
  /** Where it begins in the memory. */
  readonly at: number;
  got: number;
}

const scratch = new ChunkFrame();

/** Used again and again: `plan`, `lend`, `read`, then what is asked of its bytes. */
export class RunBatch {
  readonly leaves: LeafColumns = new LeafColumns();
  /** What it was lent. */
  memory: Uint8Array = emptyBytes;
  readonly #reads: Read[] = [];
  /** Of each leaf: where its bytes begin in the memory, and its read. */
  #payloadAt = new Uint32Array(0);
  #readOf = new Uint8Array(0);
  /** Chunks that had to be read in another way. */
  #instead: Map<number, Uint8Array> | undefined;
  #start = 0;
  #end = 0;
  #needed = 0;
  /** The next byte `copyTo` takes: leaf, and position in it. */
  #leaf = 0;
  #at = 0;

  /** Chunks. */
  get count(): number {
    return this.leaves.count;
  }

  /** Bytes of memory the plan needs. */
  get needed(): number {
    return this.#needed;
  }

  /**
   * Takes the first of the leaves, as many as can be read into `limit` bytes, and one at least, for a value
   * that is read from `start` to `end`. Returns how many.
   */
  plan(leaves: LeafColumns, limit: number, start: number, end: number): number {
    this.#begin(leaves.count, start, end);
    let used = 0;
    let i = 0;
    for (; i < leaves.count; i++) {
      const segment = leaves.segment[i]!;
      const length = leaves.length[i]!;
      const from = leaves.off8[i]! * 8;
      const to = from + frameBytes(length);
      let read = segment === 0 ? -1 : this.#covering(segment, from, to);
      if (read < 0) {
        // Where nobody knows its place it comes in memory of its own, which counts as well.
        const next = segment === 0 ? used + length : this.#room(segment, from, to, used);
        if (i > 0 && (next > limit || this.#reads.length === readsMax)) break;
        if (segment > 0) read = this.#extend(segment, from, to, used);
        used = next;
      }
      this.#readOf[i] = Math.max(0, read);
      this.#payloadAt[i] =
        read < 0 ? 0 : this.#reads[read]!.at + from - this.#reads[read]!.from + chunkFrame.size;
    }
    this.leaves.copy(leaves, i);
    this.#needed = used;
    return i;
  }

  /** Gives it memory of the bytes it needs at least, until the next `plan`. */
  lend(memory: Uint8Array): void {
    assert(memory.length >= this.#needed, 'a batch has the memory it needs');
    this.memory = memory;
  }

  /** Becomes one piece of any bytes (taken): a value that has no chunks. */
  whole(bytes: Uint8Array): void {
    this.#begin(1, 0, bytes.length);
    const i = this.leaves.add();
    this.leaves.from[i] = 0;
    this.leaves.length[i] = bytes.length;
    this.put(i, bytes);
  }

  /** Reads all it needs. Never rejects because of what is on the disk. */
  async read(read: (segment: FileNo, offset: number, into: Uint8Array) => Promise<number>): Promise<void> {
    const one = async (each: Read): Promise<void> => {
      const into = this.memory.subarray(each.at, each.at + each.to - each.from);
      each.got = await read(each.segment, each.from, into);
    };
    if (this.#reads.length === 1) await one(this.#reads[0]!);
    else await Promise.all(this.#reads.map(one));
  }

  /** Pairs of from and to in the memory, of each chunk. */
  ranges(): Uint32Array {
    const ranges = new Uint32Array(this.count * 2);
    for (let i = 0; i < this.count; i++) {
      if (this.leaves.segment[i] === 0) continue;
      ranges[2 * i] = this.#payloadAt[i]!;
      ranges[2 * i + 1] = this.#payloadAt[i]! + this.leaves.length[i]!;
    }
    return ranges;
  }

  /** The frame of chunk `i` was read, and says that it is its. Its bytes are not looked at. */
  isThere(i: number): boolean {
    const at = this.#payloadAt[i]! - chunkFrame.size;
    return (
      this.#isWhole(i) &&
      isPlainHeader(this.memory, at, this.leaves.ids, i * chunkIdBytes, this.leaves.length[i]!)
    );
  }

  /** The same, and its bytes are those it was written with. */
  isSound(i: number): boolean {
    if (!this.isThere(i)) return false;
    const at = this.#payloadAt[i]! - chunkFrame.size;
    const verdict = checkChunkFrame(this.memory, at, at + frameBytes(this.leaves.length[i]!), scratch);
    return verdict === 'ok' && scratch.codec === codecs.raw;
  }

  /** The SHA-256 of the bytes that were read for chunk `i`, into `out`. */
  hash(i: number, out: Uint8Array): void {
    const from = this.#payloadAt[i]!;
    sha256Into(this.memory, from, from + this.leaves.length[i]!, out, 0);
  }

  /** Chunk `i` has these bytes, which were read in another way. */
  put(i: number, bytes: Uint8Array): void {
    this.#instead ??= new Map();
    this.#instead.set(i, bytes);
  }

  /** Only the first `count` chunks are whole. */
  cut(count: number): void {
    this.leaves.count = count;
  }

  /** The bytes of chunk `i` that belong to what is read: a view of the memory. */
  view(i: number): Uint8Array {
    const { from, length } = this.leaves;
    const skipped = Math.max(0, this.#start - from[i]!);
    const to = Math.min(length[i]!, this.#end - from[i]!);
    const bytes = this.#instead?.get(i);
    if (bytes !== undefined) return bytes.subarray(skipped, to);
    const at = this.#payloadAt[i]!;
    return this.memory.subarray(at + skipped, at + to);
  }

  /** All of them in order. */
  views(): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (let i = 0; i < this.count; i++) views.push(this.view(i));
    return views;
  }

  /** Bytes that `copyTo` has not taken. */
  get left(): number {
    if (this.#leaf >= this.count) return 0;
    const { from, length } = this.leaves;
    const last = this.count - 1;
    const next = Math.max(this.#start, from[this.#leaf]!) + this.#at;
    return Math.min(this.#end, from[last]! + length[last]!) - next;
  }

  /** Bytes of the chunk that `copyTo` takes next. */
  get leftOfChunk(): number {
    return this.#leaf >= this.count ? 0 : this.view(this.#leaf).length - this.#at;
  }

  /** Fills `out` with the next bytes, of which there are as many. */
  copyTo(out: Uint8Array): void {
    for (let filled = 0; filled < out.length; ) {
      const view = this.view(this.#leaf);
      const to = Math.min(view.length, this.#at + out.length - filled);
      copyBehind(out, filled, view, this.#at, to);
      filled += to - this.#at;
      this.#at = to;
      if (to < view.length) continue;
      this.#leaf++;
      this.#at = 0;
    }
  }

  #begin(count: number, start: number, end: number): void {
    this.#start = start;
    this.#end = end;
    this.#leaf = 0;
    this.#at = 0;
    this.#instead = undefined;
    this.#reads.length = 0;
    if (count > this.#payloadAt.length) {
      this.#payloadAt = new Uint32Array(count);
      this.#readOf = new Uint8Array(count);
    }
  }

  /** One of the last reads that has the frame; -1 without one. */
  #covering(segment: FileNo, from: number, to: number): number {
    const last = this.#reads.length - 1;
    for (let i = last; i >= 0 && i > last - readsKnown; i--) {
      const read = this.#reads[i]!;
      if (read.segment === segment && read.from <= from && to <= read.to) return i;
    }
    return -1;
  }

  /** The last read, where it can go on to the frame. */
  #goesOn(segment: FileNo, from: number): Read | undefined {
    const last = this.#reads.at(-1);
    if (last === undefined || last.segment !== segment) return undefined;
    return from >= last.to && from - last.to <= gapBytesMax ? last : undefined;
  }

  /** Bytes of memory in use once the frame is read too. */
  #room(segment: FileNo, from: number, to: number, used: number): number {
    const last = this.#goesOn(segment, from);
    return last === undefined ? used + to - from : used + to - last.to;
  }

  #extend(segment: FileNo, from: number, to: number, used: number): number {
    const last = this.#goesOn(segment, from);
    if (last === undefined) this.#reads.push({ segment, from, to, at: used, got: 0 });
    else last.to = to;
    return this.#reads.length - 1;
  }

  #isWhole(i: number): boolean {
    if (this.leaves.segment[i] === 0) return false;
    const { at, got } = this.#reads[this.#readOf[i]!]!;
    const to = this.#payloadAt[i]! - chunkFrame.size + frameBytes(this.leaves.length[i]!);
    return to <= at + got;
  }
}
