/**
 * Reading a segment frame by frame from the front: recovery, damaged trailers, repair. Also the rescue of an
 * old unsealed segment into a new one.
 *
 * Where a frame is damaged the scan goes on at the next one that is whole: first where the damaged frame says
 * it ends, then at every 8th byte. The payload of a damaged frame may itself hold frames (somebody stored a
 * segment file), so a frame found after damage proves nothing about the id it claims: `resynced` says so.
 */
import type { FileNo } from '../base/brands.ts';
import { corrupt, invalid, isVarveError, type VarveError } from '../base/errors.ts';
import { segmentBytesMax } from '../base/limits.ts';
import { ChunkFrame, type ChunkFrameVerdict, chunkFrameError } from '../format/chunk-frame.ts';
import { type CheckedHeader, decodeFileHeader, fileHeader } from '../format/file-header.ts';
import { filePath } from '../format/file-names.ts';
import {
  decodeSegmentFooter,
  type SegmentFooter,
  segmentDataFrom,
  segmentFooter,
} from '../format/segment.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import { FrameWindow, type WindowBuffers, type WindowMemory } from './frame-window.ts';
import type { SegmentWriter } from './segment-writer.ts';

/**
 * A whole frame: `buf[pos..frame.next)`, at file offset `offset`. All borrowed until the callback settles.
 */
export type OnFrame = (
  buf: Uint8Array,
  pos: number,
  frame: ChunkFrame,
  offset: number,
  /** Found after damage: compare with a known place, or the bytes with the id, before trusting the id. */
  resynced: boolean,
) => void | Promise<void>;

export interface ScanOptions {
  readonly dbUuid: Uint8Array;
  /** Scan only below this offset. */
  readonly upTo?: number;
  /** Where bytes are read to; windows of its own where it is left out. What it gave before is done with. */
  readonly memory?: WindowMemory | undefined;
  /** For those windows: the same for one scan after another, so that none has to make its own. */
  readonly buffers?: WindowBuffers | undefined;
  /** Called for each stretch [from, to) of damage between whole frames, or before the end of the data. */
  readonly onDamage?: (from: number, to: number, error: VarveError) => void;
}

export interface ScanResult {
  /** Bytes of the file. */
  size: number;
  /** Offset after the last whole frame; 64 without any. */
  end: number;
  /** End of what was scanned: `upTo`, the end of the data of a sealed segment, or the end of the file. */
  limit: number;
  frames: number;
  /** Offset of the first byte that belongs to no whole frame, when that is below `limit`. */
  firstInvalid: number | undefined;
  /** Present in a sealed segment whose footer is whole. */
  footer: SegmentFooter | undefined;
  header: CheckedHeader | undefined;
  /** What is wrong with the file header (frames are read all the same); undefined when it is whole. */
  headerDamage: VarveError | undefined;
}

/**
 * Reads the frames of segment `no` at `path` in order. Damage is reported, never thrown: an unsealed segment
 * ends in whatever a crash left. VARVE_FORMAT_VERSION on a newer format, VARVE_IO (errno ENOENT) when the
 * file cannot be read. Memory: two windows of 3 MiB, or one of the longest frame.
 */
export async function scanSegment(
  fs: FsPort,
  no: FileNo,
  path: string,
  options: ScanOptions,
  onFrame: OnFrame,
): Promise<ScanResult> {
  const file = await fs.open(path, 'read');
  try {
    const size = await file.size();
    const { header, damage } = await readHeader(file, no, options.dbUuid);
    const footer = header === undefined ? undefined : await readFooter(file, header, size);
    const dataEnd = footer === undefined ? Math.min(size, segmentBytesMax) : footer.trailerOff;
    const limit = Math.min(dataEnd, options.upTo ?? dataEnd);
    const result: ScanResult = {
      size,
      end: segmentDataFrom,
      limit,
      frames: 0,
      firstInvalid: undefined,
      footer,
      header,
      headerDamage: damage,
    };
    const window = new FrameWindow(file, limit, options.memory, options.buffers);
    try {
      await scanFrames(file, window, result, options, onFrame);
    } finally {
      await window.close();
    }
    return result;
  } finally {
    await file.close();
  }
}

async function readHeader(
  file: FsFile,
  no: FileNo,
  dbUuid: Uint8Array,
): Promise<{ header: CheckedHeader | undefined; damage: VarveError | undefined }> {
  const bytes = new Uint8Array(fileHeader.size);
  const got = await file.read(bytes, 0);
  try {
    const expected = { kind: 'segment', fileNo: no, dbUuid } as const;
    return { header: decodeFileHeader(bytes.subarray(0, got), expected, file.path), damage: undefined };
  } catch (error) {
    if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
    return { header: undefined, damage: error };
  }
}

/** The footer, or undefined where the segment is not sealed (or its footer is damaged: the frames tell). */
async function readFooter(
  file: FsFile,
  header: CheckedHeader,
  size: number,
): Promise<SegmentFooter | undefined> {
  if (size < segmentDataFrom + segmentFooter.size) return undefined;
  const bytes = new Uint8Array(segmentFooter.size);
  const got = await file.read(bytes, size - bytes.length);
  try {
    return decodeSegmentFooter(bytes.subarray(0, got), header.seed, size, file.path);
  } catch (error) {
    if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
    return undefined;
  }
}

