/**
 * Cuts and hashes the bytes of one value. A short one on the calling thread; of a long one, whole buffers go
 * to threads, each cut as if a chunk began at its front, and the results are stitched together here.
 *
 * Why that is exact: where a chunk ends depends on where it begins and on the bytes alone. At the front of a
 * buffer the true chunk, which began in the buffer before, is gone on with here until one of the true cuts is
 * a cut of the thread too; from there on both are the same. That takes two or three chunks, as a rule; where
 * it never happens, the whole buffer is cut here.
 *
 * Invariants (test/value/stream-cutter.test.ts)
 * - chunks are those of the chunker alone, whatever the pieces, the threads and the order in which they
 *   answer ("the chunks are those of one thread");
 * - chunks are handed out in order, each once, with the bytes that were hashed (same test);
 * - after `release` no buffer is held and no job waits ("a released cutter holds nothing").
 */
import { KiB, MiB } from '../base/limits.ts';
import type { ChunkerPool, StreamChunker } from '../kernels/chunker/chunker.ts';
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import type { BufferRing } from '../pool/buffer-ring.ts';
import type { Job, Jobs } from '../pool/jobs.ts';
import type { CutResult, CutTask } from '../pool/port.ts';
import { type ReadInto, readSome } from './direct-source.ts';

/** Values shorter than this never leave the calling thread. */
const threadedBytesMin: number = MiB;
/** A last buffer with less than this in it is cut here: the way to a thread and back costs as much. */
const lastBytesMin: number = 64 * KiB;

/** Threads for the values of a store. */
export interface CutThreads {
  readonly jobs: Jobs;
  readonly ring: BufferRing;
  /** Smaller in tests; `threadedBytesMin` when not given. */
  readonly bytesMin?: number | undefined;
}

/**
 * Takes the chunk buffer[from..to) whose SHA-256 is ids[idAt..idAt+32), in order; both are borrowed until the
 * call, or the promise it returns, has ended.
 */
export type TakeChunk = (
  buffer: Uint8Array,
  from: number,
  to: number,
  ids: Uint8Array,
  idAt: number,
) => void | Promise<void>;

/** A buffer being filled, or with a thread. */
interface Piece {
  readonly shared: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  filled: number;
  job: Job<CutTask> | undefined;
}

export interface CutterOptions {
  readonly chunkers: ChunkerPool;
  /** Undefined: everything on the calling thread. */
  readonly threads: CutThreads | undefined;
  readonly take: TakeChunk;
  /** Lets the event loop turn between windows of one large buffer. */
  readonly turn: () => Promise<void>;
}

/** One call at a time; after a rejection only `release`. */
export class StreamCutter {
  readonly #options: CutterOptions;
  readonly #chunker: StreamChunker;
  readonly #id = new Uint8Array(sha256Bytes);
  /** Buffers with threads, in the order of the stream. */
  readonly #ahead: Piece[] = [];
  #filling: Piece | undefined;
  /** The next bytes of `pull` on their way into `#filling`. */
  #reading: Promise<number> | undefined;
  /** Bytes written so far. */
  #taken = 0;
  #joined = false;
  #released = false;

  constructor(options: CutterOptions) {
    this.#options = options;
    this.#chunker = options.chunkers.open();
  }

  /** Takes the next bytes; `bytes` is borrowed until the promise settles. Rejects as `take` does. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const piece = this.#filling ?? (await this.#nextPiece(bytes.length - from));
      const taken =
        piece === undefined ? await this.#cutHere(bytes, from) : await this.#fill(piece, bytes, from);
      if (piece === undefined && this.#isLong(bytes.length - from)) this.#options.threads?.jobs.passed(taken);
      from += taken;
      this.#taken += taken;
      if (from < bytes.length) await this.#options.turn();
    }
  }

  /**
   * Takes the next bytes straight from `read`, with about `left` to come; resolves with how many they were, 0
   * at the end. Those behind them may be on their way already: each call gives the same `read`, and nothing
   * is written in between. Rejects as `read` and `take` do.
   */
  async pull(read: ReadInto, left: number): Promise<number> {
    const piece = this.#filling ?? (await this.#nextPiece(left));
    const taken = piece === undefined ? await this.#pullHere(read, left) : await this.#pullInto(piece, read);
    this.#taken += taken;
    return taken;
  }

