/**
 * Checks that bytes are those their ids name, on threads: in shared buffers, a batch at a time, several
 * batches under way. Bytes are copied into them, or read into them in the first place (`memory`). Where no
 * buffer is to be had the calling thread hashes.
 *
 * Invariants (test/pool/id-checker.test.ts)
 * - each range that is not what its id says is told once, in the order of `add`, and no other ("tells what a
 *   single thread would, in order, whatever becomes of threads");
 * - after `finish` or `release` no buffer is held ("gives its buffers back however it ends").
 */
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import type { BufferRing } from './buffer-ring.ts';
import { type HashBatch, HashTurns } from './hash-turns.ts';
import type { Jobs } from './jobs.ts';

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

/** In shared memory: ids, each with the bytes it names behind it. */
interface Batch {
  readonly shared: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  /** Pairs of from and to, of the bytes without the id. */
  ranges: Uint32Array;
  tags: Float64Array;
  count: number;
  filled: number;
  /** Somebody reads into it: nothing is copied there. */
  isLent: boolean;
  hashed: HashBatch | undefined;
}

/** One call at a time. */
export class IdChecker {
  readonly #threads: HashThreads | undefined;
  readonly #turns: HashTurns | undefined;
  readonly #onWrong: OnWrong;
  readonly #digest = new Uint8Array(sha256Bytes);
  readonly #sent: Batch[] = [];
  #filling: Batch | undefined;
  #joined = false;

  /** `threads` undefined: everything on the calling thread, at once. */
  constructor(threads: HashThreads | undefined, onWrong: OnWrong) {
    this.#threads = threads;
    if (threads !== undefined) this.#turns = new HashTurns(threads.jobs);
    this.#onWrong = onWrong;
  }

  /**
   * Memory to read into what is to be checked: an id and the bytes it names right behind it are then checked
   * where they lie. It is the caller's until the next call of `memory`, `finish` or `release`; whatever was
   * given to `add` stays as it is. Undefined: there is none at the moment, and everything is copied.
   */
  async memory(): Promise<Uint8Array | undefined> {
    if (this.#threads === undefined) return undefined;
    if (this.#filling?.isLent !== true || this.#filling.count > 0) await this.#next(this.#threads);
    if (this.#filling === undefined) return undefined;
    this.#filling.isLent = true;
    return this.#filling.bytes;
  }

  /**
   * Checks buf[from..to) against the id at buf[idAt..idAt+32), both copied unless they lie in `memory`; `tag`
   * is any number. What is wrong may be told later. A promise where others must be finished first: wait for
   * it.
   */
  add(buf: Uint8Array, idAt: number, from: number, to: number, tag: number): void | Promise<void> {
    const batch = this.#filling;
    if (batch?.isLent === true && buf.buffer === batch.shared && idAt + sha256Bytes === from)
      return note(batch, buf.byteOffset + from, to - from, tag);
    const length = sha256Bytes + to - from + wordBytes;
    if (this.#threads === undefined || length > this.#threads.ring.bufferBytes)
      return this.#sent.length > 0 || this.#filling !== undefined
        ? this.finish().then(() => this.#checkHere(buf, idAt, from, to, tag))
        : this.#checkHere(buf, idAt, from, to, tag);
    if (batch?.isLent === false && batch.filled + length <= batch.bytes.length) {
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
      // What a thread still makes of it is nobody's.
      if (batch.hashed !== undefined) void this.#turns?.drop(batch.hashed);
      this.#threads?.ring.give(batch.shared);
    }
    this.#sent.length = 0;
    this.#filling = undefined;
    if (this.#joined) this.#threads?.ring.leave();
    this.#joined = false;
  }

  async #addToNext(
    threads: HashThreads,
    buf: Uint8Array,
    idAt: number,
    from: number,
    to: number,
    tag: number,
  ): Promise<void> {
    await this.#next(threads);
    if (this.#filling === undefined) this.#checkHere(buf, idAt, from, to, tag);
    else put(this.#filling, buf, idAt, from, to, tag);
  }

  /** Sends what was filled and takes a batch to fill next, if there is memory for one. */
  async #next({ ring, jobs }: HashThreads): Promise<void> {
    this.#send();
    if (this.#sent.length >= batchesMax) await this.#checkOldest();
    while (this.#sent[0]?.hashed?.isHashed === true) await this.#checkOldest();
    if (!this.#joined) ring.join();
    this.#joined = true;
    for (;;) {
      const shared = jobs.usable ? ring.take(this.#sent.length) : undefined;
      if (shared !== undefined) this.#filling = newBatch(shared);
      if (shared !== undefined || this.#sent.length === 0) return;
      await this.#checkOldest();
    }
  }

  #send(): void {
    const batch = this.#filling;
    if (batch === undefined) return;
    batch.hashed = this.#turns!.offer(batch.shared, batch.ranges.slice(0, batch.count * 2));
    this.#sent.push(batch);
    this.#filling = undefined;
  }

  async #checkOldest(): Promise<void> {
    const batch = this.#sent[0]!;
    const ids = await this.#turns!.result(batch.hashed!);
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
    isLent: false,
    hashed: undefined,
  };
}

function put(batch: Batch, buf: Uint8Array, idAt: number, from: number, to: number, tag: number): void {
  const { bytes } = batch;
  const next = batch.filled + sha256Bytes;
  const at = next + ((buf.byteOffset + from - next) & (wordBytes - 1));
  bytes.set(buf.subarray(idAt, idAt + sha256Bytes), at - sha256Bytes);
  bytes.set(buf.subarray(from, to), at);
  note(batch, at, to - from, tag);
  batch.filled = at + to - from;
}

/** The id right before `at` is that of the `length` bytes there. */
function note(batch: Batch, at: number, length: number, tag: number): void {
  const { count } = batch;
  if (count === batch.tags.length) grow(batch);
  batch.ranges[2 * count] = at;
  batch.ranges[2 * count + 1] = at + length;
  batch.tags[count] = tag;
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
