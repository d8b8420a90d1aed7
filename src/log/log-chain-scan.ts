/** The scan behind log-chain.ts: walks the linked files once and decides what every gap means. */
import type { FileNo, Seq } from '../base/brands.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import { filePath } from '../format/file-names.ts';
import { frameTypes, lastSeqOf } from '../format/log-frame.ts';
import type { FsPort } from '../fs/port.ts';
import type { Link, LogFile } from './log-files.ts';
import { LogFrameList } from './log-frame-list.ts';
import { type FrameItem, firstFrameOffset, scanLog, secondFrameOffset } from './log-reader.ts';

/** Where reading starts and what it is to find. */
export interface LogChainOptions {
  readonly dbUuid: Uint8Array;
  /** Of the catalog: 0 = no log file was made yet. */
  readonly walFirstNo: FileNo;
  /** Of the catalog: where no log file was made yet, those with a lower number are not read. */
  readonly catalogNo: FileNo;
  /** Frames wholly at or below are skipped. */
  readonly checkpointSeq: Seq;
  /**
   * The store was closed cleanly by the writer of this epoch: the newest file must end with SEAL, unless a
   * later writer had begun it whose slot of SUPER is lost.
   */
  readonly closedEpoch?: number;
}

/** Something that was on disk and cannot be read. */
export interface LogDamage {
  readonly error: VarveError;
  readonly missingFrom: Seq;
  /** Undefined when nothing says where the missing range ends. */
  readonly missingTo: Seq | undefined;
}

export interface ChainReading {
  readonly frames: LogFrameList;
  readonly newest: LogFile | undefined;
  readonly lastEnd: number;
  readonly lastSeq: Seq;
  readonly durableSeq: Seq;
  readonly lastTimeMs: number;
  readonly torn: { file: string; offset: number } | undefined;
  readonly sealed: boolean;
  readonly damage: LogDamage[];
  readonly problems: VarveError[];
  /** Index of the newest file's first listed frame. */
  readonly newestFrom: number;
  /** Where that frame lies, or would. */
  readonly newestStart: number;
  /** Highest number in the newest file that was skipped for the checkpoint; 0 when none was. */
  readonly newestSkippedSeq: Seq;
  /** The newest file's OPEN frame is known to be on disk: something was appended after it. */
  readonly openProven: boolean;
}

/** Bytes that are no frame, or numbers that are nowhere. */
interface Hole {
  readonly error: VarveError;
  readonly offset: number;
  readonly missingFrom: Seq;
  missingTo: Seq | undefined;
  /** Frames listed before it. */
  readonly index: number;
  /** It hides the file's OPEN frame: damage even where no number is missing. */
  readonly ofOpen: boolean;
}

export async function readChain(
  fs: FsPort,
  links: readonly Link[],
  options: LogChainOptions,
): Promise<ChainReading> {
  const scan = new ChainScan(options);
  for (const link of links) await scan.file(fs, link);
  return scan.finish(links.at(-1));
}

class ChainScan {
  readonly #options: LogChainOptions;
  readonly #frames = new LogFrameList();
  readonly #damage: LogDamage[] = [];
  readonly #problems: VarveError[] = [];
  /** The next number that has not been seen. */
  #expected: Seq;
  #durableSeq: Seq;
  #lastTimeMs = 0;
  // Of the file being read, so at the end of the newest one.
  #openSeq: Seq = 0;
  #holes: Hole[] = [];
  #pending: Hole | undefined;
  #from = 0;
  #start = secondFrameOffset;
  #end = firstFrameOffset;
  #skippedSeq: Seq = 0;
  #sealedAt = -1;
  #openProven = false;

  constructor(options: LogChainOptions) {
    this.#options = options;
    this.#expected = options.checkpointSeq + 1;
    this.#durableSeq = options.checkpointSeq;
  }

