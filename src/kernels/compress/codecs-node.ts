/** The compressors of node:zlib, at the settings that keep up with a disk. */
import zlib from 'node:zlib';
import type { ChunkCodec } from './codecs.ts';

type Zstd = (bytes: Uint8Array) => Uint8Array;

const brotli = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } };

/** Deflate and brotli everywhere, zstd from Node 22.15 on. */
export function nodeChunkCodecs(): ChunkCodec[] {
  const zstd = (zlib as { zstdCompressSync?: Zstd }).zstdCompressSync;
  return [
    { name: 'deflate-1', size: (bytes) => zlib.deflateRawSync(bytes, { level: 1 }).length },
    { name: 'brotli-1', size: (bytes) => zlib.brotliCompressSync(bytes, brotli).length },
    ...(zstd === undefined ? [] : [{ name: 'zstd-3', size: (bytes: Uint8Array) => zstd(bytes).length }]),
  ];
}
