/**
 * Reads a range of a value and checks the SHA-256 of every chunk before a byte of it is handed out: on
 * threads where there are some and the range is long, several batches at a time, else on the calling thread.
 *
 * (An inline value has no chunks: the checksum of the table or log it lies in is all there is to check.)
 *
 * Invariants (test/value/checked-reader.test.ts)
 * - pieces are those of the RangeReader, in order, and none of a chunk whose bytes are not its id's
 *   ("bytes that are not their id's are never handed out");
 * - at most `batchesMax` batches are under way; none is held after the end, an error or `cancel`
 *   ("buffers are given back however a read ends").
 */
import { MiB } from '../base/limits.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import type { BufferRing } from '../pool/buffer-ring.ts';
import type { Job, Jobs } from '../pool/jobs.ts';
import type { HashTask } from '../pool/port.ts';
import type { ChunkSource } from './leaf-walker.ts';
import type { Piece, RangeReader } from './range-reader.ts';

/** Shorter ranges are checked on the calling thread. */
const threadedBytesMin: number = MiB;
const batchesMax = 3;
/** A batch is sent when it has this many bytes: less than a buffer, so that a first piece comes soon. */
const batchBytes: number = MiB;

/** Threads to check on. */
export interface CheckThreads {
  readonly jobs: Jobs;
  readonly ring: BufferRing;
  /** Smaller in tests; `threadedBytesMin` when not given. */
  readonly bytesMin?: number | undefined;
}

interface Batch {
  readonly pieces: Piece[];
  readonly shared: SharedArrayBuffer;
  readonly job: Job<HashTask>;
}

/** One `next` at a time. */
export class CheckedReader {
  readonly #reader: RangeReader;
  readonly #source: ChunkSource;
  readonly #threads: CheckThreads | undefined;
  readonly #id = new Uint8Array(chunkIdBytes);
  readonly #batches: Batch[] = [];
  /** Checked pieces, to be handed out. */
  #ready: Piece[] = [];
  /** A piece that found no room in its batch. */
  #held: Piece | undefined;
  /** What ends the read once the pieces before it are handed out. */
  #failure: { readonly error: unknown } | undefined;
  #joined = false;
  #isOver = false;

