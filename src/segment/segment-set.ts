/**
 * The live segments: finds the frame a place names, in the write buffer of an open segment or on disk, with a
 * bounded number of open files.
 *
 * Invariants (test/segment/segment-set.test.ts):
 * - a file is never closed under a read: "a handle in use is not closed under its read";
 * - at most `handlesMax` files stay open once reads have ended: "open handles stay within their bound";
 * - what is read equals what was appended, whether buffered, written or sealed: "frames read equal frames
 *   appended, through every state of a segment";
 * - damage never passes for a stale hint: "every bit flip of a sealed segment is detected".
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { corrupt, invalid, isVarveError, VarveError } from '../base/errors.ts';
import { deferred } from '../base/sync.ts';
import { chunkFrame, chunkFrameError } from '../format/chunk-frame.ts';
import { filePath } from '../format/file-names.ts';
import { type SealedSegment, segmentDataFrom, type Trailer, TrailerBuilder } from '../format/segment.ts';
import type { FsPort } from '../fs/port.ts';
import { type FrameRun, framesIn, fromBuffer, SegmentReader } from './segment-reader.ts';
import { scanSegment } from './segment-scan.ts';
import type { SegmentWriter } from './segment-writer.ts';

/** Segment files kept open for reading. */
export const segmentHandlesMax = 128;

export interface SegmentSetOptions {
  readonly dbUuid: Uint8Array;
  /** Open files kept when no read needs them; `segmentHandlesMax` when not given, at least 1. */
  readonly handlesMax?: number;
  /** Told of damage that does not fail the call it was found in: headers, trailers; and of failed closes. */
  readonly onDamage: (error: unknown) => void;
}

interface Entry {
  readonly no: FileNo;
  sealed: SealedSegment | undefined;
  writer: SegmentWriter | undefined;
  reader: SegmentReader | undefined;
  opening: Promise<SegmentReader> | undefined;
  /** Calls that use it now. */
  users: number;
  /** When it was last used, in uses of the set. */
  lastUse: number;
  /** Called when the last user of a removed entry has gone. */
  idle: (() => void) | undefined;
}

export class SegmentSet {
  readonly #fs: FsPort;
  readonly #options: SegmentSetOptions;
  readonly #handlesMax: number;
  readonly #entries = new Map<FileNo, Entry>();
  /** Entries with an open file. */
  readonly #open = new Set<Entry>();
  readonly #closing = new Set<Promise<void>>();
  #uses = 0;
  #closed = false;