  async file(fs: FsPort, link: Link): Promise<void> {
    this.#endOfUnlinked(link.file);
    for (const hole of this.#holes) this.#report(hole);
    this.#begin(link);
    const { file, end } = link;
    const { dbUuid } = this.#options;
    for await (const item of scanLog(fs, file.path, {
      no: file.no,
      dbUuid,
      ...(end === undefined ? {} : { to: end }),
    })) {
      if (item.kind === 'header') this.#problems.push(item.error);
      else if (item.kind === 'frame') this.#frame(item, link);
      else if (!this.#isDamagedOpen(file, item.from))
        this.#openHole(
          corrupt(`bytes are no log frame (${item.reason})`, { file: file.path, offset: item.from }),
          item.from,
        );
    }
    if (end !== undefined) this.#closeFile(link, end);
  }

  finish(last: Link | undefined): ChainReading {
    const newest = last?.file;
    this.#skipOpen();
    let torn: { file: string; offset: number } | undefined;
    if (newest !== undefined) torn = this.#decide(newest);
    const { walFirstNo } = this.#options;
    if (walFirstNo > 0 && (newest === undefined || newest.no < walFirstNo))
      this.#addDamage(
        corrupt('log file is missing', { file: filePath('wal', walFirstNo) }),
        this.#expected,
        undefined,
      );
    const sealed = this.#sealedAt >= 0 && torn === undefined;
    if (newest !== undefined && this.#mustBeSealed(newest) && !sealed && this.#damage.length === 0) {
      const error = corrupt('the log was closed cleanly and its end is missing', {
        file: newest.path,
        offset: this.#end,
      });
      this.#addDamage(error, this.#expected, undefined);
    }
    return {
      frames: this.#frames,
      newest,
      lastEnd: newest === undefined ? 0 : (torn?.offset ?? this.#end),
      lastSeq: this.#expected - 1,
      durableSeq: this.#durableSeq,
      lastTimeMs: this.#lastTimeMs,
      torn,
      sealed,
      damage: this.#damage,
      problems: this.#problems,
      newestFrom: this.#from,
      newestStart: this.#start,
      newestSkippedSeq: this.#skippedSeq,
      openProven: this.#openProven,
    };
  }

  /**
   * No OPEN says where the file before `next` ended: what is missing in its tail ends where `next` begins.
   */
  #endOfUnlinked(next: LogFile): void {
    this.#skipOpen();
    if (this.#pending === undefined || next.open === undefined) return;
    this.#closeHole(next.open.prevLastSeq);
    this.#expected = Math.max(this.#expected, next.open.firstSeq);
  }

  #begin({ file, missing }: Link): void {
    this.#frames.beginFile(file);
    this.#holes = [];
    this.#pending = undefined;
    this.#from = this.#frames.length;
    this.#start = secondFrameOffset;
    this.#end = firstFrameOffset;
    this.#skippedSeq = 0;
    this.#sealedAt = -1;
    this.#openProven = false;
    this.#openSeq = file.openSeq;
    if (file.open === undefined) {
      const damaged = corrupt('OPEN frame is damaged', { file: file.path, offset: firstFrameOffset });
      this.#openHole(file.headerError ?? damaged, firstFrameOffset, true);
    } else if (file.open.firstSeq > this.#expected) {
      const where = missing === undefined ? file.path : filePath('wal', missing);
      const what = missing === undefined ? 'the log before this file is missing' : 'log file is missing';
      this.#addDamage(corrupt(what, { file: where }), this.#expected, file.open.prevLastSeq);
      this.#expected = file.open.firstSeq;
    }
  }

