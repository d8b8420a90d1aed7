/**
 * The head of a pack, which says how it was named.
 *
 * A pack's *skeleton* is all of it but the bytes of its chunks and the zeros behind them: file header,
 * headers of frames, trailer and footer, in this order. Headers of frames have the SHA-256 of the chunks, so
 * a hash of the skeleton binds every byte, and neither who puts a pack nor who checks it hashes a chunk
 * twice.
 */
import { chunkFrame } from './chunk-frame.ts';
import { type CheckedHeader, decodeFileHeader, encodeFileHeader, fileHeader } from './file-header.ts';
import { newerFormat } from './format-ladder.ts';
import { segmentFooter, type Trailer, trailerEntry } from './segment.ts';

/** Sub-kinds of packs: of what their name is the SHA-256. Never changed, never reused. */
export const packNamings = { bytes: 0, skeleton: 1 } as const;

/** The header of a pack that is named by its skeleton. `salt`: 12 random bytes. */
export function encodePackHeader(vaultId: Uint8Array, salt: Uint8Array): Uint8Array {
  return encodeFileHeader({ kind: 'pack', subKind: packNamings.skeleton, fileNo: 0, dbUuid: vaultId, salt });
}

/**
 * Decodes and checks the header at the front of `bytes`. VARVE_CORRUPT on damage or a pack of another vault,
 * VARVE_FORMAT_VERSION on one that is named in an unknown way.
 */
export function decodePackHeader(bytes: Uint8Array, vaultId: Uint8Array, file: string): CheckedHeader {
  const wanted = { kind: 'pack', fileNo: 0, dbUuid: vaultId } as const;
  const header = decodeFileHeader(bytes.subarray(0, fileHeader.size), wanted, file);
  if (header.subKind > packNamings.skeleton)
    throw newerFormat('the pack is named in an unknown way', { file, offset: fileHeader.at.subKind });
  return header;
}

/**
 * The skeleton of the pack `bytes`, copied, by the places of its frames, which the caller has checked, as it
 * has where the trailer lies.
 */
export function packSkeleton(
  bytes: Uint8Array,
  { count, off8 }: Pick<Trailer, 'count' | 'off8'>,
  trailerOff: number,
): Uint8Array {
  const skeleton = new SkeletonBuilder(bytes, count);
  for (let i = 0; i < count; i++) skeleton.add(bytes, off8[i]! * 8);
  return skeleton.finish(bytes.subarray(trailerOff));
}

/** Collects a skeleton where a pack is seen piece by piece. */
export class SkeletonBuilder {
  readonly #bytes: Uint8Array;
  #pos = fileHeader.size;

  /** `header`: bytes that begin with the header of the pack, copied; `frames`: how many are to come. */
  constructor(header: Uint8Array, frames: number) {
    const ofFrames = frames * (chunkFrame.size + trailerEntry.size);
    this.#bytes = new Uint8Array(fileHeader.size + ofFrames + segmentFooter.size);
    this.#bytes.set(header.subarray(0, fileHeader.size));
  }

  /** The frame that begins at buf[pos] is the next one; its header is copied. */
  add(buf: Uint8Array, pos: number): void {
    this.#bytes.set(buf.subarray(pos, pos + chunkFrame.size), this.#pos);
    this.#pos += chunkFrame.size;
  }

  /** The whole skeleton; `tail`: trailer and footer. Ends the object. */
  finish(tail: Uint8Array): Uint8Array {
    this.#bytes.set(tail, this.#pos);
    return this.#bytes.subarray(0, this.#pos + tail.length);
  }
}
