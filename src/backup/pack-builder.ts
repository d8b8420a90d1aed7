/**
 * Makes packs in memory: chunk frames as in a segment, trailer and footer behind them. A pack is named by the
 * SHA-256 of its skeleton; its salt is random, so the same frames packed again are another object.
 */
import { alignedBytes, isAligned } from '../base/aligned-bytes.ts';
import { toHex } from '../base/bytes.ts';
import { MiB } from '../base/limits.ts';
import { FileSeed } from '../codec/checksum.ts';
import { type ChunkFrame, chunkFrame, encodeChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { codecs } from '../format/chunk-ref.ts';
import { encodePackHeader, packSkeleton } from '../format/pack-header.ts';
import { segmentDataFrom, TrailerBuilder } from '../format/segment.ts';
import { sha256 } from '../kernels/hash/sha256.ts';

/** A pack, which is made in memory, is full from this size on: 20,000 objects for each TB are enough. */
export const packBytesTarget: number = 52 * MiB;
/** What the last frame and the trailer need behind a full pack, as a rule. */
const roomBytes: number = 2 * MiB;
/** Buffers start small, and grow by doubling up to a few MiB: most backups are small. */
const firstBytes: number = MiB;
const smallBytes: number = 8 * MiB;

/** Whether threads must see memory, may, or must not: not every target knows what to do with such memory. */
export type PackMemoryKind = 'shared' | 'any' | 'own';

/**
 * Memory for a pack that is full from `target` bytes on; with `first` a little of it, which grows. A file of
 * this machine can be written directly from it.
 */
export function newPackMemory(target: number, kind: PackMemoryKind, first = false): Uint8Array {
  const length = first ? Math.min(firstBytes, target) : target + roomBytes;
  return kind === 'own' ? new Uint8Array(length) : alignedBytes(length, kind === 'shared');
}

/** A finished pack. */
export interface Pack {
  /** SHA-256 in hex. */
  readonly hash: string;
  readonly name: Uint8Array;
  readonly bytes: Uint8Array;
  readonly frames: number;
}

export class PackBuilder {
  #bytes: Uint8Array;
  #pos = segmentDataFrom;
  readonly #target: number;
  readonly #seed: FileSeed;
  readonly #trailer = new TrailerBuilder();
  readonly #isShared: boolean;
  readonly #isAligned: boolean;

  /** `salt`: 12 random bytes. `memory` (taken) is grown where it is too small. */
  constructor(
    vaultId: Uint8Array,
    salt: Uint8Array,
    target: number = packBytesTarget,
    memory: Uint8Array = newPackMemory(target, 'own', true),
  ) {
    this.#target = target;
    this.#bytes = memory;
    this.#isShared = isShared(memory);
    this.#isAligned = isAligned(memory);
    this.#reserve(segmentDataFrom);
    this.#seed = new FileSeed(salt);
    // Memory may have been used before, and behind the header there is nothing.
    this.#bytes.fill(0, 0, segmentDataFrom);
    this.#bytes.set(encodePackHeader(vaultId, salt));
  }

  get frames(): number {
    return this.#trailer.count;
  }

  get full(): boolean {
    return this.#pos >= this.#target;
  }

  /** Adds a chunk of raw bytes; copied. Returns where its frame lies, divided by 8. */
  addChunk(id: Uint8Array, bytes: Uint8Array, kind: number): number {
    const from = this.#pos;
    const length = bytes.length;
    this.#reserve(from + frameBytes(length));
    this.#bytes.set(bytes, from + chunkFrame.size);
    this.#pos = encodeChunkFrame(this.#bytes, from, id, 0, length, length, kind, codecs.raw);
    this.#trailer.add(id, 0, from / 8, length, length, kind, codecs.raw);
    return from / 8;
  }

  /** Adds the checked frame at buf[pos..frame.next) as it is; copied. */
  addFrame(buf: Uint8Array, pos: number, frame: ChunkFrame): number {
    const from = this.#pos;
    const length = frame.next - pos;
    this.#reserve(from + length);
    this.#bytes.set(buf.subarray(pos, frame.next), from);
    this.#pos = from + length;
    const { idAt, storedLen, rawLen, kind, codec } = frame;
    this.#trailer.add(buf, idAt, from / 8, storedLen, rawLen, kind, codec);
    return from / 8;
  }

  /** What was added so far: it stays where it is, also when the builder needs more memory. */
  get filled(): Uint8Array {
    return this.#bytes.subarray(0, this.#pos);
  }

  /** The finished pack; nothing may be added after it. Its bytes are the caller's. */
  finish(): Pack {
    const trailerOff = this.#pos;
    const bytes = this.#end();
    const name = sha256(packSkeleton(bytes, this.#trailer.toTrailer(true), trailerOff));
    return { hash: toHex(name), name, bytes, frames: this.#trailer.count };
  }

  #end(): Uint8Array {
    const { bytes } = this.#trailer.encode(this.#pos - segmentDataFrom, this.#seed, false);
    this.#reserve(this.#pos + bytes.length);
    this.#bytes.set(bytes, this.#pos);
    this.#pos += bytes.length;
    return this.#bytes.subarray(0, this.#pos);
  }

  #reserve(needed: number): void {
    if (needed <= this.#bytes.length) return;
    const doubled = this.#bytes.length * 2;
    const enough = this.#target + roomBytes;
    // What grows beyond a few MiB becomes a full pack as a rule: each step on the way would be thrown away.
    const wanted = needed > enough ? doubled : doubled > smallBytes ? enough : doubled;
    const length = Math.max(needed, wanted);
    const grown =
      this.#isShared || this.#isAligned ? alignedBytes(length, this.#isShared) : new Uint8Array(length);
    grown.set(this.#bytes.subarray(0, this.#pos));
    this.#bytes = grown;
  }
}

function isShared(memory: Uint8Array): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && memory.buffer instanceof SharedArrayBuffer;
}
