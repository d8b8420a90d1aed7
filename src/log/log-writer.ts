/**
 * Writer of one log file. Files are made by recovery and rotation and never appended to by a later opening.
 *
 * Invariants (test/log/log-writer.test.ts):
 * - a file counts from the moment its OPEN frame is on disk, and that frame is written after everything the
 *   file repeats from older ones is synced ("a crash at any step of create loses nothing that was
 *   acknowledged");
 * - numbers in a file are contiguous ("append asserts ...");
 * - after a failed write or sync nothing is written any more ("a failed sync poisons the writer").
 */
import { assert } from '../base/assert.ts';
import type { FileNo, Seq } from '../base/brands.ts';
import { VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { FileSeed } from '../codec/checksum.ts';
import { encodeLayout } from '../codec/layout.ts';
import { encodeFileHeader, fileHeader } from '../format/file-header.ts';
import { fileDir, filePath } from '../format/file-names.ts';
import {
  type FrameFields,
  frameBytes,
  frameHeaderBytes,
  frameTypes,
  lastSeqOf,
  sealFrame,
} from '../format/log-frame.ts';
import { type OpenFields, openPayload } from '../format/log-ops.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import { firstFrameOffset, secondFrameOffset } from './log-reader.ts';

/**
 * Frames up to this size are written on the calling thread: 0.6 us against 38 us through the pool for 200 B.
 */
export const syncWriteBytesMax: number = 64 * KiB;

/** A frame that is written again into a new file, under its old numbers. */
export interface LogFrameBytes extends FrameFields {
  /** Borrowed until the next one is asked for. */
  readonly payload: Uint8Array;
}

export interface NewLog {
  readonly no: FileNo;
  readonly dbUuid: Uint8Array;
  /** 12 random bytes. */
  readonly salt: Uint8Array;
  /** Frames of older files that are not proven durable, in order; their numbers begin at open.firstSeq. */
  readonly tail?: Iterable<LogFrameBytes> | AsyncIterable<LogFrameBytes>;
  readonly open: OpenFields;
  /** Number the OPEN frame takes: the one after every number of the tail. */
  readonly openSeq: Seq;
  readonly commitTimeMs: number;
  /** At least open.prevLastSeq; with a tail, its last number when the segments it names are synced too. */
  readonly durableSeq: Seq;
}

export class LogWriter {
  readonly no: FileNo;
  readonly path: string;
  readonly #file: FsFile;
  readonly #seed: FileSeed;
  #end: number;
  #lastSeq: Seq;
  #writing = false;
  #sealed = false;
  #failure: unknown;

  private constructor(file: FsFile, log: NewLog, end: number) {
    this.no = log.no;
    this.path = file.path;
    this.#file = file;
    this.#seed = new FileSeed(log.salt);
    this.#end = end;
    this.#lastSeq = log.openSeq;
  }

  /**
   * Makes `wal/<no>` with its header, the tail and OPEN; all of it is durable, name included, when this
   * resolves. VARVE_IO with errno EEXIST when the number is taken. After any other rejection the file is
   * emptied and removed: a part of an OPEN frame left behind a tail would look like one that was damaged.
   */
  static async create(fs: FsPort, log: NewLog): Promise<LogWriter> {
    assert(log.open.firstSeq === log.open.prevLastSeq + 1, 'a log begins behind the file before it');
    assert(log.durableSeq >= log.open.prevLastSeq, 'the file before is on disk');
    const file = await fs.open(filePath('wal', log.no), 'create');
    try {
      const end = await writeStart(file, log);
      await fs.syncDir(fileDir('wal', log.no));
      return new LogWriter(file, log, end);
    } catch (error) {
      // What cannot be removed either is the next open's to judge: the caller must hear of the first failure.
      await Promise.allSettled([file.truncate(0)]);
      await Promise.allSettled([file.close()]);
      await Promise.allSettled([fs.unlink(file.path)]);
      throw error;
    }
  }

  /** Bytes of the file: where the next frame goes. */
  get end(): number {
    return this.#end;
  }

  /** Highest number in the file. */
  get lastSeq(): Seq {
    return this.#lastSeq;
  }

  /**
   * Appends a frame. `buf` has frameHeaderBytes of header space, the payload and room for padding to 8; it is
   * sealed in place and borrowed until the call, or the promise it returns, settles. Small frames are written
   * before it returns undefined. Handed to the kernel, not durable before `dataSync`. One append at a time.
   * VARVE_POISONED after an earlier failure.
   */
  append(buf: Uint8Array, payloadLen: number, header: FrameFields): Promise<void> | void {
    this.#refuseAfterFailure();
    assert(!this.#writing, 'one append at a time');
    assert(!this.#sealed, 'nothing follows SEAL');
    assert(header.seqFirst === this.#lastSeq + 1, 'numbers in a log are contiguous');
    const total = sealFrame(buf, 0, payloadLen, header, this.#seed, this.#end);
    const bytes = buf.subarray(0, total);
    if (total > syncWriteBytesMax) return this.#appendAsync(bytes, header);
    try {
      this.#file.writeSync(bytes, this.#end);
    } catch (error) {
      throw this.#fail(error);
    }
    this.#advance(total, header);
  }

  /**
   * Everything whose append had settled before the call is on disk when it resolves. May run beside an
   * append. A failure poisons the writer for ever.
   */
  async dataSync(): Promise<void> {
    this.#refuseAfterFailure();
    try {
      await this.#file.dataSync();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#refuseAfterFailure();
  }

  /** Ends the file with a SEAL frame: from now on a shorter file is damage. Durable when it resolves. */
  async seal(header: Omit<FrameFields, 'type' | 'count'>): Promise<void> {
    const written = this.append(new Uint8Array(frameHeaderBytes), 0, {
      ...header,
      type: frameTypes.seal,
      count: 1,
    });
    if (written !== undefined) await written;
    this.#sealed = true;
    try {
      await this.#file.sync();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  /** Closes the file; syncs nothing. */
  async close(): Promise<void> {
    await this.#file.close();
  }

  async #appendAsync(bytes: Uint8Array, header: FrameFields): Promise<void> {
    this.#writing = true;
    try {
      await this.#file.write(bytes, this.#end);
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#writing = false;
    }
    this.#advance(bytes.length, header);
  }

  #advance(total: number, header: FrameFields): void {
    this.#end += total;
    this.#lastSeq = lastSeqOf(header);
  }

  #fail(error: unknown): unknown {
    this.#failure ??= error;
    return error;
  }

  #refuseAfterFailure(): void {
    if (this.#failure === undefined) return;
    throw new VarveError('VARVE_POISONED', `${this.path}: an earlier write or sync failed`, {
      file: this.path,
      cause: this.#failure,
    });
  }
}

/**
 * Header and tail, sync, then OPEN, sync. Without a tail one write and one sync do. Returns the file's end.
 */
async function writeStart(file: FsFile, log: NewLog): Promise<number> {
  const { no, dbUuid, salt } = log;
  const seed = new FileSeed(salt);
  const start = new Uint8Array(secondFrameOffset);
  start.set(encodeFileHeader({ kind: 'wal', subKind: 0, fileNo: no, dbUuid, salt }));
  let end = secondFrameOffset;
  const repeats = log.openSeq > log.open.firstSeq;
  if (repeats) {
    await file.write(start.subarray(0, fileHeader.size), 0);
    end = await writeTail(file, log, seed);
    await file.sync();
  } else assert(log.openSeq === log.open.firstSeq, 'OPEN takes a number of its own file');
  encodeLayout(openPayload, { ...log.open }, start, firstFrameOffset + frameHeaderBytes);
  const header = {
    type: frameTypes.open,
    seqFirst: log.openSeq,
    count: 1,
    commitTimeMs: log.commitTimeMs,
    durableSeq: log.durableSeq,
  };
  sealFrame(start, firstFrameOffset, openPayload.size, header, seed, firstFrameOffset);
  const from = repeats ? firstFrameOffset : 0;
  await file.write(start.subarray(from), from);
  await file.sync();
  return end;
}

/**
 * The frames between OPEN's place and the end. Numbers that no frame of the tail takes (OPEN frames of older
 * files, frames that were cut) are covered by NOOP, so that the numbers of a file have no hole.
 */
async function writeTail(file: FsFile, log: NewLog, seed: FileSeed): Promise<number> {
  let end = secondFrameOffset;
  let next = log.open.firstSeq;
  let buf = new Uint8Array(syncWriteBytesMax);
  const put = async (frame: FrameFields, payloadLen: number): Promise<void> => {
    const total = sealFrame(buf, 0, payloadLen, frame, seed, end);
    await file.write(buf.subarray(0, total), end);
    end += total;
    next = lastSeqOf(frame) + 1;
  };
  const fill = async (upTo: Seq, commitTimeMs: number): Promise<void> => {
    if (upTo <= next) return;
    const covered = { type: frameTypes.noop, seqFirst: next, count: upTo - next };
    await put({ ...covered, commitTimeMs, durableSeq: log.open.prevLastSeq }, 0);
  };
  for await (const frame of log.tail ?? []) {
    assert(frame.seqFirst >= next && lastSeqOf(frame) < log.openSeq, 'tail is in order and before OPEN');
    assert(frame.type !== frameTypes.open, 'OPEN is not repeated');
    await fill(frame.seqFirst, frame.commitTimeMs);
    const { payload } = frame;
    const total = frameBytes(payload.length);
    if (buf.length < total) buf = new Uint8Array(total);
    buf.set(payload, frameHeaderBytes);
    // The seal of an older file is not the end of this one: it keeps its number and nothing else.
    await put(frame.type === frameTypes.seal ? { ...frame, type: frameTypes.noop } : frame, payload.length);
  }
  await fill(log.openSeq, log.commitTimeMs);
  return end;
}
