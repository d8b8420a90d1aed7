/**
 * A chunk's identity and place, as values passed between modules (never one object per chunk on a hot path).
 */
import type { FileNo } from '../base/brands.ts';

/** Chunk ids are SHA-256 digests. */
export const chunkIdBytes = 32;

/** Kinds of chunk. Never changed, never reused. */
export const chunkKinds = { data: 0, list: 1, meta: 2 } as const;
export type ChunkKind = (typeof chunkKinds)[keyof typeof chunkKinds];

/** Payload codecs of a chunk frame. Never changed, never reused; this build writes `raw`. */
export const codecs = { raw: 0, deflateRaw: 1, brotli: 2, zstd: 3, lz4: 4 } as const;

/** Where a chunk's frame lies. */
export interface ChunkLocation {
  segment: FileNo;
  /** Offset of the frame in the segment, divided by 8. */
  off8: number;
  /** Payload bytes in the frame. */
  storedLen: number;
  /** Bytes of the chunk itself. */
  rawLen: number;
}

/** A chunk id with the place it was last seen at; the place is only a hint. */
export interface ChunkRef extends ChunkLocation {
  id: Uint8Array;
}
