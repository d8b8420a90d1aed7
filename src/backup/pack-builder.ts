/**
 * Makes packs in memory: chunk frames as in a segment, trailer and footer behind them. A pack is named by the
 * SHA-256 of its bytes; its salt is random, so the same frames packed again are another object.
 */
import { assert } from '../base/assert.ts';
import { toHex } from '../base/bytes.ts';
import { MiB } from '../base/limits.ts';
import { FileSeed } from '../codec/checksum.ts';
import { type ChunkFrame, chunkFrame, encodeChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { codecs } from '../format/chunk-ref.ts';
import { encodeFileHeader } from '../format/file-header.ts';
import { segmentDataFrom, type Trailer, TrailerBuilder } from '../format/segment.ts';
import { type IncrementalSha256, incrementalSha256 } from '../kernels/hash/sha256.ts';

/** A pack is full from this size on. */
export const packBytesTarget: number = 64 * MiB;
/** What the last frame and the trailer need behind a full pack, as a rule. */
const roomBytes: number = 2 * MiB;
/** Buffers start small, and grow by doubling up to a few MiB: most backups are small. */
const firstBytes: number = MiB;
const smallBytes: number = 8 * MiB;

/** A finished pack without a name: its SHA-256 is still to be computed. */
export interface UnnamedPack {
  readonly bytes: Uint8Array;
  readonly frames: Trailer;
}

/**
 * Memory for a pack that is full from `target` bytes on, which threads see where it is `shared`; with `first`
 * a little of it, which grows.
 */
export function newPackMemory(target: number, shared: boolean, first = false): Uint8Array {
  const length = first ? Math.min(firstBytes, target) : target + roomBytes;
  return new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
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
  readonly #hash: IncrementalSha256 | undefined;
  /** It computes its name. */
  readonly hashes: boolean;
  readonly #isShared: boolean;
  /** Bytes that the hash has seen. */
  #hashed = 0;

  /**
   * `salt`: 12 random bytes. `memory` (taken) is grown where it is too small. With `hashes` false somebody
   * else computes the name (`finishUnnamed`).
   */
  constructor(
    vaultId: Uint8Array,
    salt: Uint8Array,
    target: number = packBytesTarget,
    memory: Uint8Array = newPackMemory(target, false, true),
    hashes = true,
  ) {
    this.#target = target;
    this.#bytes = memory;
    this.hashes = hashes;
    this.#isShared = isShared(memory);
    this.#hash = hashes ? incrementalSha256() : undefined;
    this.#reserve(segmentDataFrom);
    this.#seed = new FileSeed(salt);
    // Memory may have been used before, and behind the header there is nothing.
    this.#bytes.fill(0, 0, segmentDataFrom);
    this.#bytes.set(encodeFileHeader({ kind: 'pack', subKind: 0, fileNo: 0, dbUuid: vaultId, salt }));
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
    this.#digest();
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
    this.#digest();
    return from / 8;
  }

  /** The finished pack; nothing may be added after it. Its bytes are the caller's. */
  finish(): Pack {
    assert(this.#hash !== undefined, 'others name the pack');
    const bytes = this.#end();
    this.#digest();
    const name = this.#hash.digest();
    return { hash: toHex(name), name, bytes, frames: this.#trailer.count };
  }

  /** As `finish`, of a pack that others name. */
  finishUnnamed(): UnnamedPack {
    const bytes = this.#end();
    return { bytes, frames: this.#trailer.toTrailer(true) };
  }

  #end(): Uint8Array {
    const { bytes } = this.#trailer.encode(this.#pos - segmentDataFrom, this.#seed, false);
    this.#reserve(this.#pos + bytes.length);
    this.#bytes.set(bytes, this.#pos);
    this.#pos += bytes.length;
    return this.#bytes.subarray(0, this.#pos);
  }

  /** Hashed as it grows, so that the thread is never held for a whole pack. */
  #digest(): void {
    this.#hash?.update(this.#bytes.subarray(this.#hashed, this.#pos));
    this.#hashed = this.#pos;
  }

  #reserve(needed: number): void {
    if (needed <= this.#bytes.length) return;
    const doubled = this.#bytes.length * 2;
    const enough = this.#target + roomBytes;
    // What grows beyond a few MiB becomes a full pack as a rule: each step on the way would be thrown away.
    const wanted = needed > enough ? doubled : doubled > smallBytes ? enough : doubled;
    const length = Math.max(needed, wanted);
    const grown = new Uint8Array(this.#isShared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
    grown.set(this.#bytes.subarray(0, this.#pos));
    this.#bytes = grown;
  }
}

function isShared(memory: Uint8Array): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && memory.buffer instanceof SharedArrayBuffer;
}
