/** Reads packs: single frames, trailers, and whole packs with every check there is. */
import { emptyBytes, toHex } from '../base/bytes.ts';
import { corrupt, isVarveError, type VarveError } from '../base/errors.ts';
import { segmentBytesMax } from '../base/limits.ts';
import {
  ChunkFrame,
  checkChunkFrame,
  chunkFrame,
  chunkFrameError,
  frameBytes,
} from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { decodeFileHeader, fileHeader } from '../format/file-header.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  segmentDataFrom,
  segmentFooter,
  type Trailer,
} from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { sha256, sha256Into } from '../kernels/hash/sha256.ts';
import type { BlobStore } from './blob-store.ts';

const digest = new Uint8Array(chunkIdBytes);

/**
 * VARVE_CORRUPT at `file` unless the frame's bytes are those its id names; compressed ones cannot be told.
 */
export function checkFrameId(buf: Uint8Array, frame: ChunkFrame, file: string, offset: number): void {
  if (frame.codec !== codecs.raw) throw chunkFrameError('unsupported', file, offset);
  sha256Into(buf, frame.payloadFrom, frame.payloadTo, digest, 0);
  for (let i = 0; i < chunkIdBytes; i++) {
    if (digest[i] !== buf[frame.idAt + i])
      throw corrupt('chunk does not have the bytes its id names', { file, offset });
  }
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
  checkWholeFrame(buf, 0, name, off8 * 8, out);
  for (let i = 0; i < chunkIdBytes; i++) {
    if (buf[out.idAt + i] !== id[i])
      throw corrupt('another chunk is in its place', { file: name, offset: off8 * 8 });
  }
  return buf;
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

/** Header, footer and trailer of a pack, checked. `size`: of the object. */
export async function readPackTrailer(
  store: BlobStore,
  hash: string,
  size: number,
  vaultId: Uint8Array,
): Promise<Trailer> {
  const name = packName(hash);
  if (size < segmentDataFrom + segmentFooter.size || size > segmentBytesMax)
    throw corrupt('pack has an impossible size', { file: name, offset: 0 }, undefined, size);
  const head = await store.getRange(name, 0, fileHeader.size);
  const { seed } = decodeFileHeader(head, { kind: 'pack', fileNo: 0, dbUuid: vaultId }, name);
  const tail = await store.getRange(name, size - segmentFooter.size, segmentFooter.size);
  const footer = decodeSegmentFooter(tail, seed, size, name);
  return decodeTrailer(await store.getRange(name, footer.trailerOff, footer.trailerLen), footer, name);
}

/** What is wrong with a pack, by frame where it is known which. */
export interface PackFault {
  readonly error: VarveError;
  /** Ids of the chunks it concerns; empty: of none, or of all (`whole`). */
  readonly ids: Uint8Array[];
}

/**
 * Checks every byte of a pack in memory: name, header, each frame and its id, trailer and footer. Frames that
 * are whole are told to `frame`.
 */
export function checkPack(
  bytes: Uint8Array,
  hash: string,
  vaultId: Uint8Array,
  frame: (frame: ChunkFrame, off8: number) => void = () => undefined,
): PackFault[] {
  const name = packName(hash);
  const faults: PackFault[] = [];
  const isNamed = toHex(sha256(bytes)) === hash;
  // Frames of the very bytes that were named are checked too: their writer may have packed wrong ones.
  walkPack(bytes, hash, vaultId, frame, faults);
  if (!isNamed && faults.length === 0) {
    const place = { file: name, offset: 0 };
    faults.push({ error: corrupt('pack does not have the bytes its name says', place), ids: [] });
  }
  return faults;
}

function walkPack(
  bytes: Uint8Array,
  hash: string,
  vaultId: Uint8Array,
  frame: (frame: ChunkFrame, off8: number) => void,
  faults: PackFault[],
): void {
  const name = packName(hash);
  const attempt = <T>(task: () => T, ids: Uint8Array[] = []): T | undefined => {
    try {
      return task();
    } catch (error) {
      if (!isVarveError(error)) throw error;
      faults.push({ error, ids });
      return undefined;
    }
  };
  const header = attempt(() =>
    decodeFileHeader(bytes.subarray(0, fileHeader.size), { kind: 'pack', fileNo: 0, dbUuid: vaultId }, name),
  );
  const footer =
    header === undefined
      ? undefined
      : attempt(() => {
          const tail = bytes.length < segmentFooter.size ? emptyBytes : bytes.subarray(-segmentFooter.size);
          return decodeSegmentFooter(tail, header.seed, bytes.length, name);
        });
  const trailer =
    footer === undefined
      ? undefined
      : attempt(() =>
          decodeTrailer(
            bytes.subarray(footer.trailerOff, footer.trailerOff + footer.trailerLen),
            footer,
            name,
          ),
        );
  const found = new ChunkFrame();
  if (trailer === undefined) {
    scanFrames(bytes, name, frame, found);
    return;
  }
  for (let i = 0; i < trailer.count; i++) {
    const from = trailer.off8[i]! * 8;
    const id = trailer.ids.slice(i * chunkIdBytes, (i + 1) * chunkIdBytes);
    attempt(() => {
      checkWholeFrame(bytes.subarray(0, from + frameBytes(trailer.storedLen[i]!)), from, name, from, found);
      for (let k = 0; k < chunkIdBytes; k++) {
        if (bytes[found.idAt + k] !== id[k])
          throw corrupt('another chunk is in its place', { file: name, offset: from });
      }
      frame(found, trailer.off8[i]!);
    }, [id]);
  }
}

/** Frames from the front up to the first that is not whole: what can still be told without a trailer. */
function scanFrames(
  bytes: Uint8Array,
  name: string,
  frame: (frame: ChunkFrame, off8: number) => void,
  found: ChunkFrame,
): void {
  let pos = segmentDataFrom;
  while (pos + chunkFrame.size <= bytes.length) {
    if (checkChunkFrame(bytes, pos, bytes.length, found) !== 'ok') return;
    try {
      checkFrameId(bytes, found, name, pos);
    } catch (error) {
      if (isVarveError(error)) return;
      throw error;
    }
    frame(found, pos / 8);
    pos = found.next;
  }
}
