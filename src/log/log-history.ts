/**
 * Old log files that recovery does not need any more, kept for those who read what was committed: which there
 * are, how they follow each other, and which of them may go.
 *
 * No catalog names them. A file is old when its number is below the walFirstNo of both catalogs; to lose one
 * loses nothing but the history before it.
 *
 * Invariants (test/log/log-history.test.ts)
 * - Spans follow each other without a missing number, the last one is the file in use, where one was made
 *   ("spans chain back as far as files are whole").
 * - The newest old files stay until they hold `bytes` together, as far as there is room for whole ones; what
 *   is being read stays ("the newest files stay", "a file that there is no room for goes"), and what somebody
 *   has yet to read ("what is kept on stays, with all behind it").
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { logHistoryFilesMax } from '../base/limits.ts';
import { filePath } from '../format/file-names.ts';
import { hasErrno } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';
import { type LogFile, listLogFiles } from './log-files.ts';

/** Listings repeated while a writer goes on removing old files. */
const listTriesMax = 10;

/** One file of the log, as far as it counts. */
export interface LogSpan {
  readonly no: FileNo;
  /** Its first number, and that of its OPEN frame. */
  readonly firstSeq: Seq;
  readonly openSeq: Seq;
  /** Last number that counts, and where the file ends; undefined: it is in use. */
  lastSeq: Seq | undefined;
  end: number | undefined;
}

/** Where a file of the log ends, as far as it counts. */
export interface LogEnd {
  readonly prevFileNo: FileNo;
  readonly prevEndOffset: number;
  readonly prevLastSeq: Seq;
}

/** What the next file says of the one before it. */
export interface LogTurn extends LogEnd {
  readonly no: FileNo;
  readonly openSeq: Seq;
}

/** Somebody will read the file, and all behind it. */
export interface LogKept {
  readonly no: FileNo;
}

export class LogHistory {
  readonly #fs: FsPort;
  readonly #dbUuid: Uint8Array;
  readonly #bytes: number;
  readonly #room: () => number;
  /** Files made since the store was opened, oldest first, the one in use last; empty in a reader. */
  #made: LogSpan[] = [];
  /** How the oldest of them goes on from files that were there, or will when it is made. */
  #first: LogTurn | undefined;
  #found: Promise<LogSpan[]> | undefined;
  readonly #held = new Map<FileNo, number>();
  readonly #kept = new Set<LogKept>();
  readonly #sizes = new Map<FileNo, number>();

  /**
   * `bytes`: of old files to be kept, at least; 0 keeps none. `room`: what they may take together, asked
   * whenever files may go; a file beyond it goes even where that leaves less than `bytes`.
   */
  constructor(fs: FsPort, dbUuid: Uint8Array, bytes: number, room: () => number = () => Infinity) {
    this.#fs = fs;
    this.#dbUuid = dbUuid;
    this.#bytes = bytes;
    this.#room = room;
  }

  /** The history of a writer, which begins with the file of `turn`, or with one it will make behind it. */
  static from(
    turn: LogTurn | LogEnd,
    fs: FsPort,
    dbUuid: Uint8Array,
    bytes: number,
    room?: () => number,
  ): LogHistory {
    const history = new LogHistory(fs, dbUuid, bytes, room);
    if ('no' in turn) history.turned(turn);
    else history.#first = { ...turn, no: Number.MAX_SAFE_INTEGER, openSeq: turn.prevLastSeq + 1 };
    return history;
  }

