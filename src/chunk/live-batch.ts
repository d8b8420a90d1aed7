/**
 * One buffer of live frames of a segment that is being emptied: they are read into it from wherever they lie,
 * checked where they landed, and moved together, so that what is left is written at once.
 *
 * Each frame is looked for where the index says it is; what lies between two of them is not looked at.
 */
import type { FileNo } from '../base/brands.ts';
import { compareRange } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { ChunkFrame, checkChunkFrame, chunkFrameError, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import type { LiveFrames } from './liveness.ts';

/** Garbage between two live frames that is read along: less than another read costs. */
const gapBytes = 64 * KiB;
/** One id in so many is compared with its bytes. */
const idsChecked = 64;

/** Bytes of the segment that are read at once. */
interface Stretch {
  readonly from: number;
  /** Where they go in the buffer. */
  readonly at: number;
  length: number;
}

const scratch = new ChunkFrame();
const digest = new Uint8Array(chunkIdBytes);

export class LiveBatch {
  /** The frames, back to back from the front on, once `gather` has run. */
  bytes: Uint8Array;
  /** Which of the live frames these are, by `frames`; in the order of their offsets. */
  readonly kept: number[] = [];
  /** Bytes of those. */
  length = 0;
  /** Bytes that are read. */
  readBytes = 0;
  /** The first live frame behind these, by its position in the order. */
  readonly next: number;
  readonly #segment: FileNo;
  readonly #frames: LiveFrames;
  /** Indexes of frames, and where in the buffer each will lie. */
  readonly #frame: number[] = [];
  readonly #at: number[] = [];
  readonly #stretches: Stretch[] = [];

  /**
   * Takes live frames of `segment` from `order[i]` on, as many as have room in `buffer`, or one that is
   * longer, which gets a buffer of its own; those below `order[end]`.
   */
  constructor(
    segment: FileNo,
    frames: LiveFrames,
    order: Uint32Array,
    i: number,
    end: number,
    buffer: Uint8Array,
  ) {
    this.#segment = segment;
    this.#frames = frames;
    let next = i;
    for (; next < end; next++) if (!this.#take(order[next]!, buffer.length)) break;
    this.next = next;
    this.bytes = this.readBytes <= buffer.length ? buffer : new Uint8Array(this.readBytes);
  }

  /** Live frames these are, damaged or not. */
  get count(): number {
    return this.#frame.length;
  }

  /** Reads them; what a segment does not have is zero. Errors as SegmentSet.readBytes. */
  async read(segments: SegmentSet): Promise<void> {
    for (const { from, at, length } of this.#stretches) {
      const into = this.bytes.subarray(at, at + length);
      const got = await segments.readBytes(this.#segment, from, into);
      // The buffer has been used before, and what is left of that may be a frame.
      if (got < length) into.fill(0, got);
    }
  }

  /** Checks each frame and moves the whole ones together. Returns what is wrong with others. */
  gather(): VarveError[] {
    const damage: VarveError[] = [];
    const { bytes } = this;
    for (const [i, frame] of this.#frame.entries()) {
      const at = this.#at[i]!;
      try {
        this.#check(frame, at);
      } catch (error) {
        if (!isDamage(error)) throw error;
        damage.push(error);
        continue;
      }
      const end = at + frameBytes(this.#frames.storedLen[frame]!);
      if (at > this.length) bytes.copyWithin(this.length, at, end);
      this.length += end - at;
      this.kept.push(frame);
    }
    return damage;
  }

  /** False when there is no room for the frame. */
  #take(frame: number, room: number): boolean {
    const from = this.#frames.off8[frame]! * 8;
    const length = frameBytes(this.#frames.storedLen[frame]!);
    const last = this.#stretches.at(-1);
    const gap = last === undefined ? Number.POSITIVE_INFINITY : from - (last.from + last.length);
    const isAlong = gap >= 0 && gap <= gapBytes;
    const at = this.readBytes + (isAlong ? gap : 0);
    if (last !== undefined && at + length > room) return false;
    if (last !== undefined && isAlong) last.length += gap + length;
    else this.#stretches.push({ from, at, length });
    this.#frame.push(frame);
    this.#at.push(at);
    this.readBytes = at + length;
    return true;
  }

  /** VARVE_CORRUPT or VARVE_FORMAT_VERSION unless the frame that the index names lies at `at`, whole. */
  #check(frame: number, at: number): void {
    const { bytes } = this;
    const { ids, storedLen, off8 } = this.#frames;
    const length = storedLen[frame]!;
    const place = (): { file: string; offset: number } => ({
      file: filePath('seg', this.#segment),
      offset: off8[frame]! * 8,
    });
    const verdict = checkChunkFrame(bytes, at, at + frameBytes(length), scratch);
    if (verdict !== 'ok') throw chunkFrameError(verdict, place().file, place().offset);
    const { idAt, payloadFrom, payloadTo } = scratch;
    const from = frame * chunkIdBytes;
    const id = (): Uint8Array => ids.slice(from, from + chunkIdBytes);
    const isSame = compareRange(ids, from, from + chunkIdBytes, bytes, idAt, idAt + chunkIdBytes) === 0;
    if (!isSame || scratch.storedLen !== length) {
      const found = bytes.slice(idAt, idAt + chunkIdBytes);
      throw corrupt('another chunk lies here than the index says', place(), id(), found);
    }
    if (scratch.codec !== codecs.raw || bytes[idAt + chunkIdBytes - 1]! % idsChecked !== 0) return;
    sha256Into(bytes, payloadFrom, payloadTo, digest, 0);
    if (compareRange(digest, 0, chunkIdBytes, bytes, idAt, idAt + chunkIdBytes) === 0) return;
    throw corrupt('the bytes of a chunk are not those of its id', place(), id(), digest.slice());
  }
}
