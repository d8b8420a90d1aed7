/**
 * Checks that bytes are those their ids name, on threads: copied into shared buffers, a batch at a time,
 * several batches under way. Where no buffer is to be had the calling thread hashes.
 *
 * Invariants (test/pool/id-checker.test.ts)
 * - each range that is not what its id says is told once, in the order of `add`, and no other ("tells what a
 *   single thread would, in order, whatever becomes of threads");
 * - after `finish` or `release` no buffer is held ("gives its buffers back however it ends").
 */
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import type { BufferRing } from './buffer-ring.ts';
import type { Job, Jobs } from './jobs.ts';
import type { HashTask } from './port.ts';

/** Batches under way; one more is being filled. */
const batchesMax = 3;
/** Bytes that lie alike within a word are copied into shared memory several times as fast as others. */
const wordBytes = 8;
/** Room for the ranges of a batch, before it grows. */
const rangesFirst = 512;

/** Threads to hash on, and the memory for it. */
export interface HashThreads {
  readonly jobs: Jobs;
  readonly ring: BufferRing;
}

/** The bytes given to `add` with `tag` have another SHA-256 than `id` (copied), and are `length` long. */
export type OnWrong = (tag: number, id: Uint8Array, length: number) => void;

/** In shared memory: each id, with the bytes it names behind it. */
interface Batch {
  readonly shared: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  /** Pairs of from and to, of the bytes without the id. */
  ranges: Uint32Array;
  tags: Float64Array;
  count: number;
  filled: number;
  job: Job<HashTask> | undefined;
}

/** One call at a time. */
export class IdChecker {
  readonly #threads: HashThreads | undefined;
  readonly #onWrong: OnWrong;
  readonly #digest = new Uint8Array(sha256Bytes);
  readonly #sent: Batch[] = [];
  #filling: Batch | undefined;
  #joined = false;

  /** `threads` undefined: everything on the calling thread, at once. */
  constructor(threads: HashThreads | undefined, onWrong: OnWrong) {
    this.#threads = threads;
    this.#onWrong = onWrong;
  }

  /**
   * Checks buf[from..to) against the id at buf[idAt..idAt+32), both copied; `tag` is any number. What is
   * wrong may be told later. A promise where others must be finished first: wait for it.
   */
  add(buf: Uint8Array, idAt: number, from: number, to: number, tag: number): void | Promise<void> {
    const length = sha256Bytes + to - from + wordBytes;
    if (this.#threads === undefined || length > this.#threads.ring.bufferBytes)
      return this.#sent.length > 0 || this.#filling !== undefined
        ? this.finish().then(() => this.#checkHere(buf, idAt, from, to, tag))
        : this.#checkHere(buf, idAt, from, to, tag);
    const batch = this.#filling;
    if (batch !== undefined && batch.filled + length <= batch.bytes.length) {
      put(batch, buf, idAt, from, to, tag);
      return undefined;
    }
    return this.#addToNext(this.#threads, buf, idAt, from, to, tag);
  }

  /** Resolves when everything given to `add` has been checked, and gives the buffers back. */
  async finish(): Promise<void> {
    try {
      this.#send();
      while (this.#sent.length > 0) await this.#checkOldest();
    } finally {
      this.release();
    }
  }

  /** Gives up what has not been checked, and every buffer. Idempotent. */
  release(): void {
    const batches = this.#filling === undefined ? this.#sent : [...this.#sent, this.#filling];
    for (const batch of batches) {
      batch.job?.cancel();
      this.#threads?.ring.give(batch.shared);
    }
    this.#sent.length = 0;
    this.#filling = undefined;
    if (this.#joined) this.#threads?.ring.leave();
    this.#joined = false;
  }

  async #addToNext(
    { ring, jobs }: HashThreads,
    buf: Uint8Array,
    idAt: number,
    from: number,
    to: number,
    tag: number,
  ): Promise<void> {
    this.#send();
    if (this.#sent.length >= batchesMax) await this.#checkOldest();
    while (this.#sent[0]?.job?.hasEnded === true) await this.#checkOldest();
    if (!this.#joined) ring.join();
    this.#joined = true;
    for (;;) {
      const shared = jobs.usable ? ring.take(this.#sent.length) : undefined;
      if (shared !== undefined) {
        this.#filling = newBatch(shared);
        put(this.#filling, buf, idAt, from, to, tag);
        return;
      }
      if (this.#sent.length === 0) break;
      await this.#checkOldest();
    }
    this.#checkHere(buf, idAt, from, to, tag);
  }

  #send(): void {
    const batch = this.#filling;
    if (batch === undefined) return;
    const ranges = batch.ranges.slice(0, batch.count * 2);
    batch.job = this.#threads!.jobs.submit({ kind: 'hash', shared: batch.shared, ranges });
    this.#sent.push(batch);
    this.#filling = undefined;
  }

  async #checkOldest(): Promise<void> {
    const batch = this.#sent[0]!;
    const { ids } = await this.#threads!.jobs.result(batch.job!);
    // Released meanwhile: the buffer is another's by now.
    if (this.#sent[0] !== batch) return;
    this.#sent.shift();
    try {
      this.#tell(batch, ids);
    } finally {
      this.#threads!.ring.give(batch.shared);
    }
  }

  #tell({ bytes, ranges, tags, count }: Batch, ids: Uint8Array): void {
    for (let i = 0; i < count; i++) {
      const from = ranges[2 * i]!;
      const idAt = from - sha256Bytes;
      if (!isSame(ids, i * sha256Bytes, bytes, idAt))
        this.#onWrong(tags[i]!, Uint8Array.from(bytes.subarray(idAt, from)), ranges[2 * i + 1]! - from);
    }
  }

  #checkHere(buf: Uint8Array, idAt: number, from: number, to: number, tag: number): void {
    sha256Into(buf, from, to, this.#digest, 0);
    if (!isSame(this.#digest, 0, buf, idAt))
      this.#onWrong(tag, buf.slice(idAt, idAt + sha256Bytes), to - from);
  }
}

function newBatch(shared: SharedArrayBuffer): Batch {
  return {
    shared,
    bytes: new Uint8Array(shared),
    ranges: new Uint32Array(rangesFirst * 2),
    tags: new Float64Array(rangesFirst),
    count: 0,
    filled: 0,
    job: undefined,
  };
}

function put(batch: Batch, buf: Uint8Array, idAt: number, from: number, to: number, tag: number): void {
  const { bytes, count } = batch;
  if (count === batch.tags.length) grow(batch);
  const next = batch.filled + sha256Bytes;
  const at = next + ((buf.byteOffset + from - next) & (wordBytes - 1));
  bytes.set(buf.subarray(idAt, idAt + sha256Bytes), at - sha256Bytes);
  bytes.set(buf.subarray(from, to), at);
  batch.ranges[2 * count] = at;
  batch.ranges[2 * count + 1] = at + to - from;
  batch.tags[count] = tag;
  batch.filled = at + to - from;
  batch.count++;
}

function grow(batch: Batch): void {
  const ranges = new Uint32Array(batch.ranges.length * 2);
  ranges.set(batch.ranges);
  const tags = new Float64Array(batch.tags.length * 2);
  tags.set(batch.tags);
  batch.ranges = ranges;
  batch.tags = tags;
}

function isSame(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < sha256Bytes; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