  constructor(fs: FsPort, options: SegmentSetOptions) {
    this.#fs = fs;
    this.#options = options;
    this.#handlesMax = options.handlesMax ?? segmentHandlesMax;
    if (!Number.isInteger(this.#handlesMax) || this.#handlesMax < 1)
      throw invalid('handlesMax is at least 1');
  }

  /** Files open for reading now. */
  get openHandles(): number {
    return this.#open.size;
  }

  has(no: FileNo): boolean {
    return this.#entries.has(no);
  }

  /** Adds a segment that is on disk: with what the catalog says of it, or nothing where it is not sealed. */
  add(no: FileNo, sealed?: SealedSegment): void {
    assert(!this.#entries.has(no), 'segment is added once');
    this.#add(no, sealed, undefined);
  }

  /** Adds a segment that is being written, whose frames are readable from the moment they are appended. */
  addWriter(writer: SegmentWriter): void {
    assert(!this.#entries.has(writer.no), 'segment is added once');
    this.#add(writer.no, undefined, writer);
  }

  /** The segment's writer has sealed it and is not asked for frames any more. */
  seal(no: FileNo, sealed: SealedSegment): void {
    const entry = this.#entries.get(no);
    assert(entry !== undefined, 'a live segment is sealed');
    entry.sealed = sealed;
    entry.writer = undefined;
  }

  /**
   * Takes a segment out: reads that have begun end well, later ones find no such segment. Resolves when its
   * file is closed here and may be unlinked. A segment that is not in the set is fine.
   */
  async remove(no: FileNo): Promise<void> {
    const entry = this.#entries.get(no);
    if (entry === undefined) return;
    this.#entries.delete(no);
    await this.#retire(entry);
  }

  /**
   * Payload of the chunk frame at `off8` of `segment`, checked, the caller's own. Undefined when there is no
   * such segment or the frame there is not `expectId`'s: the place is out of date. VARVE_CORRUPT with file
   * and offset when the segment is there and no whole frame of that length is; VARVE_FORMAT_VERSION,
   * VARVE_IO, VARVE_CLOSED.
   */
  async readFrame(
    segment: FileNo,
    off8: number,
    storedLen: number,
    expectId?: Uint8Array,
  ): Promise<Uint8Array | undefined> {
    const entry = this.#find(segment);
    if (entry === undefined) return undefined;
    const buffered = entry.writer?.buffered(off8 * 8);
    if (buffered !== undefined) return fromBuffer(buffered, entry.no, off8, storedLen, expectId);
    return this.#use(entry, (reader) => reader.readFrame(off8, storedLen, expectId));
  }

  /** `readFrame` on the calling thread; opens the file there too. */
  readFrameSync(
    segment: FileNo,
    off8: number,
    storedLen: number,
    expectId?: Uint8Array,
  ): Uint8Array | undefined {
    const entry = this.#find(segment);
    if (entry === undefined) return undefined;
    const buffered = entry.writer?.buffered(off8 * 8);
    if (buffered !== undefined) return fromBuffer(buffered, entry.no, off8, storedLen, expectId);
    entry.users++;
    try {
      const reader = entry.reader ?? this.#openSync(entry);
      entry.lastUse = ++this.#uses;
      return reader.readFrameSync(off8, storedLen, expectId);
    } finally {
      this.#unuse(entry);
    }
  }

  /**
   * The whole frames from `off8From` on within the next `bytes` bytes, at least one, in one read: for reading
   * ahead, into `into` where it is given and long enough. Ends early before damage, which is reported when
   * that frame itself is asked for. Undefined when there is no such segment; errors as `readFrame`.
   */
  async readFrames(
    segment: FileNo,
    off8From: number,
    bytes: number,
    into?: Uint8Array,
  ): Promise<FrameRun | undefined> {
    const entry = this.#find(segment);
    if (entry === undefined) return undefined;
    const path = filePath('seg', entry.no);
    const offset = off8From * 8;
    const buffered = entry.writer?.buffered(offset);
    if (buffered !== undefined) {
      const copy = buffered.slice(0, Math.max(bytes, chunkFrame.size));
      const run = framesIn(copy, copy.length, path, offset);
      if (typeof run !== 'number') return run;
      const whole = buffered.slice(0, run);
      const first = framesIn(whole, whole.length, path, offset);
      if (typeof first === 'number') throw chunkFrameError('cut off', path, offset);
      return first;
    }
    const limit = dataEnd(entry);
    if (offset < segmentDataFrom || offset >= limit)
      throw corrupt('no chunk frame here', { file: path, offset });
    return this.#use(entry, (reader) => reader.readFrames(off8From, bytes, limit, into));
  }

  /**
   * Bytes of the frames of a segment from `offset` on into `into`, unchecked: for callers who know what must
   * lie there and hold it against that. How many there were, which is fewer at the end of the frames; 0 when
   * there is no such segment. Errors as `readFrame`.
   */
  async readBytes(segment: FileNo, offset: number, into: Uint8Array): Promise<number> {
    const entry = this.#find(segment);
    if (entry === undefined) return 0;
    let got = 0;
    while (got < into.length) {
      const buffered = entry.writer?.buffered(offset + got);
      if (buffered !== undefined) {
        const length = Math.min(buffered.length, into.length - got);
        into.set(buffered.subarray(0, length), got);
        got += length;
        continue;
      }
      const to = Math.min(into.length, dataEnd(entry) - offset);
      if (to <= got) break;
      const at = got;
      const read = await this.#use(entry, (reader) => reader.readBytes(offset + at, into.subarray(at, to)));
      if (read === 0) break;
      got += read;
    }
    return got;
  }

  /**
   * The frames of a segment in append order. Where trailer or footer is damaged the error goes to `onDamage`
   * and the frames are read instead. VARVE_NOT_FOUND when there is no such segment; VARVE_FORMAT_VERSION,
   * VARVE_IO, VARVE_CLOSED, and VARVE_CORRUPT when the file is missing.
   */
  async readTrailer(segment: FileNo): Promise<Trailer> {
    const entry = this.#find(segment);
    if (entry === undefined) throw new VarveError('VARVE_NOT_FOUND', `segment ${segment} is not live`);
    if (entry.writer !== undefined) return entry.writer.trailer();
    const { sealed } = entry;
    return this.#use(entry, async (reader) => {
      if (sealed === undefined) return this.#scanTrailer(entry.no, undefined);
      try {
        return await reader.readTrailer(sealed);
      } catch (error) {
        if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
        if (error !== reader.headerDamage) this.#options.onDamage(error);
        return this.#scanTrailer(entry.no, sealed);
      }
    });
  }

  /**
   * Checks size, header and footer of a sealed segment. VARVE_NOT_FOUND, else errors as
   * `SegmentReader.checkSealed`.
   */
  async checkSealed(segment: FileNo): Promise<void> {
    const entry = this.#find(segment);
    const sealed = entry?.sealed;
    if (entry === undefined || sealed === undefined)
      throw new VarveError('VARVE_NOT_FOUND', `no live sealed segment ${segment}`);
    await this.#use(entry, (reader) => reader.checkSealed(sealed));
  }

  /**
   * Refuses new calls, waits for those under way and closes every file. Writers are their owners' to close.
   */
  async close(): Promise<void> {
    this.#closed = true;
    const entries = Array.from(this.#entries.values());
    this.#entries.clear();
    await Promise.all(entries.map((entry) => this.#retire(entry)));
    await Promise.all(this.#closing);
  }

  #add(no: FileNo, sealed: SealedSegment | undefined, writer: SegmentWriter | undefined): void {
    this.#entries.set(no, {
      no,
      sealed,
      writer,
      reader: undefined,
      opening: undefined,
      users: 0,
      lastUse: 0,
      idle: undefined,
    });
  }

  #find(no: FileNo): Entry | undefined {
    if (this.#closed) throw new VarveError('VARVE_CLOSED', 'the segments are closed');
    return this.#entries.get(no);
  }

  /** Runs `work` on the entry's open file, which stays open meanwhile. */
  async #use<T>(entry: Entry, work: (reader: SegmentReader) => Promise<T>): Promise<T> {
    entry.users++;
    try {
      const reader = entry.reader ?? (await this.#openOnce(entry));
      entry.lastUse = ++this.#uses;
      return await work(reader);
    } finally {
      this.#unuse(entry);
    }
  }

  #unuse(entry: Entry): void {
    entry.users--;
    if (entry.users === 0) entry.idle?.();
    this.#trim();
  }

  #openOnce(entry: Entry): Promise<SegmentReader> {
    entry.opening ??= SegmentReader.open(this.#fs, entry.no, this.#options.dbUuid)
      .then((reader) => this.#opened(entry, reader))
      .finally(() => {
        entry.opening = undefined;
      });
    return entry.opening;
  }

  #openSync(entry: Entry): SegmentReader {
    return this.#opened(entry, SegmentReader.openSync(this.#fs, entry.no, this.#options.dbUuid));
  }

  #opened(entry: Entry, reader: SegmentReader): SegmentReader {
    if (entry.reader !== undefined) {
      // A synchronous read has opened the file while this one was on its way.
      this.#closeSoon(reader);
      return entry.reader;
    }
    entry.reader = reader;
    this.#open.add(entry);
    if (reader.headerDamage !== undefined) this.#options.onDamage(reader.headerDamage);
    return reader;
  }

  /** Closes the files unused for longest, down to the bound; those in use stay. */
  #trim(): void {
    while (this.#open.size > this.#handlesMax) {
      let oldest: Entry | undefined;
      for (const entry of this.#open) {
        if (entry.users === 0 && entry.lastUse < (oldest?.lastUse ?? Infinity)) oldest = entry;
      }
      if (oldest?.reader === undefined) return;
      this.#closeSoon(oldest.reader);
      this.#forget(oldest);
    }
  }

