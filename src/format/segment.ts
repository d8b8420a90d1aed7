/**
 * Segments: file header, chunk frames back to back, then (once sealed) the trailer, one entry per frame in
 * append order, and the footer. The trailer is a copy: every frame can be found again by scanning forward.
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { equalBytes, viewOf } from '../base/bytes.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { segmentBytesMax } from '../base/limits.ts';
import { pagedBytes } from '../base/own-pages.ts';
import { type FileSeed, storedChecksum, writeChecksum, xxh64 } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f } from '../codec/layout.ts';
import { chunkPayloadBytesMax, frameBytes, knownKindAndCodec } from './chunk-frame.ts';
import { chunkIdBytes, codecs } from './chunk-ref.ts';
import { fileHeader } from './file-header.ts';

/** Stream classes (sub-kind of the file header). Never changed, never reused. */
export const streamClasses = { data0: 0, data1: 1, data2: 2, data3: 3, list: 4, gc: 5 } as const;
export type StreamClass = (typeof streamClasses)[keyof typeof streamClasses];

/** Data classes are 0 .. dataClassCount - 1: one per large value being written at a time. */
export const dataClassCount = 4;

/** Offset of the first frame. */
export const segmentDataFrom: number = fileHeader.size;

export const trailerEntry = defineLayout('trailerentry', 'segment trailer entry', 48, {
  chunkId: f(0, 32, 'as in the frame'),
  off8: f(32, 'u32', 'offset of the frame, divided by 8; frames leave no gaps'),
  storedLen: f(36, 'u32', 'as in the frame'),
  rawLen: f(40, 'u32', 'as in the frame'),
  kind: f(44, 'u8', 'as in the frame'),
  codecCipher: f(45, 'u8', 'codec << 4 | cipher; a cipher other than 0 is refused'),
  keyEpoch: f(46, 'u16', 'low bits of the key epoch; anything but 0 is refused'),
});

export const segmentFooter = defineLayout('segfooter', 'segment footer', 64, {
  magic: f(0, 8, "'VRSEGEND'. guards: cut-off file"),
  frameCount: f(8, 'u32', 'entries of the trailer'),
  flags: f(12, 'u32', 'bit 0: trailer encrypted (refused); bit 1: sealed by recovery; others refused'),
  trailerOff: f(16, 'u64', 'offset of the trailer = 64 + dataLen'),
  trailerLen: f(24, 'u32', 'bytes of the trailer = 48 * frameCount'),
  reserved0: f(28, 'u32', 'zero'),
  dataLen: f(32, 'u64', 'bytes of all frames'),
  trailerChecksum: f(40, 'hash64', 'xxh64(0; trailer); the catalog repeats it'),
  reserved1: f(48, 8, 'zero (each frame has its own checksum)'),
  checksum: f(56, 'hash64', 'xxh64(S; bytes 0..55), S = low 64 bits of the salt XOR offset of the footer'),
});

const footerMagic = new TextEncoder().encode('VRSEGEND');
const flagSealedByRecovery = 2;

/** A sealed segment as the catalog names it. */
export interface SealedSegment {
  no: FileNo;
  class: number;
  /** Bytes of the whole file. */
  size: number;
  frames: number;
  /** Bytes of all frames. */
  dataLen: number;
  trailerChecksum: bigint;
}

/** Bytes of a sealed segment with these contents. */
export function sealedSegmentBytes(dataLen: number, frames: number): number {
  return segmentDataFrom + dataLen + frames * trailerEntry.size + segmentFooter.size;
}

/** The frames of one segment in append order, 46 bytes each. */
export interface Trailer {
  readonly count: number;
  /** `count` ids of 32 bytes, back to back. */
  readonly ids: Uint8Array;
  readonly off8: Uint32Array;
  readonly storedLen: Uint32Array;
  readonly rawLen: Uint32Array;
  readonly kind: Uint8Array;
  readonly codec: Uint8Array;
  /**
   * False when damage hides frames (only after a scan): the segment may hold more than is listed and must not
   * be dropped for lack of live entries.
   */
  readonly complete: boolean;
}

