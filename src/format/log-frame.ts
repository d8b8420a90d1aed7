/**
 * The frame of logs and catalogs: 48 bytes of header, payload, zero padding to 8.
 *
 * The checksum is seeded with the file's salt and the frame's offset, so that a frame of an older file that
 * reappears in recycled blocks, or one at another place, does not validate. Everything after the checksum is
 * one contiguous range. Reading gives a verdict, not an exception: an incomplete last frame is expected.
 */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import { align8, isZero, viewOf } from '../base/bytes.ts';
import { framePayloadBytesMax, integerMax, MiB } from '../base/limits.ts';
import { checksumMatches, type FileSeed, writeChecksum } from '../codec/checksum.ts';
import { defineLayout, f, readU64, writeU64 } from '../codec/layout.ts';

export const logFrame = defineLayout('frame', 'log frame', 48, {
  magic: f(0, 'u32', "'VRWF' in a log, 'VRCG' in a catalog"),
  payloadLen: f(4, 'u32', 'bytes behind the header, without padding'),
  checksum: f(
    8,
    'hash64',
    'xxh64(salt xor offset; bytes 16 .. end of payload). guards: torn write, stale bytes',
  ),
  seqFirst: f(16, 'u64', 'log: first sequence number in the frame; catalog: its generation'),
  count: f(24, 'u32', 'sequence numbers taken: transactions, 1 where there are none'),
  type: f(28, 'u8', '1 OPEN, 2 BATCH, 3 STAGE, 4 SEAL, 5 CATALOG, 6 NOOP'),
  codec: f(29, 'u8', 'zero: payload as is; anything else is refused'),
  cipher: f(30, 'u8', 'zero: plaintext; anything else is refused'),
  flags: f(31, 'u8', 'zero; anything else is refused'),
  commitTimeMs: f(32, 'u64', 'ms since 1970; never falls within a log'),
  durableSeq: f(
    40,
    'u64',
    'highest number known to be on disk, with the segments it names, when this was written',
  ),
});

/** Bytes of a frame's header: the space to leave before the payload. */
export const frameHeaderBytes: number = logFrame.size;

/** Types of frames. Never changed, never reused. */
export const frameTypes = { open: 1, batch: 2, stage: 3, seal: 4, catalog: 5, noop: 6 } as const;

/** First four bytes of a frame as a little-endian u32. */
export const logMagic = 0x46575256;
export const catalogMagic = 0x47435256;
export type FrameMagic = typeof logMagic | typeof catalogMagic;

/** Payload of one body of a catalog, bytes; a log's bound is framePayloadBytesMax. */
export const catalogPayloadBytesMax = 256 * MiB;

/** What a writer says of a frame; the rest follows from the bytes. */
export interface FrameFields {
  readonly type: number;
  readonly seqFirst: Seq;
  readonly count: number;
  readonly commitTimeMs: number;
  readonly durableSeq: Seq;
}

/** A frame that validates; positions are in the buffer it was read from. */
export interface ReadFrame extends FrameFields {
  readonly ok: true;
  readonly payloadFrom: number;
  readonly payloadTo: number;
  /** Where the next frame starts. */
  readonly next: number;
}

/**
 * Why bytes are not a frame. 'flags': a valid frame of a format this build does not know. 'padding': header
 * and payload validate and only the padding is not zero, so `frame` is trustworthy.
 */
export type FrameFault = 'cut off' | 'magic' | 'length' | 'checksum' | 'padding' | 'flags';

export interface BadFrame {
  readonly ok: false;
  readonly reason: FrameFault;
  /** Present for 'padding' only. */
  readonly frame?: ReadFrame;
}

export type FrameVerdict = ReadFrame | BadFrame;

/** Bytes a frame with `payloadLen` bytes of payload takes in the file. */
export function frameBytes(payloadLen: number): number {
  return frameHeaderBytes + align8(payloadLen);
}

/**
 * Completes a frame in place: `buf` (borrowed) has header space at `at`, the payload behind it and room for
 * padding. Returns the frame's length with padding.
 */
export function sealFrame(
  buf: Uint8Array,
  at: number,
  payloadLen: number,
  header: FrameFields,
  fileSeed: FileSeed,
  fileOffset: number,
  magic: FrameMagic = logMagic,
): number {
  const payloadTo = at + frameHeaderBytes + payloadLen;
  const total = frameBytes(payloadLen);
  assert(payloadLen <= payloadBytesMax(magic), 'frame payload is within its bound');
  assert(at + total <= buf.length, 'buffer has room for the padding');
  writeHeader(viewOf(buf), at, payloadLen, header, magic);
  for (let i = payloadTo; i < at + total; i++) buf[i] = 0;
  writeChecksum(
    buf,
    at + logFrame.at.checksum,
    at + logFrame.at.seqFirst,
    payloadTo,
    fileSeed.at(fileOffset),
  );
  return total;
}

