/**
 * The proof of a pack's chunks, on threads, while the pack fills: every frame's bytes against its id.
 *
 * Invariants (test/backup/upload.test.ts)
 * - A chunk that is not what its id says is found before its pack is put ("a chunk with other bytes than its
 *   id names stops the pack").
 */
import { chunkFrame } from '../format/chunk-frame.ts';
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import type { Job, Jobs } from '../pool/jobs.ts';
import type { HashTask } from '../pool/port.ts';

/** Bytes of frames that one task hashes, about. */
const partBytes: number = 4 * 1024 * 1024;
/** From the bytes of a frame back to the id in front of them. */
const idBefore: number = chunkFrame.size - chunkFrame.at.chunkId;

interface Part {
  readonly bytes: Uint8Array;
  readonly job: Job<HashTask>;
}

export class PackProof {
  readonly #jobs: Jobs;
  readonly #parts: Part[] = [];
  /** Pairs of from and to that no task has yet. */
  #ranges: number[] = [];
  #waiting = 0;

  constructor(jobs: Jobs) {
    this.#jobs = jobs;
  }

  /**
   * The next frame begins at bytes[pos], which lies in shared memory; borrowed until `isWhole` resolves, or
   * `release`.
   */
  add(bytes: Uint8Array, pos: number, storedLen: number): void {
    const from = bytes.byteOffset + pos + chunkFrame.size;
    this.#ranges.push(from, from + storedLen);
    this.#waiting += storedLen;
    if (this.#waiting >= partBytes) this.#submit(bytes);
  }

  /** Whether every frame has the bytes its id names; `bytes`: the pack. Once. */
  async isWhole(bytes: Uint8Array): Promise<boolean> {
    // For less than a part no thread is started.
    if (this.#parts.length === 0 && !this.#jobs.pays(this.#waiting))
      return areRight(bytes, Uint32Array.from(this.#ranges), undefined);
    this.#submit(bytes);
    let isWhole = true;
    for (const { bytes: of, job } of this.#parts) {
      await job.ended;
      if (!areRight(of, job.task.ranges, job.result().ids)) isWhole = false;
    }
    return isWhole;
  }

  /** Gives up what no thread has begun. */
  release(): void {
    for (const { job } of this.#parts) job.cancel();
  }

  #submit(bytes: Uint8Array): void {
    if (this.#ranges.length === 0) return;
    const shared = bytes.buffer as SharedArrayBuffer;
    const ranges = Uint32Array.from(this.#ranges);
    this.#parts.push({
      bytes: new Uint8Array(shared),
      job: this.#jobs.submit({ kind: 'hash', shared, ranges }),
    });
    this.#ranges = [];
    this.#waiting = 0;
  }
}

/** `ids`: the digests that a thread has found; what it says to be wrong is looked at again. */
function areRight(bytes: Uint8Array, ranges: Uint32Array, ids: Uint8Array | undefined): boolean {
  const digest = new Uint8Array(sha256Bytes);
  for (let i = 0; i * 2 < ranges.length; i++) {
    const from = ranges[2 * i]!;
    if (ids !== undefined && isSame(ids, i * sha256Bytes, bytes, from - idBefore)) continue;
    sha256Into(bytes, from, ranges[2 * i + 1]!, digest, 0);
    if (!isSame(digest, 0, bytes, from - idBefore)) return false;
  }
  return true;
}

function isSame(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < sha256Bytes; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