  /** Resolves when nothing is being read any more. Never rejects. */
  async settle(): Promise<void> {
    await Promise.allSettled([this.#reading]);
    this.#reading = undefined;
  }

  /** Ends the value: every chunk has been taken when it resolves. What nobody pulled is no part of it. */
  async finish(): Promise<void> {
    await this.settle();
    if (this.#filling !== undefined && this.#filling.filled >= lastBytesMin) {
      this.#send(this.#filling, true);
      this.#filling = undefined;
    }
    while (this.#ahead.length > 0) await this.#stitchOldest();
    const last = this.#filling;
    if (last !== undefined) await this.#cutAllHere(last.bytes.subarray(0, last.filled));
    await this.#drain(true);
  }

  /** Gives everything back. Idempotent. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const { threads } = this.#options;
    for (const piece of this.#ahead.splice(0)) {
      piece.job?.cancel();
      this.#giveBack(piece);
    }
    const filling = this.#filling;
    this.#filling = undefined;
    if (filling !== undefined && this.#reading === undefined) this.#giveBack(filling);
    else if (filling !== undefined) void this.settle().then(() => this.#giveBack(filling));
    if (this.#joined) threads?.ring.leave();
    this.#chunker.release();
  }

  /** The value is one for threads, `left` more bytes of which are at hand. */
  #isLong(left: number): boolean {
    return this.#taken + left >= (this.#options.threads?.bytesMin ?? threadedBytesMin);
  }

  /** An empty buffer for the next bytes; undefined: they are cut here, and nothing is with a thread. */
  async #nextPiece(left: number): Promise<Piece | undefined> {
    const { threads } = this.#options;
    if (threads === undefined || !this.#isLong(left)) return undefined;
    const { ring, jobs } = threads;
    if (!this.#joined && !jobs.pays(left)) return undefined;
    if (!this.#joined) ring.join();
    this.#joined = true;
    for (;;) {
      const shared = jobs.usable ? ring.take(this.#ahead.length) : undefined;
      if (shared !== undefined) {
        this.#filling = { shared, bytes: new Uint8Array(shared), filled: 0, job: undefined };
        return this.#filling;
      }
      if (this.#ahead.length === 0) return undefined;
      await this.#stitchOldest();
    }
  }

  async #fill(piece: Piece, bytes: Uint8Array, from: number): Promise<number> {
    const taken = Math.min(piece.bytes.length - piece.filled, bytes.length - from);
    piece.bytes.set(bytes.subarray(from, from + taken), piece.filled);
    await this.#filled(piece, taken);
    return taken;
  }

  async #pullInto(piece: Piece, read: ReadInto): Promise<number> {
    this.#reading ??= readSome(read, piece.bytes.subarray(piece.filled));
    const taken = await this.#reading;
    this.#reading = undefined;
    await this.#filled(piece, taken, read);
    return taken;
  }

  /** `read` gives the next bytes: they are read while chunks are handed out. */
  async #filled(piece: Piece, taken: number, read?: ReadInto): Promise<void> {
    piece.filled += taken;
    if (piece.filled < piece.bytes.length) return;
    this.#filling = undefined;
    this.#send(piece, false);
    if (read !== undefined) this.#readAhead(read);
    while (this.#ahead[0]?.job?.hasEnded === true) await this.#stitchOldest();
  }

  #readAhead(read: ReadInto): void {
    const { ring, jobs } = this.#options.threads!;
    const shared = jobs.usable ? ring.take(this.#ahead.length) : undefined;
    if (shared === undefined) return;
    this.#filling = { shared, bytes: new Uint8Array(shared), filled: 0, job: undefined };
    this.#reading = readSome(read, this.#filling.bytes);
    // Whoever asks for these bytes is told.
    this.#reading.catch(() => undefined);
  }

  async #pullHere(read: ReadInto, left: number): Promise<number> {
    const chunker = this.#chunker;
    const taken = await readSome(read, chunker.space());
    chunker.advance(taken);
    if (this.#isLong(left)) this.#options.threads?.jobs.passed(taken);
    await this.#drain(false);
    return taken;
  }

  #send(piece: Piece, atEnd: boolean): void {
    const { threads, chunkers } = this.#options;
    piece.job = threads!.jobs.submit({
      kind: 'cut',
      shared: piece.shared,
      length: piece.filled,
      atEnd,
      params: chunkers.params,
      key: chunkers.key,
    });
    this.#ahead.push(piece);
  }

  async #stitchOldest(): Promise<void> {
    const piece = this.#ahead[0]!;
    const result = await this.#options.threads!.jobs.result(piece.job!);
    this.#ahead.shift();
    try {
      await this.#stitch(piece.bytes, piece.filled, result);
    } finally {
      this.#giveBack(piece);
    }
    // Writes that have ended are followed by the next ones.
    await this.#options.turn();
  }

  #giveBack(piece: Piece): void {
    this.#options.threads?.ring.give(piece.shared);
  }

  /** Hands out the chunks that end in a buffer; what is left behind the last waits in the chunker. */
  async #stitch(bytes: Uint8Array, length: number, { ends, ids }: CutResult): Promise<void> {
    const { take } = this.#options;
    const first = this.#chunker.pending === 0 ? 0 : await this.#goOn(bytes, length, ends);
    if (first === undefined) return;
    this.#chunker.reset();
    let start = first === 0 ? 0 : ends[first - 1]!;
    for (let i = first; i < ends.length; i++) {
      const end = ends[i]!;
      const more = take(bytes, start, end, ids, i * sha256Bytes);
      if (more !== undefined) await more;
      start = end;
    }
    if (start < length) await this.#cutAllHere(bytes.subarray(start, length));
  }