  #isDamagedOpen(file: LogFile, from: number): boolean {
    return file.open === undefined && from === firstFrameOffset;
  }

  #frame({ frame, end, open, paddingDamaged }: FrameItem, link: Link): void {
    const { path } = link.file;
    const place = { file: path, offset: frame.offset };
    if (paddingDamaged) this.#problems.push(corrupt('padding of a log frame is not zero', place));
    this.#durableSeq = Math.max(this.#durableSeq, frame.durableSeq);
    this.#end = end;
    if (open !== undefined) {
      this.#lastTimeMs = Math.max(this.#lastTimeMs, frame.commitTimeMs);
      if (frame.offset !== firstFrameOffset)
        this.#problems.push(corrupt('OPEN frame inside a log file', place));
      return;
    }
    const lastSeq = lastSeqOf(frame);
    if (link.file.open !== undefined && frame.seqFirst > link.file.openSeq) this.#openProven = true;
    if (lastSeq > link.seqMax) return;
    // Those below the checkpoint count too: times never fall, also behind a clean close.
    this.#lastTimeMs = Math.max(this.#lastTimeMs, frame.commitTimeMs);
    if (lastSeq <= this.#options.checkpointSeq) {
      this.#skippedSeq = lastSeq;
      this.#openProven = true;
      this.#start = end;
      this.#closeHole(frame.seqFirst - 1);
      if (frame.type === frameTypes.seal) this.#sealedAt = this.#frames.length;
      return;
    }
    this.#skipOpen();
    const first = Math.max(frame.seqFirst, this.#options.checkpointSeq + 1);
    if (first < this.#expected) {
      this.#problems.push(corrupt('log frame is out of order', place, this.#expected, first));
      return;
    }
    if (first > this.#expected && this.#pending === undefined)
      this.#openHole(corrupt('log frames are missing', place, this.#expected, first), frame.offset);
    this.#closeHole(first - 1);
    this.#frames.push(frame);
    this.#expected = lastSeq + 1;
    if (frame.type === frameTypes.seal) this.#sealedAt = this.#frames.length - 1;
    this.#skipOpen();
  }

  /** The file before the newest must reach exactly to where the next one says it ended. */
  #closeFile(link: Link, end: number): void {
    this.#skipOpen();
    const { path, size } = link.file;
    if (size < end && this.#pending === undefined)
      this.#openHole(
        corrupt('log file is shorter than the next one says', { file: path, offset: size }, end, size),
        size,
      );
    if (this.#pending === undefined) return;
    this.#closeHole(link.seqMax);
    this.#expected = Math.max(this.#expected, link.seqMax + 1);
  }

  #openHole(error: VarveError, offset: number, ofOpen = false): void {
    if (this.#pending !== undefined) return;
    this.#skipOpen();
    const index = this.#frames.length;
    this.#pending = { error, offset, missingFrom: this.#expected, missingTo: undefined, index, ofOpen };
    this.#holes.push(this.#pending);
  }

  #closeHole(missingTo: Seq): void {
    if (this.#pending !== undefined) this.#pending.missingTo = missingTo;
    this.#pending = undefined;
  }

  #mustBeSealed({ open }: LogFile): boolean {
    const { closedEpoch } = this.#options;
    return closedEpoch !== undefined && (open === undefined || open.writerEpoch <= closedEpoch);
  }

  /** Torn tail or damage, for every hole of the newest file. */
  #decide(newest: LogFile): { file: string; offset: number } | undefined {
    const { checkpointSeq } = this.#options;
    const mustBeSealed = this.#mustBeSealed(newest);
    for (const hole of this.#holes) {
      const sealed = this.#sealedAt >= hole.index || mustBeSealed;
      const needed = hole.missingTo === undefined || hole.missingTo > checkpointSeq;
      if (!hole.ofOpen && !sealed && needed && this.#durableSeq < hole.missingFrom) {
        this.#frames.truncate(hole.index);
        this.#expected = hole.missingFrom;
        return { file: newest.path, offset: hole.offset };
      }
      this.#report(hole);
    }
    return undefined;
  }

  #report({ error, missingFrom, missingTo, ofOpen }: Hole): void {
    if (ofOpen && missingTo !== undefined)
      this.#damage.push({ error, missingFrom, missingTo: Math.max(missingFrom, missingTo) });
    else this.#addDamage(error, missingFrom, missingTo);
  }

  #addDamage(error: VarveError, from: Seq, missingTo: Seq | undefined): void {
    const missingFrom = Math.max(from, this.#options.checkpointSeq + 1);
    if (missingTo !== undefined && missingTo < missingFrom) this.#problems.push(error);
    else this.#damage.push({ error, missingFrom, missingTo });
  }

  /** The number of the file's own OPEN frame may lie anywhere among the others. */
  #skipOpen(): void {
    if (this.#expected === this.#openSeq) this.#expected++;
  }
}
