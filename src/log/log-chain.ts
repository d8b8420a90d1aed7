/**
 * The log as recovery reads it: the files that chain to the newest one, and for every stretch of bytes that
 * is no frame the decision between a torn tail (expected after a crash, ignored) and damage (something that
 * was on disk is gone: the store opens degraded, and every valid frame behind it is still listed).
 *
 * A stretch in the newest file is a torn tail when the file is not sealed and no frame says that the number
 * missing there had reached the disk. An older file ends exactly where the next one says: a tail that was cut
 * once never comes back.
 *
 * Invariants (test/log/log-chain.test.ts, test/log/log-crash.test.ts):
 * - no frame that was synced is ever left out without being named in `damage`;
 * - frames come in rising order of their numbers, each once;
 * - nothing is written or removed.
 */
import { assert } from '../base/assert.ts';
import type { FileNo, Seq } from '../base/brands.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import { type Catalog, firstLogNo } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { type FrameFields, frameBytes, lastSeqOf, readFrame } from '../format/log-frame.ts';
import { durabilityCodes } from '../format/log-ops.ts';
import type { SuperSlot } from '../format/superblock.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import { type ChainReading, type LogChainOptions, type LogDamage, readChain } from './log-chain-scan.ts';
import { type LogFile, linkLogFiles, listLogFiles } from './log-files.ts';
import type { LogFrameList } from './log-frame-list.ts';
import type { LogFrame } from './log-reader.ts';
import { LogWindow } from './log-window.ts';
import type { LogFrameBytes } from './log-writer.ts';

/** What a new log file says of the one before it, and what it repeats. */
export interface LogResume {
  readonly prevFileNo: FileNo;
  readonly prevEndOffset: number;
  readonly prevLastSeq: Seq;
  /** Last number taken: the new file's OPEN takes the next one. */
  readonly lastSeq: Seq;
  /** Frames not proven durable, to be written into the new file: `frames` from this index to `tailTo`. */
  readonly tailFrom: number;
  readonly tailTo: number;
}

export class LogChain {
  /** Every frame to apply, in order; OPEN frames are not among them. */
  readonly frames: LogFrameList;
  /** The newest file and the end of its last good frame; 0 when there is no log. */
  readonly lastNo: FileNo;
  readonly lastEnd: number;
  /** Highest number of any kept frame, OPEN included. */
  readonly lastSeq: Seq;
  /** Highest number some frame proves to be on disk. */
  readonly durableSeq: Seq;
  /** Commit time of the last frame; 0 when there is none. */
  readonly lastTimeMs: number;
  /** Highest in any OPEN. */
  readonly writerEpoch: number;
  /** Durability of the newest OPEN (durabilityCodes); undefined without one. */
  readonly durability: number | undefined;
  /** Number of the newest OPEN: its file repeats the frames below from files before it. 0 without one. */
  readonly openSeq: Seq;
  readonly torn: { readonly file: string; readonly offset: number } | undefined;
  readonly sealed: boolean;
  readonly damage: readonly LogDamage[];
  /** Damage that loses nothing: padding, a file header, numbers below the checkpoint. */
  readonly problems: readonly VarveError[];
  /** Highest number of any log file, valid or not; 0 without one. */
  readonly highestNo: FileNo;
  readonly #fs: FsPort;
  readonly #files: Map<FileNo, LogFile>;
  readonly #newest: LogFile | undefined;
  readonly #reading: ChainReading;
  readonly #checkpointSeq: Seq;
  #current: { no: FileNo; file: FsFile; window: LogWindow } | undefined;

  constructor(fs: FsPort, files: readonly LogFile[], reading: ChainReading, checkpointSeq: Seq) {
    this.#fs = fs;
    this.#files = new Map(files.map((file) => [file.no, file]));
    this.#newest = reading.newest;
    this.#reading = reading;
    this.#checkpointSeq = checkpointSeq;
    this.frames = reading.frames;
    this.lastNo = reading.newest?.no ?? 0;
    this.lastEnd = reading.lastEnd;
    this.lastSeq = reading.lastSeq;
    this.durableSeq = reading.durableSeq;
    this.lastTimeMs = reading.lastTimeMs;
    this.writerEpoch = files.reduce((epoch, { open }) => Math.max(epoch, open?.writerEpoch ?? 0), 0);
    this.durability = reading.newest?.open?.durability;
    this.openSeq = reading.newest?.openSeq ?? 0;
    this.torn = reading.torn;
    this.sealed = reading.sealed;
    this.damage = reading.damage;
    this.problems = reading.problems;
    this.highestNo = files.at(-1)?.no ?? 0;
  }

  /**
   * True for a frame that may name chunks that never reached the disk: written by a life that did not sync
   * them first, and not proven since. Repeated in the file of a later life it is none of that life's.
   */
  isUnproven(frame: FrameFields): boolean {
    if (lastSeqOf(frame) <= this.durableSeq) return false;
    const isFull = (this.durability ?? durabilityCodes.full) === durabilityCodes.full;
    return !isFull || frame.seqFirst < this.openSeq;
  }

