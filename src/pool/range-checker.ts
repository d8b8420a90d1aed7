/**
 * Checks that bytes are those their ids name, on threads, where the caller can have them read straight into
 * the memory that threads see: nothing is copied. Several buffers are under way; where there are no threads
 * the calling thread hashes, in a buffer of its own.
 *
 * Invariants (test/pool/range-checker.test.ts)
 * - `finish` says whether every range is what its id says, as a single thread would, whatever becomes of
 *   threads ("says what a single thread would, whatever becomes of threads");
 * - after `release` no buffer is held (the same test).
 */
import { equalBytes } from '../base/bytes.ts';
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import type { HashThreads } from './id-checker.ts';
import type { Job } from './jobs.ts';
import type { HashTask } from './port.ts';

interface Batch {
  readonly shared: SharedArrayBuffer;
  readonly ids: Uint8Array;
  readonly job: Job<HashTask>;
}

/** One call at a time. */
export class RangeChecker {
  readonly #threads: HashThreads | undefined;
  readonly #sent: Batch[] = [];
  /** Given out by `buffer`, and not sent yet. */
  #lent: SharedArrayBuffer | undefined;
  #own: Uint8Array | undefined;
  #joined = false;
  #right = true;

  /** `threads` undefined: everything on the calling thread, at once. */
  constructor(threads: HashThreads | undefined) {
    this.#threads = threads;
  }

  /** `buffer` gives so many bytes at once. */
  get bytesMax(): number {
    return this.#threads?.ring.bufferBytes ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Memory of `length` bytes with any content, to be filled and given to `send` before the next call.
   * Undefined: a buffer has not so many.
   */
  async buffer(length: number): Promise<Uint8Array | undefined> {
    if (this.#threads === undefined) return this.#ownBuffer(length);
    const { ring, jobs } = this.#threads;
    if (length > this.bytesMax) return undefined;
    if (!this.#joined) ring.join();
    this.#joined = true;
    while (this.#sent[0]?.job.hasEnded === true) await this.#checkOldest();
    for (;;) {
      this.#lent ??= jobs.usable ? ring.take(this.#sent.length) : undefined;
      if (this.#lent !== undefined) return new Uint8Array(this.#lent, 0, length);
      if (this.#sent.length === 0) return this.#ownBuffer(length);
      await this.#checkOldest();
    }
  }

  /**
   * Checks ranges (pairs of from and to, taken) of what `buffer` gave last against the ids, 32 bytes apiece
   * (borrowed until `finish`).
   */
  send(bytes: Uint8Array, ranges: Uint32Array, ids: Uint8Array): void {
    const shared = this.#lent;
    if (shared === undefined || this.#threads === undefined) {
      const digest = new Uint8Array(sha256Bytes);
      for (let i = 0; this.#right && i < ranges.length; i += 2) {
        sha256Into(bytes, ranges[i]!, ranges[i + 1]!, digest, 0);
        this.#right = isSame(digest, 0, ids, (i / 2) * sha256Bytes);
      }
      return;
    }
    this.#lent = undefined;
    this.#sent.push({ shared, ids, job: this.#threads.jobs.submit({ kind: 'hash', shared, ranges }) });
  }

  /** Whether all that was sent was right. A thread that lies makes right bytes wrong, never the reverse. */
  async finish(): Promise<boolean> {
    while (this.#sent.length > 0) await this.#checkOldest();
    return this.#right;
  }

  /** Gives up what has not been checked, and every buffer. Idempotent. */
  release(): void {
    for (const { job, shared } of this.#sent) {
      job.cancel();
      this.#threads?.ring.give(shared);
    }
    this.#sent.length = 0;
    if (this.#lent !== undefined) this.#threads?.ring.give(this.#lent);
    this.#lent = undefined;
    if (this.#joined) this.#threads?.ring.leave();
    this.#joined = false;
  }

  #ownBuffer(length: number): Uint8Array {
    if (this.#own === undefined || this.#own.length < length) this.#own = new Uint8Array(length);
    return this.#own.subarray(0, length);
  }

  async #checkOldest(): Promise<void> {
    const { job, ids, shared } = this.#sent[0]!;
    const digests = (await this.#threads!.jobs.result(job)).ids;
    this.#sent.shift();
    this.#threads!.ring.give(shared);
    if (!equalBytes(digests, ids)) this.#right = false;
  }
}

function isSame(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < sha256Bytes; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