/** Everything but the checksum, field by field: this is done for every commit of a single writer. */
function writeHeader(view: DataView, at: number, payloadLen: number, header: FrameFields, magic: FrameMagic) {
  const field = logFrame.at;
  view.setUint32(at + field.magic, magic, true);
  view.setUint32(at + field.payloadLen, payloadLen, true);
  writeU64(view, at + field.seqFirst, header.seqFirst);
  view.setUint32(at + field.count, header.count, true);
  // Codec, cipher and flags are zero.
  view.setUint32(at + field.type, header.type, true);
  writeU64(view, at + field.commitTimeMs, header.commitTimeMs);
  writeU64(view, at + field.durableSeq, header.durableSeq);
}

/**
 * Reads the frame at `buf[at]`, which lies at `fileOffset` of its file; `end` is where the readable bytes of
 * `buf` end. Borrows `buf`; never throws on damaged bytes.
 */
export function readFrame(
  buf: Uint8Array,
  at: number,
  end: number,
  fileSeed: FileSeed,
  fileOffset: number,
  magic: FrameMagic = logMagic,
): FrameVerdict {
  if (end - at < frameHeaderBytes) return bad('cut off');
  const view = viewOf(buf);
  if (view.getUint32(at + logFrame.at.magic, true) !== magic) return bad('magic');
  const payloadLen = view.getUint32(at + logFrame.at.payloadLen, true);
  if (payloadLen > payloadBytesMax(magic)) return bad('length');
  const next = at + frameBytes(payloadLen);
  if (next > end) return bad('cut off');
  const payloadFrom = at + frameHeaderBytes;
  const payloadTo = payloadFrom + payloadLen;
  const from = at + logFrame.at.seqFirst;
  if (!checksumMatches(buf, at + logFrame.at.checksum, from, payloadTo, fileSeed.at(fileOffset)))
    return bad('checksum');
  const frame: ReadFrame = {
    ok: true,
    type: buf[at + logFrame.at.type]!,
    seqFirst: readU64(view, from),
    count: view.getUint32(at + logFrame.at.count, true),
    commitTimeMs: readU64(view, at + logFrame.at.commitTimeMs),
    durableSeq: readU64(view, at + logFrame.at.durableSeq),
    payloadFrom,
    payloadTo,
    next,
  };
  if (!isZero(buf, at + logFrame.at.codec, at + logFrame.at.commitTimeMs) || !isKnown(frame))
    return bad('flags');
  return isZero(buf, payloadTo, next) ? frame : { ok: false, reason: 'padding', frame };
}

/** Last sequence number `frame` takes. */
export function lastSeqOf(frame: FrameFields): Seq {
  return frame.seqFirst + frame.count - 1;
}

/** A quick test before `readFrame` when looking for frames in damaged bytes: `at + 8` must be readable. */
export function mayBeFrame(view: DataView, at: number, magic: FrameMagic = logMagic): boolean {
  return (
    view.getUint32(at + logFrame.at.magic, true) === magic &&
    view.getUint32(at + logFrame.at.payloadLen, true) <= payloadBytesMax(magic)
  );
}

function payloadBytesMax(magic: FrameMagic): number {
  return magic === logMagic ? framePayloadBytesMax : catalogPayloadBytesMax;
}

function isKnown(frame: ReadFrame): boolean {
  return (
    frame.type >= frameTypes.open &&
    frame.type <= frameTypes.noop &&
    frame.count >= 1 &&
    frame.seqFirst + frame.count - 1 <= integerMax &&
    frame.commitTimeMs <= integerMax &&
    frame.durableSeq <= integerMax
  );
}

const verdicts: Readonly<Record<FrameFault, BadFrame>> = {
  'cut off': { ok: false, reason: 'cut off' },
  magic: { ok: false, reason: 'magic' },
  length: { ok: false, reason: 'length' },
  checksum: { ok: false, reason: 'checksum' },
  padding: { ok: false, reason: 'padding' },
  flags: { ok: false, reason: 'flags' },
};

function bad(reason: FrameFault): BadFrame {
  return verdicts[reason];
}