async function scanFrames(
  file: FsFile,
  window: FrameWindow,
  result: ScanResult,
  options: ScanOptions,
  onFrame: OnFrame,
): Promise<void> {
  const frame = new ChunkFrame();
  let at = segmentDataFrom;
  while (at < result.limit) {
    const checked = window.check(at, frame);
    const verdict = typeof checked === 'string' ? checked : await checked;
    const resynced = result.firstInvalid !== undefined;
    if (verdict === 'ok') {
      const next = at + frame.next - window.indexOf(at);
      const work = onFrame(window.bytes, window.indexOf(at), frame, at, resynced);
      if (work !== undefined) await work;
      result.frames++;
      result.end = next;
      at = next;
      continue;
    }
    // Among the debris of damage a newer format proves nothing; in an undamaged segment it is one.
    if (verdict === 'unsupported' && !resynced) throw chunkFrameError(verdict, file.path, at);
    result.firstInvalid ??= at;
    const next = await findFrame(window, at, verdict, frame, result.limit);
    if (next === undefined) {
      if (result.footer !== undefined || options.upTo !== undefined)
        options.onDamage?.(at, result.limit, damageAt(verdict, file.path, at));
      return;
    }
    options.onDamage?.(at, next, damageAt(verdict, file.path, at));
    at = next;
  }
}

function damageAt(verdict: Exclude<ChunkFrameVerdict, 'ok'>, file: string, offset: number): VarveError {
  return chunkFrameError(verdict === 'unsupported' ? 'checksum' : verdict, file, offset);
}

/** Where the next whole frame after the damaged one at `at` begins; undefined when there is none. */
async function findFrame(
  window: FrameWindow,
  at: number,
  verdict: ChunkFrameVerdict,
  frame: ChunkFrame,
  limit: number,
): Promise<number | undefined> {
  if (verdict === 'checksum' || verdict === 'padding') {
    // Its length may be intact: frames inside its payload are then passed over.
    const next = at + frame.next - window.indexOf(at);
    if (next === limit) return undefined;
    if ((await window.check(next, frame)) === 'ok') return next;
  }
  for (let from = at + 8; ; ) {
    const found = await window.findMagic(from);
    if (found === undefined) return undefined;
    if ((await window.check(found, frame)) === 'ok') return found;
    from = found + 8;
  }
}

/** A frame was copied: its id is `idBuf[idAt..idAt+32)`, borrowed until the callback returns. */
export type OnMoved = (
  idBuf: Uint8Array,
  idAt: number,
  oldOff8: number,
  newOff8: number,
  frame: ChunkFrame,
  /** See `OnFrame`: move only what was known to lie at `oldOff8`. */
  resynced: boolean,
) => void;

export interface RescueOptions {
  /** Number of the old segment. */
  readonly from: FileNo;
  readonly dbUuid: Uint8Array;
  /** Frames below this offset are kept; what lies beyond is referenced by nothing. */
  readonly committedEnd: number;
  /** The caller seals it. */
  readonly to: SegmentWriter;
  readonly onMoved: OnMoved;
  /** Called with VARVE_CORRUPT for each damaged stretch below `committedEnd`, and for a damaged header. */
  readonly onDamage: (error: VarveError) => void;
}

export interface RescueResult {
  /** Frames copied. */
  moved: number;
  /** Bytes below `committedEnd` that belong to no whole frame. */
  damagedBytes: number;
}

/**
 * Copies every frame of an old unsealed segment below `committedEnd` verbatim to the end of another one. The
 * old file is only read. Nothing is durable before the caller syncs or seals `to`. VARVE_INVALID_ARGUMENT
 * when `to` is full, VARVE_FORMAT_VERSION, VARVE_IO, and whatever `to` refuses with.
 */
export async function rescueSegment(fs: FsPort, options: RescueOptions): Promise<RescueResult> {
  const { from, committedEnd, to, onMoved, onDamage } = options;
  const path = filePath('seg', from);
  const result = { moved: 0, damagedBytes: 0 };
  const scanned = await scanSegment(
    fs,
    from,
    path,
    {
      dbUuid: options.dbUuid,
      upTo: committedEnd,
      onDamage(damagedFrom, damagedTo, error) {
        result.damagedBytes += damagedTo - damagedFrom;
        onDamage(error);
      },
    },
    async (buf, pos, frame, offset, resynced) => {
      if (!to.fits(frame.next - pos)) throw invalid(`${to.path} has no room for the frames of ${path}`);
      const newOff8 = to.appendFrame(buf, pos, frame);
      result.moved++;
      onMoved(buf, frame.idAt, offset / 8, newOff8, frame, resynced);
      if (to.needsDrain) await to.drain();
    },
  );
  if (scanned.headerDamage !== undefined) onDamage(scanned.headerDamage);
  if (scanned.limit < committedEnd) {
    const missing = committedEnd - scanned.limit;
    result.damagedBytes += missing;
    onDamage(
      corrupt('segment is cut off', { file: path, offset: scanned.limit }, committedEnd, scanned.limit),
    );
  }
  return result;
}