/** Collects trailer entries in their encoded form: 48 bytes per frame, grown by doubling. */
export class TrailerBuilder {
  #bytes = new Uint8Array(64 * trailerEntry.size);
  #view = viewOf(this.#bytes);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Copies the id from `id[idAt..idAt+32)`. */
  add(
    id: Uint8Array,
    idAt: number,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): void {
    const pos = this.#count * trailerEntry.size;
    this.#reserve(pos + trailerEntry.size + segmentFooter.size);
    const bytes = this.#bytes;
    for (let i = 0; i < chunkIdBytes; i++) bytes[pos + i] = id[idAt + i]!;
    this.#view.setUint32(pos + trailerEntry.at.off8, off8, true);
    this.#view.setUint32(pos + trailerEntry.at.storedLen, storedLen, true);
    this.#view.setUint32(pos + trailerEntry.at.rawLen, rawLen, true);
    bytes[pos + trailerEntry.at.kind] = kind;
    bytes[pos + trailerEntry.at.codecCipher] = codec << 4;
    this.#view.setUint16(pos + trailerEntry.at.keyEpoch, 0, true);
    this.#count++;
  }

  /**
   * Trailer and footer of a segment with `dataLen` bytes of frames, and the trailer's checksum. The bytes are
   * borrowed until the next call.
   */
  encode(dataLen: number, seed: FileSeed, byRecovery: boolean): { bytes: Uint8Array; checksum: bigint } {
    const trailerLen = this.#count * trailerEntry.size;
    const trailerOff = segmentDataFrom + dataLen;
    this.#reserve(trailerLen + segmentFooter.size);
    const checksum = xxh64(this.#bytes.subarray(0, trailerLen));
    encodeLayout(
      segmentFooter,
      {
        magic: footerMagic,
        frameCount: this.#count,
        flags: byRecovery ? flagSealedByRecovery : 0,
        trailerOff,
        trailerLen,
        dataLen,
        trailerChecksum: checksum,
        checksum: 0n,
      },
      this.#bytes,
      trailerLen,
    );
    const sumAt = trailerLen + segmentFooter.at.checksum;
    writeChecksum(this.#bytes, sumAt, trailerLen, sumAt, seed.at(trailerOff + trailerLen));
    return { bytes: this.#bytes.subarray(0, trailerLen + segmentFooter.size), checksum };
  }

  /** The entries so far as typed arrays (copied). */
  toTrailer(complete: boolean): Trailer {
    return unpackEntries(this.#bytes, this.#count, complete);
  }

  #reserve(length: number): void {
    if (length <= this.#bytes.length) return;
    const grown = new Uint8Array(pagedBytes(Math.max(this.#bytes.length * 2, length)));
    grown.set(this.#bytes.subarray(0, this.#count * trailerEntry.size));
    this.#bytes = grown;
    this.#view = viewOf(grown);
  }
}

/** What a footer says; consistent with the size of its file. */
export interface SegmentFooter {
  frames: number;
  dataLen: number;
  trailerOff: number;
  trailerLen: number;
  trailerChecksum: bigint;
  sealedByRecovery: boolean;
}

/**
 * Decodes the last 64 bytes of a segment of `fileSize` bytes. VARVE_CORRUPT on damage or when lengths and
 * file size do not agree, VARVE_FORMAT_VERSION on an encrypted trailer or unknown flags.
 */
export function decodeSegmentFooter(
  bytes: Uint8Array,
  seed: FileSeed,
  fileSize: number,
  file: string,
): SegmentFooter {
  const offset = fileSize - segmentFooter.size;
  const place = { file, offset };
  if (fileSize < segmentDataFrom + segmentFooter.size || fileSize > segmentBytesMax) {
    throw corrupt('segment has an impossible size', { file, offset: 0 }, undefined, fileSize);
  }
  const values = decodeLayout(segmentFooter, bytes, 0, place);
  if (!equalBytes(values.magic, footerMagic))
    throw corrupt('no segment footer', place, footerMagic, values.magic);
  const seeded = xxh64(bytes.subarray(0, segmentFooter.at.checksum), seed.at(offset));
  if (storedChecksum(bytes, segmentFooter.at.checksum) !== seeded) {
    throw corrupt('segment footer fails its checksum', place);
  }
  if ((values.flags & ~flagSealedByRecovery) !== 0) throw tooNew('an unknown kind of trailer', file, offset);
  const consistent =
    values.trailerOff === segmentDataFrom + values.dataLen &&
    values.trailerLen === values.frameCount * trailerEntry.size &&
    sealedSegmentBytes(values.dataLen, values.frameCount) === fileSize;
  if (!consistent) throw corrupt('lengths in the segment footer do not add up', place);
  return {
    frames: values.frameCount,
    dataLen: values.dataLen,
    trailerOff: values.trailerOff,
    trailerLen: values.trailerLen,
    trailerChecksum: values.trailerChecksum,
    sealedByRecovery: (values.flags & flagSealedByRecovery) !== 0,
  };
}

/**
 * Decodes a whole trailer (`footer.trailerLen` bytes) and checks that its frames fill the data of the segment
 * without a gap. VARVE_CORRUPT on damage, VARVE_FORMAT_VERSION on entries of a newer format.
 */
export function decodeTrailer(bytes: Uint8Array, footer: SegmentFooter, file: string): Trailer {
  const offset = footer.trailerOff;
  if (bytes.length !== footer.trailerLen) throw corrupt('segment trailer is cut off', { file, offset });
  if (xxh64(bytes) !== footer.trailerChecksum)
    throw corrupt('segment trailer fails its checksum', { file, offset });
  const trailer = unpackEntries(bytes, footer.frames, true);
  let frameAt = segmentDataFrom;
  for (let i = 0; i < trailer.count; i++) {
    const entryAt = i * trailerEntry.size;
    const place = { file, offset: offset + entryAt };
    const encrypted =
      (bytes[entryAt + trailerEntry.at.codecCipher]! & 15) !== 0 ||
      bytes[entryAt + trailerEntry.at.keyEpoch] !== 0 ||
      bytes[entryAt + trailerEntry.at.keyEpoch + 1] !== 0;
    if (encrypted || !knownKindAndCodec(trailer.kind[i]!, trailer.codec[i]!)) {
      throw tooNew('a chunk of an unknown kind', file, place.offset);
    }
    const stored = trailer.storedLen[i]!;
    const raw = trailer.rawLen[i]!;
    if (stored > chunkPayloadBytesMax || raw > chunkPayloadBytesMax)
      throw corrupt('length exceeds its bound', place);
    if (trailer.codec[i] === codecs.raw && raw !== stored)
      throw corrupt('lengths of a raw chunk differ', place);
    if (trailer.off8[i]! * 8 !== frameAt)
      throw corrupt('trailer entries leave a gap', place, frameAt, trailer.off8[i]! * 8);
    frameAt += frameBytes(stored);
  }
  if (frameAt !== footer.trailerOff)
    throw corrupt('trailer does not cover the segment', { file, offset }, footer.trailerOff, frameAt);
  return trailer;
}

function unpackEntries(bytes: Uint8Array, count: number, complete: boolean): Trailer {
  assert(count * trailerEntry.size <= bytes.length, 'trailer entries are there');
  const view = viewOf(bytes);
  const ids = new Uint8Array(count * chunkIdBytes);
  const off8 = new Uint32Array(count);
  const storedLen = new Uint32Array(count);
  const rawLen = new Uint32Array(count);
  const kind = new Uint8Array(count);
  const codec = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const pos = i * trailerEntry.size;
    for (let k = 0; k < chunkIdBytes; k++) ids[i * chunkIdBytes + k] = bytes[pos + k]!;
    off8[i] = view.getUint32(pos + trailerEntry.at.off8, true);
    storedLen[i] = view.getUint32(pos + trailerEntry.at.storedLen, true);
    rawLen[i] = view.getUint32(pos + trailerEntry.at.rawLen, true);
    kind[i] = bytes[pos + trailerEntry.at.kind]!;
    codec[i] = bytes[pos + trailerEntry.at.codecCipher]! >> 4;
  }
  return { count, ids, off8, storedLen, rawLen, kind, codec, complete };
}

function tooNew(what: string, file: string, offset: number): VarveError {
  const message = `${file} at offset ${offset}: ${what}; a newer version of varve is needed`;
  return new VarveError('VARVE_FORMAT_VERSION', message, { file, offset });
}