  /**
   * The payload of a listed frame, borrowed until the next call. Read and checked again: VARVE_CORRUPT when
   * it no longer validates. Reading frames in order costs one read per few MiB. One call at a time.
   */
  async readPayload(frame: LogFrame): Promise<Uint8Array> {
    const window = await this.#windowOf(frame.fileNo);
    const total = frameBytes(frame.payloadLen);
    await window.need(frame.offset, total);
    const at = frame.offset - window.start;
    const seed = this.#files.get(frame.fileNo)?.seed;
    // The disk gave another header to the look before than to the scan that found the frame.
    if (seed === undefined)
      throw corrupt('log header was unreadable at first', { file: frame.path, offset: 0 });
    const found = readFrame(window.buf, at, Math.min(at + total, window.filled), seed, frame.offset);
    const whole = found.ok ? found : found.frame;
    if (whole === undefined)
      throw corrupt('log frame no longer validates', { file: frame.path, offset: frame.offset });
    return window.buf.subarray(whole.payloadFrom, whole.payloadTo);
  }

  /** Frames `from..to` with their payloads, for LogWriter.create. */
  async *tail(from: number, to: number): AsyncGenerator<LogFrame & LogFrameBytes> {
    for (let i = from; i < to; i++) {
      const frame = this.frames.at(i);
      yield { ...frame, payload: await this.readPayload(frame) };
    }
  }

  /**
   * How the next log file continues. `upTo` cuts the log before frame `upTo` (its chunks never reached the
   * disk; not in 'full' mode). VARVE_CORRUPT when that frame lies before the newest file: rotation made it
   * durable, so its chunks are damage, not a torn tail. Not to be called on a damaged chain.
   */
  resume(upTo: number = this.frames.length): LogResume {
    assert(this.damage.length === 0, 'a damaged log is not continued');
    const newest = this.#newest;
    const { open } = newest ?? {};
    if (newest === undefined || open === undefined) {
      const prevLastSeq = this.#checkpointSeq;
      return { prevFileNo: 0, prevEndOffset: 0, prevLastSeq, lastSeq: prevLastSeq, tailFrom: 0, tailTo: 0 };
    }
    const first = this.#reading.newestFrom;
    if (upTo < first)
      throw corrupt('a log file that rotation made durable cannot be cut', {
        file: this.frames.at(upTo).path,
      });
    const skipOpen = (seq: Seq): Seq => (seq === newest.openSeq ? seq + 1 : seq);
    let end = this.#reading.newestStart;
    let next = skipOpen(Math.max(open.firstSeq, this.#reading.newestSkippedSeq + 1));
    let tailFrom = first;
    for (; tailFrom < upTo; tailFrom++) {
      const frame = this.frames.at(tailFrom);
      if (lastSeqOf(frame) > this.durableSeq) break;
      end = endOf(frame);
      next = skipOpen(lastSeqOf(frame) + 1);
    }
    const last = upTo > first ? this.frames.at(upTo - 1) : undefined;
    if (!this.#reading.openProven) {
      // OPEN itself may not be on disk: everything in this file goes into the new one, which skips it.
      const { prevFileNo, prevEndOffset, prevLastSeq } = open;
      const lastSeq = last === undefined ? prevLastSeq : lastSeqOf(last);
      return { prevFileNo, prevEndOffset, prevLastSeq, lastSeq, tailFrom: first, tailTo: upTo };
    }
    const lastSeq = Math.max(next - 1, newest.openSeq, last === undefined ? 0 : lastSeqOf(last));
    return {
      prevFileNo: newest.no,
      prevEndOffset: end,
      prevLastSeq: next - 1,
      lastSeq,
      tailFrom,
      tailTo: upTo,
    };
  }

  /** Closes the file that payloads are read from. */
  async close(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    if (current !== undefined) await current.file.close();
  }

  async #windowOf(no: FileNo): Promise<LogWindow> {
    if (this.#current?.no === no) return this.#current.window;
    await this.close();
    const file = await this.#fs.open(filePath('wal', no), 'read');
    try {
      const window = new LogWindow(file, await file.size());
      this.#current = { no, file, window };
      return window;
    } catch (error) {
      await file.close();
      throw error;
    }
  }
}

/** How an open of the store that `slot` and `catalog` describe reads its log. */
export function logOf(slot: SuperSlot, catalog: Catalog): LogChainOptions {
  const { no: catalogNo, walFirstNo, checkpointSeq } = catalog;
  const closed = slot.cleanShutdown ? { closedEpoch: slot.writerEpoch } : {};
  return { dbUuid: slot.dbUuid, walFirstNo, catalogNo, checkpointSeq, ...closed };
}

/**
 * Reads the log for recovery; nothing is changed. Memory: 48 B per frame and one window of a few MiB. Damage
 * is in the result; VARVE_FORMAT_VERSION when a file is of a newer format, VARVE_IO when one cannot be read.
 */
export async function readLogChain(fs: FsPort, options: LogChainOptions): Promise<LogChain> {
  const { dbUuid, walFirstNo, catalogNo } = options;
  const files = await listLogFiles(fs, dbUuid, firstLogNo({ walFirstNo, no: catalogNo }));
  const links = await linkLogFiles(fs, files, options.checkpointSeq);
  const reading = await readChain(fs, links, options);
  return new LogChain(fs, files, reading, options.checkpointSeq);
}

function endOf(frame: FrameFields & { offset: number; payloadLen: number }): number {
  return frame.offset + frameBytes(frame.payloadLen);
}
