/**
 * Chunk frames: the records of a segment. A 64-byte header, the payload, zero bytes up to a multiple of 8.
 *
 * Nothing in a frame depends on where it lies, so cleaning, recovery and backup copy frames verbatim. The
 * checksum covers the header from byte 16 on and the payload, which follow each other in memory: one call.
 * Magic and stored length lie outside it; a wrong magic is seen by comparison, a wrong length moves the end
 * of the range and so fails the checksum.
 */
import { align8, isZero, u32le } from '../base/bytes.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { chunkMaxCeiling } from '../base/limits.ts';
import { checksumMatches, writeChecksum } from '../codec/checksum.ts';
import { defineLayout, f } from '../codec/layout.ts';
import { chunkIdBytes, chunkKinds, codecs } from './chunk-ref.ts';

/** 'VRCF', read little-endian. */
export const chunkFrameMagic = 0x46435256;

/** Version of the frame this build writes and knows. */
export const chunkFrameVersion = 1;

/**
 * Payload bytes of one frame: a chunk that does not shrink is stored raw, so no more than the chunk itself.
 */
export const chunkPayloadBytesMax: number = chunkMaxCeiling;

export const chunkFrame = defineLayout('chunkframe', 'chunk frame header', 64, {
  magic: f(0, 'u32', "'VRCF'. guards: misdirected read; found by resync after damage"),
  storedLen: f(4, 'u32', 'payload bytes, without padding; at most 16 MiB'),
  checksum: f(8, 'hash64', 'xxh64(0; bytes 16 .. end of payload)'),
  version: f(16, 'u8', '1; any other is refused'),
  kind: f(17, 'u8', '0 data, 1 list (value list node), 2 meta (backup tree node)'),
  codec: f(18, 'u8', '0 raw, 1 deflate-raw, 2 brotli, 3 zstd, 4 lz4'),
  cipher: f(19, 'u8', '0 = plaintext; anything else is refused'),
  rawLen: f(20, 'u32', 'bytes of the chunk; equals storedLen when raw; at most 16 MiB'),
  keyEpoch: f(24, 'u32', '0 = plaintext; anything else is refused'),
  padLen: f(28, 'u32', 'padding inside the ciphertext, 0 without encryption; anything else is refused'),
  chunkId: f(32, 32, 'guards: frame of another chunk at this place'),
});

const at = chunkFrame.at;
const kindMax = Math.max(...Object.values(chunkKinds));
const codecMax = Math.max(...Object.values(codecs));

/** True when this build knows `kind` and `codec`. */
export function knownKindAndCodec(kind: number, codec: number): boolean {
  return kind <= kindMax && codec <= codecMax;
}

/** Bytes a frame with `storedLen` payload bytes takes, padding included. */
export function frameBytes(storedLen: number): number {
  return chunkFrame.size + align8(storedLen);
}

/** Longest frame. */
export const chunkFrameBytesMax: number = frameBytes(chunkPayloadBytesMax);

/**
 * Completes the frame that starts at `pos` of `out`, whose payload already lies at `pos + 64`: writes the
 * padding, the header and the checksum in place. Copies the id from `id[idAt..idAt+32)`. Returns the
 * position after the frame. Arguments are trusted (our own).
 */
export function encodeChunkFrame(
  out: Uint8Array,
  pos: number,
  id: Uint8Array,
  idAt: number,
  storedLen: number,
  rawLen: number,
  kind: number,
  codec: number,
): number {
  writeU32(out, pos + at.magic, chunkFrameMagic);
  writeU32(out, pos + at.storedLen, storedLen);
  out[pos + at.version] = chunkFrameVersion;
  out[pos + at.kind] = kind;
  out[pos + at.codec] = codec;
  out[pos + at.cipher] = 0;
  writeU32(out, pos + at.rawLen, rawLen);
  writeU32(out, pos + at.keyEpoch, 0);
  writeU32(out, pos + at.padLen, 0);
  for (let i = 0; i < chunkIdBytes; i++) out[pos + at.chunkId + i] = id[idAt + i]!;
  const payloadTo = pos + chunkFrame.size + storedLen;
  const next = pos + frameBytes(storedLen);
  for (let i = payloadTo; i < next; i++) out[i] = 0;
  writeChecksum(out, pos + at.checksum, pos + at.version, payloadTo);
  return next;
}

/**
 * What `checkChunkFrame` found. 'cut off': the frame reaches beyond the given end, so more bytes may make it
 * whole; 'unsupported': whole, but of a newer format; every other one but 'ok': not a frame, or damaged.
 */
export type ChunkFrameVerdict =
  | 'ok'
  | 'cut off'
  | 'magic'
  | 'length'
  | 'checksum'
  | 'padding'
  | 'unsupported';

/**
 * Header fields of the frame last checked, made once and filled again and again. Positions count from the
 * start of the buffer checked. On 'cut off' `next` is where the frame would end (the header's end when even
 * that is cut off); after any other verdict but 'ok' nothing here means anything.
 */
