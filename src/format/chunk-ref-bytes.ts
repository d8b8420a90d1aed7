/** A chunk reference as bytes: identity and length, and the place the chunk was last seen at. */
import { u32le } from '../base/bytes.ts';
import { defineLayout, encodeLayout, f } from '../codec/layout.ts';
import { type ChunkLocation, chunkIdBytes } from './chunk-ref.ts';

export const chunkRefLayout = defineLayout('chunkref', 'chunk reference', 48, {
  chunkId: f(0, chunkIdBytes, 'SHA-256 of the chunk. guards: any damage to the chunk, a stale hint'),
  hintSegment: f(32, 'u32', 'segment when written, tried first and never trusted; 0 = no hint'),
  hintOff8: f(36, 'u32', 'offset of the frame in the segment / 8'),
  storedLen: f(40, 'u32', 'payload bytes of the frame'),
  rawLen: f(44, 'u32', 'bytes of the chunk. guards: a list that does not add up to the size'),
});

/** Bytes of one encoded chunk reference. */
export const chunkRefBytes: number = chunkRefLayout.size;

/** Writes the reference of the chunk with the id at id[idAt..idAt+32) at out[at..at+48). */
export function writeChunkRef(
  out: Uint8Array,
  at: number,
  id: Uint8Array,
  idAt: number,
  place: ChunkLocation,
): void {
  const { segment: hintSegment, off8: hintOff8, storedLen, rawLen } = place;
  const chunkId = id.subarray(idAt, idAt + chunkIdBytes);
  encodeLayout(chunkRefLayout, { chunkId, hintSegment, hintOff8, storedLen, rawLen }, out, at);
}

/** Bytes of the chunk whose reference starts at `at`. */
export function chunkRefRawLen(buf: Uint8Array, at: number): number {
  return u32le(buf, at + chunkRefLayout.at.rawLen);
}

/** Segment the chunk was last seen in; 0: the reference carries no place. */
export function chunkRefSegment(buf: Uint8Array, at: number): number {
  return u32le(buf, at + chunkRefLayout.at.hintSegment);
}

/** Offset of its frame there, divided by 8. */
export function chunkRefOff8(buf: Uint8Array, at: number): number {
  return u32le(buf, at + chunkRefLayout.at.hintOff8);
}

/** Place in the reference at `at`; undefined where it carries none. */
export function chunkRefHint(buf: Uint8Array, at: number): ChunkLocation | undefined {
  const segment = u32le(buf, at + chunkRefLayout.at.hintSegment);
  if (segment === 0) return undefined;
  return {
    segment,
    off8: u32le(buf, at + chunkRefLayout.at.hintOff8),
    storedLen: u32le(buf, at + chunkRefLayout.at.storedLen),
    rawLen: u32le(buf, at + chunkRefLayout.at.rawLen),
  };
}
