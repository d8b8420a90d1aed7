/**
 * Reads the frames of the log in order, behind the one who writes them: from any number that is still kept,
 * on to what was published last, and on from there when more is.
 *
 * Invariants (test/log/log-history.test.ts)
 * - Every number above the first is in exactly one frame given, over any files, or the reading ends with an
 *   error ("frames come once and without a gap, however files turn").
 * - Nothing is given that was not published.
 */
import type { Seq } from '../base/brands.ts';
import { viewOf } from '../base/bytes.ts';
import { corrupt, isVarveError, VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import type { FileSeed } from '../codec/checksum.ts';
import { fileHeader } from '../format/file-header.ts';
import { filePath } from '../format/file-names.ts';
import { newerFormat } from '../format/format-ladder.ts';
import {
  frameBytes,
  frameHeaderBytes,
  frameTypes,
  lastSeqOf,
  logFrame,
  mayBeFrame,
  type ReadFrame,
  readFrame,
} from '../format/log-frame.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import type { LogHistory, LogSpan } from './log-history.ts';
import { checkHeader, firstFrameOffset } from './log-reader.ts';

const pieceBytes = 256 * KiB;

/** A frame; its payload is buf[payloadFrom..payloadTo), borrowed until the next one is asked for. */
export interface TailFrame extends ReadFrame {
  readonly path: string;
  /** Offset of buf[0] in the file. */
  readonly at: number;
  readonly buf: Uint8Array;
}

interface Place {
  readonly span: LogSpan;
  readonly file: FsFile;
  readonly seed: FileSeed;
  offset: number;
}

/** One reader. One call at a time; `close` when done. */
export class LogTail {
  readonly #fs: FsPort;
  readonly #history: LogHistory;
  readonly #dbUuid: Uint8Array;
  #place: Place | undefined;
  /** Everything up to here was given, or lies below what was asked for. */
  #seq: Seq;
  #isClosed = false;
  #buf = new Uint8Array(pieceBytes);
  /**
   * buf[0..filled) are bytes of the file from `start` on, all of them from when `filledSeq` was published.
   */
  #start = 0;
  #filled = 0;
  #filledSeq: Seq = 0;

  /** Frames with numbers above `since`. */
  constructor(fs: FsPort, history: LogHistory, dbUuid: Uint8Array, since: Seq) {
    this.#fs = fs;
    this.#history = history;
    this.#dbUuid = dbUuid;
    this.#seq = since;
  }

  /** The last number given. */
  get seq(): Seq {
    return this.#seq;
  }

  /**
   * The next frame, which may begin at or below the number asked for; undefined when everything up to
   * `published` was given. VARVE_HISTORY_GONE when frames that are due are not kept any more, VARVE_CORRUPT
   * when one is damaged.
   */
  async next(published: Seq): Promise<TailFrame | undefined> {
    while (this.#seq < published) {
      const place = this.#place ?? (await this.#find());
      const { span } = place;
      if (this.#seq + 1 === span.openSeq) {
        this.#seq++;
        continue;
      }
      if (span.end !== undefined && (place.offset >= span.end || this.#seq >= span.lastSeq!)) {
        await this.#turn(span);
        continue;
      }
      const frame = await this.#frameAt(place, published);
      if (frame.type === frameTypes.open) continue;
      const last = lastSeqOf(frame);
      // What the next file repeats counts there.
      if (last <= this.#seq || (span.lastSeq !== undefined && last > span.lastSeq)) continue;
      if (frame.seqFirst > this.#seq + 1) {
        throw corrupt('log frames are missing', { file: frame.path, offset: frame.at + frame.payloadFrom });
      }
      this.#seq = last;
      return frame;
    }
    return undefined;
  }

  /** Gives the file back. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#leave();
  }

  async #leave(): Promise<void> {
    const place = this.#place;
    this.#place = undefined;
    if (place === undefined) return;
    this.#history.release(place.span.no);
    await place.file.close();
  }

  async #find(): Promise<Place> {
    const spans = await this.#history.spans();
    const span = spans.findLast(({ firstSeq }) => firstSeq <= this.#seq + 1);
    if (span === undefined) throw gone(this.#seq, spans[0]?.firstSeq);
    return await this.#open(span);
  }

  async #turn(span: LogSpan): Promise<void> {
    if (this.#seq < span.lastSeq!) {
      const place = { file: filePath('wal', span.no), offset: span.end! };
      throw corrupt('log file ends before its last number', place, span.lastSeq, this.#seq);
    }
    const next = await this.#history.after(span.no);
    await this.#leave();
    if (next === undefined) throw gone(this.#seq, undefined);
    await this.#open(next);
  }

  async #open(span: LogSpan): Promise<Place> {
    const path = filePath('wal', span.no);
    this.#history.hold(span.no);
    let file: FsFile;
    try {
      file = await this.#fs.open(path, 'read');
    } catch (error) {
      this.#history.release(span.no);
      if (isVarveError(error, 'VARVE_IO') && error.errno === 'ENOENT') throw gone(this.#seq, undefined);
      throw error;
    }
    try {
      const head = new Uint8Array(fileHeader.size);
      const got = await file.read(head, 0);
      const { seed, error } = checkHeader(head.subarray(0, got), { no: span.no, dbUuid: this.#dbUuid }, path);
      if (seed === undefined) throw error ?? corrupt('log header is damaged', { file: path, offset: 0 });
      this.#filled = 0;
      this.#place = { span, file, seed, offset: firstFrameOffset };
      if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the reading has ended');
      return this.#place;
    } catch (error) {
      if (this.#place !== undefined) await this.#leave();
      else {
        this.#history.release(span.no);
        await file.close();
      }
      throw error;
    }
  }

  /** The frame at the place, which then stands behind it. It was published, so it is whole. */
  async #frameAt(place: Place, published: Seq): Promise<TailFrame> {
    const { file, seed, offset } = place;
    const path = file.path;
    await this.#need(place, frameHeaderBytes, published);
    const at = offset - this.#start;
    const damaged = (): VarveError => corrupt('log frame is damaged', { file: path, offset });
    if (this.#filled - at < frameHeaderBytes) throw damaged();
    const view = viewOf(this.#buf);
    if (!mayBeFrame(view, at)) throw damaged();
    const total = frameBytes(view.getUint32(at + logFrame.at.payloadLen, true));
    await this.#need(place, total, published);
    const from = offset - this.#start;
    const verdict = readFrame(this.#buf, from, this.#filled, seed, offset);
    if (!verdict.ok && verdict.reason === 'flags') {
      throw newerFormat('a log frame is of a form unknown to this build', { file: path, offset });
    }
    const frame = verdict.ok ? verdict : verdict.frame;
    if (frame === undefined) throw damaged();
    place.offset = offset + total;
    return { ...frame, path, at: this.#start, buf: this.#buf };
  }

  /** Bytes read before `published` was may be those of a frame in the making. */
  async #need({ file, offset, span }: Place, bytes: number, published: Seq): Promise<void> {
    const isThere = offset >= this.#start && offset + bytes <= this.#start + this.#filled;
    if (isThere && this.#seq < this.#filledSeq) return;
    if (this.#buf.length < bytes || this.#buf.length > 2 * Math.max(bytes, pieceBytes)) {
      this.#buf = new Uint8Array(Math.max(bytes, pieceBytes));
    }
    this.#filled = 0;
    const most = span.end === undefined ? this.#buf.length : Math.min(this.#buf.length, span.end - offset);
    let filled = 0;
    while (filled < most) {
      const got = await file.read(this.#buf.subarray(filled, most), offset + filled);
      if (got === 0) break;
      filled += got;
    }
    this.#start = offset;
    this.#filled = filled;
    this.#filledSeq = published;
  }
}

function gone(since: Seq, from: Seq | undefined): VarveError {
  const what = from === undefined ? 'they are not kept any more' : `they are kept from ${from} on`;
  return new VarveError('VARVE_HISTORY_GONE', `commits behind ${since} were asked for; ${what}`, {
    expected: since + 1,
    ...(from === undefined ? {} : { actual: from }),
  });
}