  /** Old files kept when that was last decided, and their bytes. */
  get kept(): { readonly files: number; readonly bytes: number } {
    let bytes = 0;
    for (const size of this.#sizes.values()) bytes += size;
    return { files: this.#sizes.size, bytes };
  }

  /** A file takes over from the one before; the first one is the file a writer begins with. */
  turned(turn: LogTurn): void {
    const before = this.#made.at(-1);
    if (before === undefined) this.#first = turn;
    else {
      before.lastSeq = turn.prevLastSeq;
      before.end = turn.prevEndOffset;
    }
    const { no, openSeq, prevLastSeq } = turn;
    this.#made.push({ no, openSeq, firstSeq: prevLastSeq + 1, lastSeq: undefined, end: undefined });
  }

  /** Every span there is, oldest first. Reads the beginnings of old files once. */
  async spans(): Promise<readonly LogSpan[]> {
    this.#found ??= this.#find();
    const found = await this.#found.catch((error: unknown) => {
      this.#found = undefined;
      throw error;
    });
    return [...found, ...this.#made];
  }

  /** The file behind `no`; undefined: `no` is the last one, or gone. */
  async after(no: FileNo): Promise<LogSpan | undefined> {
    const spans = await this.spans();
    const at = spans.findIndex((span) => span.no === no);
    return at < 0 ? undefined : spans[at + 1];
  }

  /** The file is being read; pair with `release`. */
  hold(no: FileNo): void {
    this.#held.set(no, (this.#held.get(no) ?? 0) + 1);
  }

  release(no: FileNo): void {
    const holds = (this.#held.get(no) ?? 0) - 1;
    if (holds > 0) this.#held.set(no, holds);
    else this.#held.delete(no);
  }

  /** The file with number `seq` and all behind it stay until `letGo`; of files from before the open, all. */
  keepFrom(seq: Seq): LogKept {
    const kept = { no: this.#made.findLast(({ firstSeq }) => firstSeq <= seq)?.no ?? 0 };
    this.#kept.add(kept);
    return kept;
  }

  letGo(kept: LogKept): void {
    this.#kept.delete(kept);
  }

  /**
   * Which of the log files that recovery does not need may be unlinked; they are spans no more. A file whose
   * size cannot be read stays, and `onFailure` hears why.
   */
  async mayGo(old: readonly FileNo[], onFailure: (error: unknown, path: string) => void): Promise<FileNo[]> {
    if (old.length === 0) return [];
    const falling = [...old].sort((a, b) => b - a);
    const going: FileNo[] = [];
    const sizes = new Map<FileNo, number>();
    // Together: an open may find many, and each is a trip to the disk.
    const unknown = falling.slice(0, logHistoryFilesMax).filter((no) => !this.#sizes.has(no));
    if (this.#bytes > 0)
      await Promise.all(unknown.map(async (no) => this.#sizes.set(no, await this.#sizeOf(no, onFailure))));
    const room = this.#room();
    const keptFrom = Math.min(...Array.from(this.#kept, ({ no }) => no));
    let bytes = 0;
    for (const no of falling) {
      const isWanted =
        going.length === 0 &&
        bytes < this.#bytes &&
        bytes + (this.#sizes.get(no) ?? 0) <= room &&
        sizes.size < logHistoryFilesMax;
      if (!isWanted && no < keptFrom && !this.#held.has(no)) {
        going.push(no);
        continue;
      }
      const size = this.#sizes.get(no) ?? (await this.#sizeOf(no, onFailure));
      sizes.set(no, size);
      bytes += size;
    }
    this.#sizes.clear();
    for (const [no, size] of sizes) this.#sizes.set(no, size);
    await this.#forget(going);
    return going;
  }

  async #sizeOf(no: FileNo, onFailure: (error: unknown, path: string) => void): Promise<number> {
    const path = filePath('wal', no);
    try {
      return (await this.#fs.stat(path))?.size ?? 0;
    } catch (error) {
      onFailure(error, path);
      return 0;
    }
  }

  /** A history begins behind the last file that is gone. */
  async #forget(going: readonly FileNo[]): Promise<void> {
    if (going.length === 0) return;
    const last = Math.max(...going);
    this.#made = this.#made.filter(({ no }) => no > last);
    // Whoever reads the history hears why it could not be found; there is nothing to forget then.
    const found = await this.#found?.catch(() => undefined);
    if (found !== undefined) found.splice(0, found.findLastIndex(({ no }) => no <= last) + 1);
  }

  /**
   * Every log file. Old ones may be unlinked between the listing and the look at them; left out of the list,
   * a file would let the one before it pass for the newest, so the listing is made again.
   */
  async #list(): Promise<LogFile[]> {
    for (let tries = 1; ; tries++) {
      try {
        return await listLogFiles(this.#fs, this.#dbUuid);
      } catch (error) {
        if (tries === listTriesMax || !hasErrno(error, 'ENOENT')) throw error;
      }
    }
  }

  /** Files from before, back from the one the writer began with, or from the newest. */
  async #find(): Promise<LogSpan[]> {
    const files = await this.#list();
    const spans: LogSpan[] = [];
    let turn = this.#first;
    if (turn === undefined) {
      const newest = files.findLast(({ open }) => open !== undefined);
      if (newest?.open === undefined) return spans;
      const { no, openSeq, open } = newest;
      spans.push({ no, openSeq, firstSeq: open.firstSeq, lastSeq: undefined, end: undefined });
      turn = { no, openSeq, ...open };
    }
    for (let file = fileBefore(files, turn); file?.open !== undefined; file = fileBefore(files, turn)) {
      const { no, openSeq, open } = file;
      const { prevLastSeq: lastSeq, prevEndOffset: end } = turn;
      spans.unshift({ no, openSeq, firstSeq: open.firstSeq, lastSeq, end });
      turn = { no, openSeq, ...open };
    }
    return spans;
  }
}

function fileBefore(files: readonly LogFile[], { no, prevFileNo }: LogTurn): LogFile | undefined {
  return files.find((file) => file.no === prevFileNo && file.no < no);
}
