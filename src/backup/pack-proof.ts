/**
 * The name of a pack and the proof of its chunks, computed on threads: every frame's bytes against its id,
 * and the SHA-256 of the whole.
 *
 * Invariants (test/backup/upload.test.ts)
 * - A chunk that is not what its id says is found before its pack is put ("a chunk with other bytes than its
 *   id names stops the pack").
 */
import { chunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import type { Job, Jobs } from '../pool/jobs.ts';
import type { HashTask } from '../pool/port.ts';
import type { UnnamedPack } from './pack-builder.ts';

/** Bytes of frames that one task hashes, about. */
const partBytes: number = 4 * 1024 * 1024;

/** What threads found of a pack. */
export interface PackProof {
  /** 32 bytes. */
  readonly name: Uint8Array;
  /** Every frame has the bytes its id names; true where that was not asked for (`prove`). */
  readonly isWhole: boolean;
}

/**
 * Hashes the pack, which lies in shared memory, borrowed until it resolves. The calling thread computes only
 * what threads fail to.
 */
export async function provePack(
  jobs: Jobs,
  { bytes, frames }: UnnamedPack,
  prove: boolean,
): Promise<PackProof> {
  const shared = bytes.buffer as SharedArrayBuffer;
  const submit = (ranges: Uint32Array): Job<HashTask> => jobs.submit({ kind: 'hash', shared, ranges });
  const whole = submit(Uint32Array.of(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const parts: { from: number; job: Job<HashTask> }[] = [];
  for (let from = 0; prove && from < frames.count; ) {
    let to = from;
    for (let length = 0; to < frames.count && length < partBytes; to++) length += frames.storedLen[to]!;
    const ranges = new Uint32Array(2 * (to - from));
    for (let i = from; i < to; i++) {
      const at = bytes.byteOffset + frames.off8[i]! * 8 + chunkFrame.size;
      ranges[2 * (i - from)] = at;
      ranges[2 * (i - from) + 1] = at + frames.storedLen[i]!;
    }
    parts.push({ from, job: submit(ranges) });
    from = to;
  }
  let isWhole = true;
  for (const { from, job } of parts) {
    await job.ended;
    const { ids } = job.result();
    for (let i = 0; i * sha256Bytes < ids.length; i++) {
      const same = isSame(ids, i * sha256Bytes, frames.ids, (from + i) * chunkIdBytes);
      if (!same && !isRight(bytes, frames, from + i)) isWhole = false;
    }
  }
  await whole.ended;
  return { name: whole.result().ids, isWhole };
}

/** What a thread says to be wrong is looked at again. */
function isRight(bytes: Uint8Array, frames: UnnamedPack['frames'], i: number): boolean {
  const at = frames.off8[i]! * 8 + chunkFrame.size;
  const digest = new Uint8Array(sha256Bytes);
  sha256Into(bytes, at, at + frames.storedLen[i]!, digest, 0);
  return isSame(digest, 0, frames.ids, i * chunkIdBytes);
}

function isSame(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < sha256Bytes; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
