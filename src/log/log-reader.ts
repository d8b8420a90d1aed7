/**
 * Frame by frame through one log file. Damage is an item of the scan, not an exception: after bytes that are
 * no frame the scan goes on at 8-byte steps until a frame validates again. What a gap means is decided by
 * log-chain.ts; a dump tool shows it as it is.
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { checksumMatches, FileSeed } from '../codec/checksum.ts';
import { decodeLayout } from '../codec/layout.ts';
import { decodeFileHeader, fileHeader } from '../format/file-header.ts';
import { newerFormat } from '../format/format-ladder.ts';
import {
  type FrameFault,
  type FrameFields,
  frameBytes,
  frameHeaderBytes,
  frameTypes,
  lastSeqOf,
  logFrame,
  logMagic,
  mayBeFrame,
  type ReadFrame,
  readFrame,
} from '../format/log-frame.ts';
import { durabilityCodes, type OpenFields, openPayload } from '../format/log-ops.ts';
import type { FsPort } from '../fs/port.ts';
import { LogWindow } from './log-window.ts';

/** Where the first frame of a log file lies. */
export const firstFrameOffset: number = fileHeader.size;
/** Where the frame behind OPEN lies. */
export const secondFrameOffset: number = fileHeader.size + frameBytes(openPayload.size);

/** A frame and its place; the payload is read on demand. */
export interface LogFrame extends FrameFields {
  readonly fileNo: FileNo;
  readonly path: string;
  readonly offset: number;
  readonly payloadLen: number;
}

/** One item of a scan, in file order. */
export type LogItem =
  /** The file header fails; frames may follow when its salt is intact. */
  | { readonly kind: 'header'; readonly error: VarveError }
  | FrameItem
  /** `from..to` is no frame; at `to` a frame or the end of the scanned range follows. */
  | { readonly kind: 'gap'; readonly from: number; readonly to: number; readonly reason: FrameFault };

/** A valid frame. */
export interface FrameItem {
  readonly kind: 'frame';
  readonly frame: LogFrame;
  /** Where the next frame starts. */
  readonly end: number;
  /** Borrowed until the next item. */
  readonly payload: Uint8Array;
  /** For OPEN frames. */
  readonly open: OpenFields | undefined;
  /** Header and payload validate, the padding is not zero. */
  readonly paddingDamaged: boolean;
}

export interface ScanOptions {
  /** The file's number, checked against its header and its name in items. */
  readonly no: FileNo;
  readonly dbUuid?: Uint8Array;
  /** Frames must end at or before this offset; the whole file when omitted. */
  readonly to?: number;
  /** After a gap, frames whose first number is not above the last good one do not count. */
  readonly after?: Seq;
}

/**
 * Scans `path`. VARVE_FORMAT_VERSION when the file or a valid frame in it is of a newer format, VARVE_IO when
 * it cannot be read. Holds the file open until the iteration ends.
 */
export async function* scanLog(fs: FsPort, path: string, options: ScanOptions): AsyncGenerator<LogItem> {
  const file = await fs.open(path, 'read');
  try {
    const window = new LogWindow(file, Math.min(await file.size(), options.to ?? Number.MAX_SAFE_INTEGER));
    await window.need(0, fileHeader.size);
    const header = checkHeader(
      window.buf.subarray(0, Math.min(window.filled, fileHeader.size)),
      options,
      path,
    );
    if (header.error !== undefined) yield { kind: 'header', error: header.error };
    if (header.seed !== undefined) yield* scanFrames(window, header.seed, path, options);
  } finally {
    await file.close();
  }
}

/**
 * Seed of a file's frames. With a damaged header the salt is taken as found: frames validate if it is intact.
 * A whole header of another file or store gives no seed.
 */
export function checkHeader(
  bytes: Uint8Array,
  expected: { no: FileNo; dbUuid?: Uint8Array },
  path: string,
): { seed?: FileSeed; error?: VarveError } {
  try {
    return {
      seed: decodeFileHeader(bytes, { kind: 'wal', fileNo: expected.no, dbUuid: expected.dbUuid }, path).seed,
    };
  } catch (error) {
    if (!(error instanceof VarveError) || error.code !== 'VARVE_CORRUPT') throw error;
    if (bytes.length < fileHeader.size || isWholeHeader(bytes)) return { error };
    const saltAt = fileHeader.at.salt;
    return { seed: new FileSeed(bytes.subarray(saltAt, saltAt + fileHeader.fields.salt.size)), error };
  }
}

