/**
 * Reads the chunks of one large value: chunks that lie behind each other in a segment come with one read of
 * many frames, which grows as long as the next chunk wanted lies behind the last.
 *
 * Invariants (test/chunk/run-reader.test.ts)
 * - it gives what the chunk store gives, and throws what it throws ("a run gives what single reads give",
 *   "damage is told as a single read tells it");
 * - frames that are kept for later reads are bounded ("runs stay within their bounds").
 */
import { equalBytes } from '../base/bytes.ts';
import type { VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { frameBytes } from '../format/chunk-frame.ts';
import { type ChunkKind, type ChunkLocation, chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { sha256 } from '../kernels/hash/sha256.ts';
import type { FrameRun } from '../segment/segment-reader.ts';
import { ChunkHit } from '../tree/chunk-table-reader.ts';
import { type ChunkStore, newLocation } from './chunk-store.ts';

const firstRunBytes: number = 128 * KiB;
const runBytesMax: number = 512 * KiB;
/** What may lie between two chunks of a value for the read to go on over it. */
const gapBytesMax: number = 32 * KiB;
const runsKept = 4;

interface Run {
  readonly segment: number;
  /** File offsets asked for: start, and end (exclusive). */
  readonly from: number;
  readonly to: number;
  /** Undefined where they could not be read. Never rejects. */
  readonly frames: Promise<FrameRun | undefined>;
  uses: number;
}

/** For one reader. What `read` returns is borrowed and never changed. */
export class RunReader {
  readonly #store: ChunkStore;
  readonly #row = new ChunkHit();
  readonly #place = newLocation();
  readonly #verify: boolean;
  readonly #runBytes: number;
  /** Newest last. */
  readonly #runs: Run[] = [];

  /**
   * `verify`: list nodes are checked against their id; data chunks are their reader's to check. `bytes`: of
   * all runs that are kept, unless a chunk alone is longer.
   */
  constructor(store: ChunkStore, verify = false, bytes: number = runsKept * runBytesMax) {
    this.#runBytes = Math.min(runBytesMax, Math.floor(bytes / runsKept));
    this.#store = store;
    this.#verify = verify;
  }

  /** As ChunkStore.read. */
  read(id: Uint8Array, hint: ChunkLocation | undefined, kind: ChunkKind): Promise<Uint8Array> {
    if (kind !== chunkKinds.data) return this.#readNode(id, hint, kind);
    if (hint !== undefined) return this.#readAt(hint, id, hint, kind);
    const place = this.#place;
    if (this.#store.placeNow(id, this.#row, place)) return this.#readAt(place, id, hint, kind);
    return this.#readLater(id, kind);
  }

  /** As ChunkStore.readSync. */
  readSync(id: Uint8Array, hint: ChunkLocation | undefined, kind: ChunkKind): Uint8Array {
    return this.#store.readSync(id, hint, kind);
  }

  /** As ChunkStore.mismatch. */
  mismatch(id: Uint8Array, hint: ChunkLocation | undefined): Promise<VarveError> {
    return this.#store.mismatch(id, hint);
  }

  async #readNode(id: Uint8Array, hint: ChunkLocation | undefined, kind: ChunkKind): Promise<Uint8Array> {
    const bytes = await this.#store.read(id, hint, kind);
    if (this.#verify && !equalBytes(sha256(bytes), id)) throw await this.#store.mismatch(id, hint);
    return bytes;
  }

  async #readLater(id: Uint8Array, kind: ChunkKind): Promise<Uint8Array> {
    const place = newLocation();
    if (!(await this.#store.place(id, place))) return await this.#store.read(id, undefined, kind);
    return await this.#readAt(place, id, undefined, kind);
  }

  /** `place` is borrowed for the call only. */
  async #readAt(
    { segment, off8, storedLen }: ChunkLocation,
    id: Uint8Array,
    hint: ChunkLocation | undefined,
    kind: ChunkKind,
  ): Promise<Uint8Array> {
    const run = this.#runOf(segment, off8 * 8, frameBytes(storedLen));
    run.uses++;
    const frames = await run.frames;
    const i = frames === undefined ? -1 : indexOf(frames.off8, off8);
    if (frames !== undefined && i >= 0 && frames.storedLen[i] === storedLen && hasId(frames, i, id)) {
      const from = frames.payloadFrom[i]!;
      return frames.bytes.subarray(from, from + storedLen);
    }
    // Moved, damaged, or not there: the store knows what to do.
    return await this.#store.read(id, hint, kind);
  }

  /** A run that has the frame, begun if need be. */
  #runOf(segment: number, from: number, length: number): Run {
    const known = this.#runs.find(
      (run) => run.segment === segment && run.from <= from && from + length <= run.to,
    );
    if (known !== undefined) return known;
    const bytes = Math.max(length, this.#nextBytes(segment, from));
    const frames = this.#store.readRun(segment, from / 8, bytes);
    const run: Run = { segment, from, to: from + bytes, frames, uses: 0 };
    this.#runs.push(run);
    if (this.#runs.length > runsKept) this.#runs.shift();
    return run;
  }

  #nextBytes(segment: number, from: number): number {
    const last = this.#runs.at(-1);
    const first = Math.min(firstRunBytes, this.#runBytes);
    if (last === undefined) return first;
    const goesOn = last.segment === segment && from > last.from && from <= last.to + gapBytesMax;
    if (goesOn) return Math.min(this.#runBytes, Math.max(first, (last.to - last.from) * 2));
    // Chunks that lie apart are read one by one.
    return last.uses > 1 ? first : 0;
  }
}

function indexOf(sorted: Uint32Array, wanted: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const value = sorted[middle]!;
    if (value === wanted) return middle;
    if (value < wanted) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

function hasId({ bytes, idAt }: FrameRun, i: number, id: Uint8Array): boolean {
  const at = idAt[i]!;
  for (let k = 0; k < chunkIdBytes; k++) if (bytes[at + k] !== id[k]) return false;
  return true;
}
