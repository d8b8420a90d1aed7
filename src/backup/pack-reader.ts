/** Reads parts of packs: single frames and trailers, checked. */
import { corrupt } from '../base/errors.ts';
import { segmentBytesMax } from '../base/limits.ts';
import { type ChunkFrame, checkChunkFrame, chunkFrameError, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { fileHeader } from '../format/file-header.ts';
import { decodePackHeader } from '../format/pack-header.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  segmentDataFrom,
  segmentFooter,
  type Trailer,
} from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import type { BlobStore } from './blob-store.ts';

const digest = new Uint8Array(chunkIdBytes);

/**
 * VARVE_CORRUPT at `file` unless the frame's bytes are those its id names; compressed ones cannot be told.
 */
export function checkFrameId(buf: Uint8Array, frame: ChunkFrame, file: string, offset: number): void {
  if (frame.codec !== codecs.raw) throw chunkFrameError('unsupported', file, offset);
  if (!hasFrameId(buf, frame)) throw corrupt('chunk does not have the bytes its id names', { file, offset });
}

/** True where the bytes of the frame, which is not compressed, are those its id names. */
export function hasFrameId(buf: Uint8Array, { payloadFrom, payloadTo, idAt }: ChunkFrame): boolean {
  sha256Into(buf, payloadFrom, payloadTo, digest, 0);
  for (let i = 0; i < chunkIdBytes; i++) if (digest[i] !== buf[idAt + i]) return false;
  return true;
}

/**
 * The whole frame at `off8` of a pack, checked against its id: bytes of its own, described by `out`
 * (positions in them). VARVE_CORRUPT, VARVE_NOT_FOUND when the pack is gone.
 */
export async function readPackFrame(
  store: BlobStore,
  hash: string,
  off8: number,
  storedLen: number,
  id: Uint8Array,
  out: ChunkFrame,
): Promise<Uint8Array> {
  const name = packName(hash);
  const buf = await store.getRange(name, off8 * 8, frameBytes(storedLen));
  checkFramePlace(buf, 0, name, off8 * 8, out, id, 0);
  checkFrameId(buf, out, name, off8 * 8);
  return buf;
}

/**
 * Checks the frame at buf[pos], header and padding, and that it is of the chunk with the id at id[idAt..];
 * whether its bytes are those the id names, `checkFrameId` tells. VARVE_CORRUPT or VARVE_FORMAT_VERSION.
 */
export function checkFramePlace(
  buf: Uint8Array,
  pos: number,
  file: string,
  offset: number,
  out: ChunkFrame,
  id: Uint8Array,
  idAt: number,
): void {
  const verdict = checkChunkFrame(buf, pos, buf.length, out);
  if (verdict !== 'ok') throw chunkFrameError(verdict, file, offset);
  if (out.codec !== codecs.raw) throw chunkFrameError('unsupported', file, offset);
  for (let i = 0; i < chunkIdBytes; i++) {
    if (buf[out.idAt + i] !== id[idAt + i]) throw corrupt('another chunk is in its place', { file, offset });
  }
}

/** Checks the frame at buf[pos], header, padding and id; VARVE_CORRUPT or VARVE_FORMAT_VERSION. */
export function checkWholeFrame(
  buf: Uint8Array,
  pos: number,
  file: string,
  offset: number,
  out: ChunkFrame,
): void {
  const verdict = checkChunkFrame(buf, pos, buf.length, out);
  if (verdict !== 'ok') throw chunkFrameError(verdict, file, offset);
  checkFrameId(buf, out, file, offset);
}

/** Front and end of a pack. */
export interface PackEnds {
  readonly header: Uint8Array;
  /** How the pack is named: one of `packNamings`. */
  readonly subKind: number;
  readonly trailer: Trailer;
  /** Trailer and footer as they lie there. */
  readonly tail: Uint8Array;
}

/**
 * Header, footer and trailer of a pack, checked; bytes of its own. `size`: of the object. VARVE_CORRUPT,
 * VARVE_FORMAT_VERSION; VARVE_NOT_FOUND, VARVE_IO and the like from the target.
 */
export async function readPackEnds(
  store: BlobStore,
  hash: string,
  size: number,
  vaultId: Uint8Array,
): Promise<PackEnds> {
  const name = packName(hash);
  if (size < segmentDataFrom + segmentFooter.size || size > segmentBytesMax)
    throw corrupt('pack has an impossible size', { file: name, offset: 0 }, undefined, size);
  const header = await store.getRange(name, 0, fileHeader.size);
  const { seed, subKind } = decodePackHeader(header, vaultId, name);
  const end = await store.getRange(name, size - segmentFooter.size, segmentFooter.size);
  const footer = decodeSegmentFooter(end, seed, size, name);
  const tail = await store.getRange(name, footer.trailerOff, size - footer.trailerOff);
  const trailer = decodeTrailer(tail.subarray(0, footer.trailerLen), footer, name);
  return { header, subKind, trailer, tail };
}