function isWholeHeader(bytes: Uint8Array): boolean {
  return checksumMatches(bytes, fileHeader.at.checksum, 0, fileHeader.at.checksum);
}

async function* scanFrames(
  window: LogWindow,
  seed: FileSeed,
  path: string,
  options: ScanOptions,
): AsyncGenerator<LogItem> {
  let offset = firstFrameOffset;
  let highest = options.after ?? 0;
  while (offset < window.size) {
    const { frame, fault } = await frameAt(window, seed, offset, path);
    if (frame !== undefined) {
      const item = itemOf(window, frame, offset, path, options.no, fault === 'padding');
      // Frames repeated behind OPEN have lower numbers than OPEN itself.
      highest = Math.max(highest, item.open === undefined ? lastSeqOf(frame) : item.open.prevLastSeq);
      yield item;
      offset = offset + frame.next - frame.payloadFrom + frameHeaderBytes;
      continue;
    }
    const next = await resync(window, seed, offset + 8, path, highest);
    yield { kind: 'gap', from: offset, to: next, reason: fault ?? 'magic' };
    offset = next;
  }
}

interface FrameAt {
  frame?: ReadFrame;
  fault?: FrameFault;
}

/** Reads the frame at `offset`; positions in it are in `window.buf`. */
async function frameAt(window: LogWindow, seed: FileSeed, offset: number, path: string): Promise<FrameAt> {
  await window.need(offset, frameHeaderBytes);
  let at = offset - window.start;
  if (window.filled - at < frameHeaderBytes) return { fault: 'cut off' };
  if (!mayBeFrame(window.view, at))
    return { fault: window.view.getUint32(at, true) === logMagic ? 'length' : 'magic' };
  const total = frameBytes(window.view.getUint32(at + logFrame.at.payloadLen, true));
  if (offset + total > window.size) return { fault: 'cut off' };
  await window.need(offset, total);
  at = offset - window.start;
  const verdict = readFrame(window.buf, at, window.filled, seed, offset);
  if (verdict.ok) return { frame: verdict };
  if (verdict.reason === 'flags')
    throw newerFormat('a log frame is of a form unknown to this build', { file: path, offset });
  return { frame: verdict.frame, fault: verdict.reason };
}

/** The next offset at or behind `from` where a frame above `highest` validates, or the end. */
async function resync(
  window: LogWindow,
  seed: FileSeed,
  from: number,
  path: string,
  highest: Seq,
): Promise<number> {
  let offset = from;
  while (offset + frameHeaderBytes <= window.size) {
    await window.need(offset, frameHeaderBytes);
    const last = window.start + window.filled - frameHeaderBytes;
    const { view, start } = window;
    while (offset <= last && !mayBeFrame(view, offset - start)) offset += 8;
    if (offset > last) continue;
    const { frame } = await frameAt(window, seed, offset, path);
    if (frame !== undefined && frame.seqFirst > highest) return offset;
    offset += 8;
  }
  return window.size;
}

function itemOf(
  window: LogWindow,
  frame: ReadFrame,
  offset: number,
  path: string,
  fileNo: FileNo,
  paddingDamaged: boolean,
): FrameItem {
  const { type, seqFirst, count, commitTimeMs, durableSeq, payloadFrom, payloadTo, next } = frame;
  const payload = window.buf.subarray(payloadFrom, payloadTo);
  return {
    kind: 'frame',
    frame: {
      fileNo,
      path,
      offset,
      payloadLen: payload.length,
      type,
      seqFirst,
      count,
      commitTimeMs,
      durableSeq,
    },
    end: offset + next - payloadFrom + frameHeaderBytes,
    payload,
    open:
      type === frameTypes.open
        ? decodeOpen(payload, { file: path, offset: offset + frameHeaderBytes })
        : undefined,
    paddingDamaged,
  };
}

/** Fields of an OPEN payload. VARVE_CORRUPT when they contradict each other. */
export function decodeOpen(payload: Uint8Array, place: { file: string; offset: number }): OpenFields {
  const open = decodeLayout(openPayload, payload, 0, place);
  if (open.firstSeq !== open.prevLastSeq + 1)
    throw corrupt('OPEN contradicts itself', place, open.prevLastSeq + 1, open.firstSeq);
  if (open.durability > durabilityCodes.os) throw newerFormat('unknown durability in OPEN', place);
  return open;
}