  #forget(entry: Entry): void {
    entry.reader = undefined;
    this.#open.delete(entry);
  }

  #closeSoon(reader: SegmentReader): void {
    const closing: Promise<void> = reader
      .close()
      .catch(this.#options.onDamage)
      .finally(() => {
        this.#closing.delete(closing);
      });
    this.#closing.add(closing);
  }

  async #retire(entry: Entry): Promise<void> {
    if (entry.users > 0) {
      const idle = deferred<void>();
      entry.idle = () => idle.resolve();
      await idle.promise;
    }
    const { reader } = entry;
    this.#forget(entry);
    await reader?.close();
    // The file may also be on its way out after a trim.
    await Promise.all(this.#closing);
  }

  async #scanTrailer(no: FileNo, sealed: SealedSegment | undefined): Promise<Trailer> {
    const { dbUuid, onDamage } = this.#options;
    const path = filePath('seg', no);
    const builder = new TrailerBuilder();
    const upTo = sealed === undefined ? undefined : segmentDataFrom + sealed.dataLen;
    let complete = true;
    const damaged = (error: VarveError): void => {
      complete = false;
      onDamage(error);
    };
    const scanned = await scanSegment(
      this.#fs,
      no,
      path,
      { dbUuid, upTo, onDamage: (_from, _to, error) => damaged(error) },
      (buf, _pos, frame, offset, resynced) => {
        if (resynced) return;
        builder.add(buf, frame.idAt, offset / 8, frame.storedLen, frame.rawLen, frame.kind, frame.codec);
      },
    );
    if (upTo !== undefined && scanned.limit < upTo) {
      const offset = scanned.limit;
      damaged(corrupt('segment is cut off', { file: path, offset }, upTo, offset));
    }
    return builder.toTrailer(complete);
  }
}

/** End of the frames that can be read from the file. */
function dataEnd(entry: Entry): number {
  if (entry.writer !== undefined) return entry.writer.writtenEnd;
  return entry.sealed === undefined ? Infinity : segmentDataFrom + entry.sealed.dataLen;
}
