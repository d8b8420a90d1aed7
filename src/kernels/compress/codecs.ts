/** Compressors behind one switch, for measurements: the entry point binds those its runtime has. */

/** A compressor of whole chunks. */
export interface ChunkCodec {
  /** As in reports: 'deflate-1', 'brotli-1', 'zstd-3'. */
  readonly name: string;
  /** Bytes that `bytes` (borrowed for the call) takes when compressed. */
  size(bytes: Uint8Array): number;
}

let bound: readonly ChunkCodec[] = [];

/** Binds the compressors of this thread. */
export function setChunkCodecs(codecs: readonly ChunkCodec[]): void {
  bound = codecs;
}

/** The compressors that the runtime has; none before setChunkCodecs. */
export function chunkCodecs(): readonly ChunkCodec[] {
  return bound;
}