  /** `length`: bytes of the range, about. The reader is taken. */
  constructor(reader: RangeReader, source: ChunkSource, length: number, threads: CheckThreads | undefined) {
    this.#reader = reader;
    this.#source = source;
    const isLong = length >= (threads?.bytesMin ?? threadedBytesMin);
    this.#threads = isLong && threads?.jobs.pays(length) === true ? threads : undefined;
    if (isLong && this.#threads === undefined) threads?.jobs.passed(length);
  }

  /** The next piece, or undefined after the last. VARVE_CORRUPT; after a rejection the reader has ended. */
  async next(): Promise<Piece | undefined> {
    try {
      if (this.#threads === undefined) return await this.#nextHere();
      for (;;) {
        const ready = this.#ready.shift();
        if (ready !== undefined) return ready;
        if (this.#batches.length === 0 && this.#failure !== undefined) throw this.#failure.error;
        if (this.#isOver) return undefined;
        await this.#send(this.#threads);
        const oldest = this.#batches[0];
        if (oldest !== undefined) await this.#check(oldest, this.#threads);
        else if (this.#ready.length === 0 && this.#failure === undefined) return this.#end();
      }
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  /** The next piece, if it is there and checked; undefined: ask `next`. */
  now(): Piece | undefined {
    return this.#ready.shift();
  }

  /** Ends the reader and gives back what it holds. Idempotent. */
  cancel(): void {
    this.#isOver = true;
    this.#reader.cancel();
    this.#ready = [];
    this.#held = undefined;
    this.#failure = undefined;
    for (const { shared, job } of this.#batches.splice(0)) {
      job.cancel();
      this.#threads?.ring.give(shared);
    }
    if (this.#joined) this.#threads?.ring.leave();
    this.#joined = false;
  }

  #end(): undefined {
    this.cancel();
    return undefined;
  }

  async #nextHere(): Promise<Piece | undefined> {
    const piece = await this.#reader.next();
    if (piece?.id !== undefined) await this.#checkHere(piece, piece.id);
    return piece;
  }

  async #checkHere(piece: Piece, id: Uint8Array): Promise<void> {
    sha256Into(piece.chunk, 0, piece.chunk.length, this.#id, 0);
    if (!isEqual(this.#id, 0, id)) throw await this.#source.mismatch(id, piece.hint);
  }

  /** Fills batches and sends them, as many as there may be. */
  async #send({ ring, jobs }: CheckThreads): Promise<void> {
    if (!this.#joined) ring.join();
    this.#joined = true;
    while (this.#batches.length < batchesMax && this.#failure === undefined && !this.#isOver) {
      const shared = jobs.usable ? ring.take(this.#batches.length) : undefined;
      if (shared === undefined) {
        // Nothing under way and nothing to send it in: one piece at a time, here.
        if (this.#batches.length === 0) await this.#readHere();
        return;
      }
      const pieces = await this.#fill(shared);
      // It may have been cancelled meanwhile.
      if (pieces.length === 0 || this.#isOver) {
        ring.give(shared);
        return;
      }
      const ranges = new Uint32Array(pieces.length * 2);
      let at = 0;
      for (const [i, { chunk }] of pieces.entries()) {
        ranges[2 * i] = at;
        at += chunk.length;
        ranges[2 * i + 1] = at;
      }
      this.#batches.push({ pieces, shared, job: jobs.submit({ kind: 'hash', shared, ranges }) });
    }
  }

  async #readHere(): Promise<void> {
    const piece = this.#held ?? (await this.#nextHere());
    if (piece !== undefined && piece === this.#held && piece.id !== undefined)
      await this.#checkHere(piece, piece.id);
    this.#held = undefined;
    if (piece !== undefined) this.#ready.push(piece);
  }

  /** Reads pieces into the buffer, until it is full enough or the range ends. */
  async #fill(shared: SharedArrayBuffer): Promise<Piece[]> {
    const bytes = new Uint8Array(shared);
    const pieces: Piece[] = [];
    for (let at = 0; at < Math.min(batchBytes, bytes.length); ) {
      const piece = this.#held ?? this.#reader.now() ?? (await this.#read());
      this.#held = undefined;
      if (piece === undefined) break;
      if (at + piece.chunk.length > bytes.length) {
        this.#held = piece;
        break;
      }
      bytes.set(piece.chunk, at);
      at += piece.chunk.length;
      pieces.push(piece);
    }
    return pieces;
  }

  /** Damage ahead is reported after the pieces before it have been handed out. */
  async #read(): Promise<Piece | undefined> {
    try {
      return await this.#reader.next();
    } catch (error) {
      this.#failure = { error };
      return undefined;
    }
  }

  async #check(batch: Batch, { ring, jobs }: CheckThreads): Promise<void> {
    await jobs.finished(batch.job);
    // Cancelled meanwhile: everything has been given back.
    if (this.#isOver) return;
    const { ids } = batch.job.result();
    this.#batches.shift();
    ring.give(batch.shared);
    for (const [i, piece] of batch.pieces.entries()) {
      if (piece.id !== undefined && !isEqual(ids, i * chunkIdBytes, piece.id)) {
        const error = await this.#source.mismatch(piece.id, piece.hint);
        if (this.#ready.length === 0) throw error;
        for (const { shared, job } of this.#batches.splice(0)) {
          job.cancel();
          ring.give(shared);
        }
        this.#failure = { error };
        return;
      }
      this.#ready.push(piece);
    }
  }
}

function isEqual(ids: Uint8Array, at: number, id: Uint8Array): boolean {
  for (let i = 0; i < chunkIdBytes; i++) if (ids[at + i] !== id[i]) return false;
  return true;
}
