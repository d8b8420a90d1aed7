/**
 * Archived log of a store, objects below `wal/` of a vault: commits that are in no backup yet, so that a
 * store can be restored to any moment between two.
 *
 *   file header 64 | head 80 | BATCH frames as in the log, sealed again at their place here
 *
 * Objects of one store and timeline follow each other by their numbers. Chunks that records name are in
 * packs. The object `until` says up to when nothing is missing.
 */
import type { Seq } from '../base/brands.ts';
import { corrupt } from '../base/errors.ts';
import { framePayloadBytesMax, MiB } from '../base/limits.ts';
import { checksumMatches, FileSeed, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f, layoutBytes } from '../codec/layout.ts';
import { decodeFileHeader, encodeFileHeader, fileHeader } from './file-header.ts';
import { newerFormat } from './format-ladder.ts';
import {
  frameBytes,
  frameHeaderBytes,
  frameTypes,
  type ReadFrame,
  readFrame,
  sealFrame,
} from './log-frame.ts';
import { backupSubKinds } from './vault-records.ts';

export const archiveHead = defineLayout('archive', 'archived log head, behind the file header', 80, {
  checksum: f(0, 'hash64', 'xxh64(low 64 bits of the salt xor 64; bytes 8 .. end of the head)'),
  dbUuid: f(8, 16, 'the store it is of'),
  timelineId: f(24, 'u64', 'branch of history of the store'),
  firstSeq: f(32, 'u64', 'first number it covers; also in the name. guards: a gap'),
  lastSeq: f(40, 'u64', 'last number it covers; also in the name'),
  firstMs: f(48, 'u64', 'time of its first frame, ms since 1970'),
  lastMs: f(56, 'u64', 'time of its last frame'),
  frames: f(64, 'u32', 'frames in it'),
  flags: f(68, 'u32', 'zero; anything else is refused'),
  bytes: f(72, 'u64', 'bytes of the object. guards: a cut-off object'),
});

const framesFrom: number = fileHeader.size + archiveHead.size;

/** Bytes of frames from which an object is full. */
export const archiveBytesTarget: number = 8 * MiB;
export const archiveBytesMax: number = framesFrom + archiveBytesTarget + frameBytes(framePayloadBytesMax);

/** What an object covers. */
export interface ArchiveSpan {
  /** 16 bytes. */
  readonly dbUuid: Uint8Array;
  readonly timelineId: number;
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
}

/** A frame to put into an object; the payload is borrowed. */
export interface ArchivedFrame {
  readonly seqFirst: Seq;
  readonly count: number;
  readonly commitTimeMs: number;
  readonly payload: Uint8Array;
}

/** The object. `salt`: 12 random bytes. */
export function encodeArchive(
  vaultId: Uint8Array,
  salt: Uint8Array,
  span: ArchiveSpan,
  frames: readonly ArchivedFrame[],
): Uint8Array {
  const bytes = frames.reduce((sum, { payload }) => sum + frameBytes(payload.length), framesFrom);
  const out = new Uint8Array(bytes);
  const sub = backupSubKinds.archive;
  out.set(encodeFileHeader({ kind: 'backup', subKind: sub, fileNo: 0, dbUuid: vaultId, salt }));
  const seed = new FileSeed(salt);
  let at = framesFrom;
  for (const { payload, ...fields } of frames) {
    out.set(payload, at + frameHeaderBytes);
    const header = { ...fields, type: frameTypes.batch, durableSeq: 0 };
    at += sealFrame(out, at, payload.length, header, seed, at);
  }
  const values = {
    ...span,
    checksum: 0n,
    firstMs: frames[0]?.commitTimeMs ?? 0,
    lastMs: frames.at(-1)?.commitTimeMs ?? 0,
    frames: frames.length,
    flags: 0,
    bytes,
  };
  encodeLayout(archiveHead, values, out, fileHeader.size);
  writeChecksum(out, fileHeader.size, fileHeader.size + 8, framesFrom, seed.at(fileHeader.size));
  return out;
}

/** A decoded object; positions of frames are in its bytes. */
export interface Archive extends ArchiveSpan {
  readonly firstMs: number;
  readonly lastMs: number;
  readonly frames: readonly ReadFrame[];
}

/**
 * Checks an object whole. VARVE_CORRUPT on damage, or when it is another vault's or lies under another name
 * (`named`); VARVE_FORMAT_VERSION on a newer one.
 */
export function decodeArchive(
  bytes: Uint8Array,
  file: string,
  vaultId: Uint8Array,
  named: { readonly firstSeq: Seq; readonly lastSeq: Seq },
): Archive {
  const { seed, subKind } = decodeFileHeader(bytes, { kind: 'backup', fileNo: 0, dbUuid: vaultId }, file);
  const place = { file, offset: fileHeader.size };
  const head = decodeLayout(archiveHead, bytes, fileHeader.size, { file });
  const whole =
    subKind === backupSubKinds.archive &&
    checksumMatches(bytes, fileHeader.size, fileHeader.size + 8, framesFrom, seed.at(fileHeader.size));
  if (!whole) throw corrupt('archived log fails its checksum', place);
  if (head.flags !== 0) throw newerFormat('archived log of an unknown kind', place);
  if (head.firstSeq !== named.firstSeq || head.lastSeq !== named.lastSeq)
    throw corrupt('archived log of another name', place);
  if (head.bytes !== bytes.length) throw corrupt('archived log is cut off', place, head.bytes, bytes.length);
  const frames: ReadFrame[] = [];
  let at = framesFrom;
  let before = head.firstSeq - 1;
  while (at < bytes.length) {
    const frame = readFrame(bytes, at, bytes.length, seed, at);
    if (!frame.ok) throw corrupt('archived log frame is damaged', { file, offset: at });
    const last = frame.seqFirst + frame.count - 1;
    if (frame.type !== frameTypes.batch || frame.seqFirst <= before || last > head.lastSeq)
      throw corrupt('archived log frame is out of place', { file, offset: at });
    before = last;
    frames.push(frame);
    at = frame.next;
  }
  if (frames.length !== head.frames) throw corrupt('archived log has lost frames', place);
  const { dbUuid, timelineId, firstSeq, lastSeq, firstMs, lastMs } = head;
  return { dbUuid, timelineId, firstSeq, lastSeq, firstMs, lastMs, frames };
}

export const archiveEnd = defineLayout('archiveend', 'end of an archived log', 24, {
  seq: f(0, 'u64', 'last number archived when this was written'),
  coveredMs: f(8, 'u64', 'every commit up to this time was archived, ms since 1970'),
  checksum: f(16, 'hash64', 'xxh64(0; bytes 0..15)'),
});

/** How far an archive goes. */
export interface ArchiveEnd {
  readonly seq: Seq;
  readonly coveredMs: number;
}

export function encodeArchiveEnd(end: ArchiveEnd): Uint8Array {
  const out = layoutBytes(archiveEnd, { ...end, checksum: 0n });
  writeChecksum(out, archiveEnd.at.checksum, 0, archiveEnd.at.checksum);
  return out;
}

/** VARVE_CORRUPT. */
export function decodeArchiveEnd(bytes: Uint8Array, file: string): ArchiveEnd {
  const { checksum } = archiveEnd.at;
  if (bytes.length !== archiveEnd.size || !checksumMatches(bytes, checksum, 0, checksum))
    throw corrupt('end of an archived log fails its checksum', { file });
  const { seq, coveredMs } = decodeLayout(archiveEnd, bytes, 0, { file });
  return { seq, coveredMs };
}