export class ChunkFrame {
  storedLen = 0;
  rawLen = 0;
  kind = 0;
  codec = 0;
  /** Start of the 32-byte id. */
  idAt = 0;
  payloadFrom = 0;
  payloadTo = 0;
  /** Position after the padding. */
  next = 0;
}

/** Fills `out` with what the header at `pos` of `buf` says, of a frame that was checked. */
export function describeChunkFrame(buf: Uint8Array, pos: number, out: ChunkFrame): void {
  const storedLen = u32le(buf, pos + at.storedLen);
  out.storedLen = storedLen;
  out.rawLen = u32le(buf, pos + at.rawLen);
  out.kind = buf[pos + at.kind]!;
  out.codec = buf[pos + at.codec]!;
  out.idAt = pos + at.chunkId;
  out.payloadFrom = pos + chunkFrame.size;
  out.payloadTo = out.payloadFrom + storedLen;
  out.next = pos + frameBytes(storedLen);
}

/**
 * Checks the frame at `pos` of `buf`, of which bytes below `end` may be used, and fills `out`. Never throws:
 * the caller knows what a verdict means at this place, and `chunkFrameError` makes the error.
 */
export function checkChunkFrame(
  buf: Uint8Array,
  pos: number,
  end: number,
  out: ChunkFrame,
): ChunkFrameVerdict {
  out.next = pos + chunkFrame.size;
  if (out.next > end) return 'cut off';
  if (u32le(buf, pos + at.magic) !== chunkFrameMagic) return 'magic';
  const storedLen = u32le(buf, pos + at.storedLen);
  if (storedLen > chunkPayloadBytesMax) return 'length';
  out.next = pos + frameBytes(storedLen);
  if (out.next > end) return 'cut off';
  out.payloadFrom = pos + chunkFrame.size;
  out.payloadTo = out.payloadFrom + storedLen;
  if (!checksumMatches(buf, pos + at.checksum, pos + at.version, out.payloadTo)) return 'checksum';
  if (!isZero(buf, out.payloadTo, out.next)) return 'padding';
  out.storedLen = storedLen;
  out.rawLen = u32le(buf, pos + at.rawLen);
  out.kind = buf[pos + at.kind]!;
  out.codec = buf[pos + at.codec]!;
  out.idAt = pos + at.chunkId;
  if (buf[pos + at.version] !== chunkFrameVersion || !knownKindAndCodec(out.kind, out.codec)) {
    return 'unsupported';
  }
  const encrypted =
    buf[pos + at.cipher] !== 0 || u32le(buf, pos + at.keyEpoch) !== 0 || u32le(buf, pos + at.padLen) !== 0;
  if (encrypted) return 'unsupported';
  if (out.rawLen > chunkPayloadBytesMax) return 'length';
  if (out.codec === codecs.raw && out.rawLen !== storedLen) return 'length';
  return 'ok';
}

/**
 * True when the header at `pos` is that of a frame as this build writes it, with the chunk ids[idAt..idAt+32)
 * of `length` bytes in it: for a chunk whose bytes are held against its id. Looks at neither checksum nor
 * payload nor padding.
 */
export function isPlainHeader(
  buf: Uint8Array,
  pos: number,
  ids: Uint8Array,
  idAt: number,
  length: number,
): boolean {
  for (let i = 0; i < chunkIdBytes; i++) if (buf[pos + at.chunkId + i] !== ids[idAt + i]) return false;
  return (
    u32le(buf, pos + at.magic) === chunkFrameMagic &&
    u32le(buf, pos + at.storedLen) === length &&
    u32le(buf, pos + at.rawLen) === length &&
    buf[pos + at.version] === chunkFrameVersion &&
    buf[pos + at.kind]! <= kindMax &&
    buf[pos + at.codec] === codecs.raw &&
    buf[pos + at.cipher] === 0 &&
    u32le(buf, pos + at.keyEpoch) === 0 &&
    u32le(buf, pos + at.padLen) === 0
  );
}

const meaning: Record<Exclude<ChunkFrameVerdict, 'ok' | 'unsupported'>, string> = {
  'cut off': 'chunk frame is cut off',
  magic: 'no chunk frame here',
  length: 'chunk frame has an impossible length',
  checksum: 'chunk frame fails its checksum',
  padding: 'padding of a chunk frame is not zero',
};

/** The error for a verdict other than 'ok': VARVE_FORMAT_VERSION or VARVE_CORRUPT, at `offset` of `file`. */
export function chunkFrameError(
  verdict: Exclude<ChunkFrameVerdict, 'ok'>,
  file: string,
  offset: number,
): VarveError {
  if (verdict === 'unsupported') {
    const what = 'chunk frame of a newer format; a newer version of varve is needed';
    return new VarveError('VARVE_FORMAT_VERSION', `${file} at offset ${offset}: ${what}`, { file, offset });
  }
  return corrupt(meaning[verdict], { file, offset });
}

// Making a DataView per frame costs more than everything else in a small header.
function writeU32(out: Uint8Array, pos: number, value: number): void {
  out[pos] = value;
  out[pos + 1] = value >>> 8;
  out[pos + 2] = value >>> 16;
  out[pos + 3] = value >>> 24;
}
