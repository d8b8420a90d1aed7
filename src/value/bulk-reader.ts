/**
 * Reads a range of a value in batches of many chunks: each batch comes with few long reads into one piece of
 * memory, is checked there and handed out there, while those behind it are read and checked. With `verify`
 * the SHA-256 of every chunk is held against its id, on threads where there are some and the range is long;
 * without, the checksum of every frame.
 *
 * A chunk that is not where it should be, or not whole, is read as any single chunk: that finds it, or says
 * what is damaged and where. (An inline value has no chunks: the checksum of the table or log it lies in is
 * all there is to check.)
 *
 * Invariants (test/value/bulk-reader.test.ts)
 * - batches together are the range, and have no byte of a chunk whose bytes are not its id's ("every range
 *   equals the slice of the value", "bytes that are not their id's are never handed out");
 * - damage ends a read behind the bytes before it ("damage ends a read behind the bytes before it");
 * - a reader holds `aheadMax` batches and the one that was handed out, of `batchBytes` bytes each unless one
 *   chunk is longer, and none after the end, an error or `cancel` ("reads stay within their bounds",
 *   "memory is given back however a read ends").
 */
import { emptyBytes } from '../base/bytes.ts';
import { invalid, VarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { type ChunkLocation, chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { recordForms, type ValueRecord } from '../format/value-record.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import type { BufferRing } from '../pool/buffer-ring.ts';
import { type HashBatch, HashTurns } from '../pool/hash-turns.ts';
import type { Jobs } from '../pool/jobs.ts';
import { PlacedLeaves, type PlacedSource } from './placed-leaves.ts';
import { inlineBytes } from './range-reader.ts';
import { RunBatch } from './run-batch.ts';
import { newArray } from './value-copy.ts';

/** Shorter ranges are checked on the calling thread. */
const threadedBytesMin: number = MiB;
/** Batches under way on threads; without threads one, while the one before it is worked on. */
const aheadMax = 3;
/** The first batch is smaller, so that a first byte comes soon; each next one twice as long. */
const firstBatchBytes: number = 256 * KiB;
const readAheadBytesDefault: number = 2 * MiB;

/** Threads to check on, and memory that they share with this one. */
export interface CheckThreads {
  readonly jobs: Jobs;
  readonly ring: BufferRing;
  /** Smaller in tests; `threadedBytesMin` when not given. */
  readonly bytesMin?: number | undefined;
}

export interface BulkOptions {
  /** Check the SHA-256 of every chunk, and of list nodes. */
  readonly verify?: boolean;
  /** Undefined: all on the calling thread, in memory of the reader's own. */
  readonly threads?: CheckThreads | undefined;
  /** A reader holds up to twice as much; 2 MiB when omitted. */
  readonly readAheadBytes?: number;
  /** Looked at before each batch: VARVE_ABORTED once it has fired. */
  readonly signal?: AbortSignal | undefined;
}

/** A batch under way. */
interface UnderWay {
  readonly batch: RunBatch;
  /** Memory of the ring. */
  readonly shared: SharedArrayBuffer | undefined;
  /** Resolves when it was read. */
  isRead?: Promise<void>;
  /** Where it may be hashed by others. */
  hashed: HashBatch | undefined;
  /** Resolves when it is checked. */
  done?: Promise<void>;
  /** What comes behind its chunks. */
  failure: { readonly error: unknown } | undefined;
  isDropped: boolean;
}

/** One `next` at a time. */
export class BulkReader {
  readonly #record: ValueRecord;
  readonly #start: number;
  readonly #end: number;
  readonly #source: PlacedSource;
  readonly #verify: boolean;
  readonly #threads: CheckThreads | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #leaves: PlacedLeaves;
  /** Where SHA-256 is computed on threads too. */
  readonly #turns: HashTurns | undefined;
  readonly #batchBytes: number;
  readonly #digest = new Uint8Array(chunkIdBytes);
  readonly #queue: UnderWay[] = [];
  readonly #spare: RunBatch[] = [];
  /** Memory of its own that nobody uses at the moment. */
  readonly #own: Uint8Array[] = [];
  #held: UnderWay | undefined;
  /** Pieces of the ring that this reader has. */
  #taken = 0;
  #goal: number;
  #pumping: Promise<void> | undefined;
  /** What ends the read once the batches before it are handed out. */
  #failure: { readonly error: unknown } | undefined;
  #joined = false;
  #isOver = false;

  /**
   * Bytes start .. end-1; an end beyond the value is its end. The record is borrowed: `record.buf` must not
   * change before the read has ended. VARVE_INVALID_ARGUMENT on a range that is none.
   */
  constructor(
    record: ValueRecord,
    start: number,
    end: number,
    source: PlacedSource,
    options: BulkOptions = {},
  ) {
    const { verify = false, threads, readAheadBytes = readAheadBytesDefault, signal } = options;
    if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end))
      throw invalid('a range starts at or before its end, at offsets of at least 0');
    this.#record = record;
    this.#end = Math.min(end, record.size);
    this.#start = Math.min(start, this.#end);
    this.#source = source;
    this.#verify = verify;
    this.#signal = signal;
    this.#threads = threads;
    this.#leaves = new PlacedLeaves(record, this.#start, this.#end, source, verify);
    const length = this.#end - this.#start;
    const isLong = verify && length >= (threads?.bytesMin ?? threadedBytesMin);
    if (isLong && threads?.jobs.pays(length) === true) this.#turns = new HashTurns(threads.jobs);
    else if (isLong) threads?.jobs.passed(length);
    const room = threads?.ring.bufferBytes ?? Number.POSITIVE_INFINITY;
    this.#batchBytes = Math.max(1, Math.min(room, Math.floor(readAheadBytes / 2), MiB));
    this.#goal = length <= this.#batchBytes / 2 ? this.#batchBytes : firstBatchBytes;
  }

  /**
   * The next batch, borrowed until `next` or `cancel` is called; undefined after the last. VARVE_CORRUPT,
   * VARVE_ABORTED; after a rejection the reader has ended.
   */
  async next(): Promise<RunBatch | undefined> {
    try {
      this.#giveHeld();
      this.#refuseAborted();
      if (this.#record.form === recordForms.inline) return this.#inline();
      return await this.#next();
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  /** Ends the reader; memory goes back as soon as what is under way in it has ended. Idempotent. */
  cancel(): void {
    this.#isOver = true;
    this.#giveHeld();
    this.#drop();
    this.#failure = undefined;
    if (this.#joined) this.#threads?.ring.leave();
    this.#joined = false;
  }

  async #next(): Promise<RunBatch | undefined> {
    while (!this.#isOver) {
      this.#pump();
      const head = this.#queue[0];
      if (head === undefined) {
        if (this.#pumping !== undefined) await this.#pumping;
        else if (this.#failure === undefined) this.cancel();
        else throw this.#failure.error;
        continue;
      }
      head.done ??= this.#check(head);
      await head.done;
      if (this.#isOver) break;
      this.#refuseAborted();
      this.#queue.shift();
      this.#held = head;
      if (head.failure !== undefined) {
        this.#failure = head.failure;
        this.#drop();
      }
      this.#pump();
      if (head.batch.count > 0) return head.batch;
      this.#giveHeld();
    }
    return undefined;
  }

  #inline(): RunBatch | undefined {
    if (this.#isOver || this.#start === this.#end) return undefined;
    this.#isOver = true;
    const batch = new RunBatch();
    batch.whole(inlineBytes(this.#record, this.#start, this.#end));
    return batch;
  }

  /** Begins as many batches as there may be, in the background. */
  #pump(): void {
    if (this.#pumping !== undefined || this.#isOver || this.#failure !== undefined) return;
    if (this.#queue.length >= this.#depth || this.#leaves.isOver) return;
    const run: Promise<void> = this.#begin().finally(() => {
      this.#pumping = undefined;
    });
    this.#pumping = run;
  }

  get #depth(): number {
    return this.#turns === undefined ? 1 : aheadMax;
  }

  /** Never rejects. */
  async #begin(): Promise<void> {
    const ahead = this.#leaves;
    try {
      while (!this.#isOver && this.#failure === undefined && this.#queue.length < this.#depth) {
        const limit = Math.min(this.#goal, this.#batchBytes);
        await ahead.fill(limit);
        if (this.#isOver) return;
        if (ahead.leaves.count === 0) {
          this.#failure ??= ahead.failure;
          return;
        }
        const shared = this.#take();
        // Without a piece of the ring it goes on by itself, one batch at a time.
        if (shared === undefined && this.#queue.length > 0) return;
        const batch = this.#spare.pop() ?? new RunBatch();
        ahead.drop(batch.plan(ahead.leaves, limit, this.#start, this.#end));
        this.#goal = limit * 2;
        this.#queue.push(this.#send(batch, shared));
      }
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  /** A piece of the ring, if there is one. Only threads need it: whoever reads may rest for long. */
  #take(): SharedArrayBuffer | undefined {
    const ring = this.#threads?.ring;
    if (ring === undefined || this.#turns === undefined) return undefined;
    if (!this.#joined) ring.join();
    this.#joined = true;
    const shared = ring.take(this.#taken);
    if (shared !== undefined) this.#taken++;
    return shared;
  }

  #send(batch: RunBatch, taken: SharedArrayBuffer | undefined): UnderWay {
    let shared = taken;
    if (shared !== undefined && shared.byteLength < batch.needed) {
      this.#giveShared(shared);
      shared = undefined;
    }
    batch.lend(shared === undefined ? this.#memory(batch.needed) : new Uint8Array(shared));
    const sent: UnderWay = {
      batch,
      shared,
      hashed: undefined,
      failure: undefined,
      isDropped: false,
    };
    sent.isRead = this.#read(sent);
    // What threads may hash is checked when it is asked for.
    if (shared === undefined) sent.done = this.#check(sent);
    return sent;
  }

  /** Memory of its own, of the last batch where that has enough. */
  #memory(needed: number): Uint8Array {
    const kept = this.#own.pop();
    if (kept !== undefined && kept.length >= needed) return kept;
    const isLong = this.#end - this.#start > this.#batchBytes;
    return newArray(isLong ? Math.max(needed, this.#batchBytes) : needed);
  }

  /** Never rejects. */
  async #read(sent: UnderWay): Promise<void> {
    const { batch, shared } = sent;
    try {
      await batch.read((segment, offset, into) => this.#source.readBytes(segment, offset, into));
      if (shared !== undefined && !sent.isDropped) sent.hashed = this.#turns?.offer(shared, batch.ranges());
    } catch (error) {
      fail(sent, 0, error);
    }
  }

  /** Never rejects. */
  async #check(sent: UnderWay): Promise<void> {
    await sent.isRead;
    const { batch, hashed } = sent;
    let i = 0;
    try {
      const ids = hashed === undefined ? undefined : await this.#turns?.result(hashed);
      for (; i < batch.count && !sent.isDropped; i++) {
        if (!this.#isRight(batch, i, ids)) batch.put(i, await this.#alone(batch, i));
      }
    } catch (error) {
      fail(sent, i, error);
    }
  }

  /** Chunk `i` is there and is what it should be. `ids`: the digests of all chunks, if a thread made them. */
  #isRight(batch: RunBatch, i: number, ids: Uint8Array | undefined): boolean {
    if (!this.#verify) return batch.isSound(i);
    if (!batch.isThere(i)) return false;
    if (ids !== undefined) return isSame(ids, i, batch.leaves.ids, i);
    batch.hash(i, this.#digest);
    return isSame(this.#digest, 0, batch.leaves.ids, i);
  }

  /** Chunk `i`, read and checked by itself. VARVE_CORRUPT with the place of the damage. */
  async #alone({ leaves }: RunBatch, i: number): Promise<Uint8Array> {
    const id = leaves.id(i).slice();
    const length = leaves.length[i]!;
    let hint: ChunkLocation | undefined;
    if (leaves.hinted[i] === 1 && leaves.segment[i] !== 0)
      hint = { segment: leaves.segment[i]!, off8: leaves.off8[i]!, storedLen: length, rawLen: length };
    const bytes = await this.#source.read(id, hint, chunkKinds.data);
    this.#leaves.walker.checkLeaf(id, bytes, length);
    if (this.#verify) {
      sha256Into(bytes, 0, bytes.length, this.#digest, 0);
      if (!isSame(this.#digest, 0, id, 0)) throw await this.#source.mismatch(id, hint);
    }
    return bytes;
  }

  /** Gives up all that is under way. */
  #drop(): void {
    for (const sent of this.#queue.splice(0)) {
      sent.isDropped = true;
      void this.#giveLater(sent);
    }
  }

  /** Gives memory back once nobody reads into it or looks at it. Never rejects. */
  async #giveLater(sent: UnderWay): Promise<void> {
    await sent.isRead;
    if (sent.hashed !== undefined) await this.#turns?.drop(sent.hashed);
    await sent.done;
    this.#give(sent);
  }

  #giveHeld(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) this.#give(held);
  }

  /** Nobody uses the batch any more. */
  #give({ batch, shared }: UnderWay): void {
    if (shared !== undefined) this.#giveShared(shared);
    else if (!this.#isOver) this.#own.push(batch.memory);
    batch.memory = emptyBytes;
    if (!this.#isOver) this.#spare.push(batch);
  }

  #giveShared(shared: SharedArrayBuffer): void {
    this.#taken--;
    this.#threads?.ring.give(shared);
  }

  #refuseAborted(): void {
    if (this.#signal?.aborted === true)
      throw new VarveError('VARVE_ABORTED', 'reading was aborted', { cause: this.#signal.reason });
  }
}

/** What lies before chunk `count` is whole; `error` comes behind it. */
function fail(sent: UnderWay, count: number, error: unknown): void {
  sent.batch.cut(count);
  sent.failure = { error };
}

/** The i-th id of `a` is the j-th of `b`. */
function isSame(a: Uint8Array, i: number, b: Uint8Array, j: number): boolean {
  const from = i * chunkIdBytes;
  const at = j * chunkIdBytes;
  for (let k = 0; k < chunkIdBytes; k++) if (a[from + k] !== b[at + k]) return false;
  return true;
}