  /**
   * Goes on with the chunk that is pending until a cut is one of `ends`, or the front of the buffer. Returns
   * the index of the chunk that begins there; undefined when the buffer has ended first.
   */
  async #goOn(bytes: Uint8Array, length: number, ends: Uint32Array): Promise<number | undefined> {
    const chunker = this.#chunker;
    const { normal } = chunker.params;
    let start = -chunker.pending;
    let next = 0;
    for (let fed = 0; fed < length; ) {
      fed += chunker.write(bytes.subarray(fed, Math.min(length, fed + normal)));
      for (let n = chunker.next(false); n > 0; n = chunker.next(false)) {
        await this.#takePending(n);
        start += n;
        if (start === 0) return 0;
        while (next < ends.length && ends[next]! < start) next++;
        if (ends[next] === start) return next + 1;
      }
    }
    return undefined;
  }

  async #cutAllHere(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) from += await this.#cutHere(bytes, from);
  }

  /** Cuts as many bytes as the window takes; returns how many. */
  async #cutHere(bytes: Uint8Array, from: number): Promise<number> {
    const taken = this.#chunker.write(bytes, from);
    await this.#drain(false);
    return taken;
  }

  async #drain(atEnd: boolean): Promise<void> {
    const chunker = this.#chunker;
    for (let n = chunker.next(atEnd); n > 0; n = chunker.next(atEnd)) {
      const more = this.#takePending(n);
      if (more !== undefined) await more;
    }
  }

  /** Hashes and hands out the chunk of `n` bytes that the chunker has found, and goes on behind it. */
  #takePending(n: number): void | Promise<void> {
    const chunker = this.#chunker;
    const { start, buffer } = chunker;
    sha256Into(buffer, start, start + n, this.#id, 0);
    const more = this.#options.take(buffer, start, start + n, this.#id, 0);
    if (more !== undefined) return more.then(() => chunker.consume());
    chunker.consume();
  }
}
