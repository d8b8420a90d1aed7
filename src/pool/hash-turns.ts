/**
 * Decides who hashes each batch of a reader: a thread that works and is free, or the thread that waits for
 * it.
 *
 * A thread that starts takes as long as hashing many batches, so no batch waits for one; and the calling
 * thread hashes what nobody has as long as it would only wait, so it asks for one thread less than there
 * could be. A calling thread that is busy asks for every thread, but for one after another: each only where
 * batches wait although all before it have work.
 *
 * Invariants (test/pool/hash-turns.test.ts)
 * - each batch gets the digests of its ranges, whatever becomes of threads, and whoever is asked for first
 *   ("each batch gets its digests, whatever becomes of threads");
 * - no batch goes to a thread that has not answered yet, and none to a busy one ("nothing waits for a thread
 *   that starts").
 */
import { KiB } from '../base/limits.ts';
import { sha256Bytes } from '../kernels/hash/sha256.ts';
import type { Job, Jobs } from './jobs.ts';
import type { HashTask } from './port.ts';
import { runTask } from './run-task.ts';

const noRanges = new Uint32Array(0);
/**
 * The calling thread looks after others whenever it has hashed so many: a thread that has ended its batch
 * would wait for the next one.
 */
const pieceBytes: number = 256 * KiB;

/** Batches that wait while all threads are busy, before a busy calling thread asks for another. */
const waitingMax = 2;

/** Bytes to be hashed; they must not change before the batch is given up or its result is there. */
export class HashBatch {
  readonly shared: SharedArrayBuffer;
  /** Pairs of from and to. */
  readonly ranges: Uint32Array;
  /** Once a thread has it. */
  job: Job<HashTask> | undefined;
  /** Once the calling thread has hashed it. */
  ids: Uint8Array | undefined;
  /** While the calling thread hashes it, and after. */
  here: Promise<void> | undefined;
  isDropped = false;

  constructor(shared: SharedArrayBuffer, ranges: Uint32Array) {
    this.shared = shared;
    this.ranges = ranges;
  }

  /** The digests can be had without waiting. */
  get isHashed(): boolean {
    return this.ids !== undefined || this.job?.hasEnded === true;
  }
}

/** Of one reader. */
export class HashTurns {
  readonly #jobs: Jobs;
  /** Threads that are asked for. */
  readonly #threads: number;
  /** Batches that may wait before another thread is asked for; 0: all are asked for at once. */
  readonly #waitingMax: number;
  /** Jobs of no bytes: each that has ended is a thread that works. */
  readonly #starts: Job<HashTask>[] = [];
  /** Nobody's yet, oldest first. */
  readonly #waiting: HashBatch[] = [];
  #busy = 0;

  /** `isBusy`: the calling thread has much else to do. */
  constructor(jobs: Jobs, isBusy = false) {
    this.#jobs = jobs;
    this.#threads = Math.max(1, isBusy ? jobs.size : jobs.size - 1);
    this.#waitingMax = isBusy ? waitingMax : 0;
  }

  /** The batch may be hashed. */
  offer(shared: SharedArrayBuffer, ranges: Uint32Array): HashBatch {
    const batch = new HashBatch(shared, ranges);
    this.#waiting.push(batch);
    this.#dispatch();
    return batch;
  }

  /** SHA-256 of each range, 32 bytes apiece. While a thread has the batch this one hashes others. */
  async result(batch: HashBatch): Promise<Uint8Array> {
    if (this.#takeBack(batch)) this.#hashHere(batch);
    const { job } = batch;
    if (job === undefined) {
      await batch.here;
      return batch.ids!;
    }
    while (!job.hasEnded) {
      const other = this.#waiting.shift();
      if (other === undefined) await this.#jobs.finished(job);
      else {
        this.#hashHere(other);
        await other.here;
        await this.#jobs.turn();
      }
    }
    return job.result().ids;
  }

  /** Nobody asks for the batch any more. Resolves when nobody looks at its bytes. */
  async drop(batch: HashBatch): Promise<void> {
    this.#takeBack(batch);
    batch.isDropped = true;
    batch.job?.cancel();
    await batch.job?.ended;
    await batch.here;
  }

  #takeBack(batch: HashBatch): boolean {
    const at = this.#waiting.indexOf(batch);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }

  #hashHere(batch: HashBatch): void {
    batch.here = this.#hash(batch);
  }

  async #hash(batch: HashBatch): Promise<void> {
    const { shared, ranges } = batch;
    const count = ranges.length / 2;
    const ids = new Uint8Array(count * sha256Bytes);
    for (let from = 0, to = 0; from < count && !batch.isDropped; from = to) {
      if (from > 0) await this.#jobs.turn();
      for (let bytes = 0; to < count && bytes < pieceBytes; to++)
        bytes += ranges[2 * to + 1]! - ranges[2 * to]!;
      const piece = runTask({ kind: 'hash', shared, ranges: ranges.subarray(2 * from, 2 * to) });
      ids.set(piece.ids, from * sha256Bytes);
    }
    batch.ids = ids;
  }

  get #wantsThread(): boolean {
    const { length } = this.#starts;
    if (length === 0 || this.#waitingMax === 0) return length < this.#threads;
    return length < this.#threads && this.#busy >= length && this.#waiting.length > this.#waitingMax;
  }

  #dispatch(): void {
    const starts = this.#starts;
    for (let batch = this.#waiting[0]; batch !== undefined && this.#jobs.usable; batch = this.#waiting[0]) {
      const { shared, ranges } = batch;
      while (this.#wantsThread) starts.push(this.#submit(shared, noRanges));
      if (this.#busy >= starts.filter(({ hasEnded }) => hasEnded).length) return;
      this.#waiting.shift();
      const job = this.#submit(shared, ranges);
      batch.job = job;
      this.#busy++;
      void job.ended.then(() => this.#busy--);
    }
  }

  #submit(shared: SharedArrayBuffer, ranges: Uint32Array): Job<HashTask> {
    const job = this.#jobs.submit({ kind: 'hash', shared, ranges });
    // Behind what else waits for the end of this job.
    void job.ended.then(() => queueMicrotask(() => this.#dispatch()));
    return job;
  }
}
