/**
 * Chunks of a vault on their way into a store that is restored: read, copied into shared memory, held against
 * their ids on threads, and stored then, a batch at a time. What depends on them waits in order.
 *
 * Memory: the buffers of the ring, and what waits: `actionsMax` rows for each of them.
 *
 * Invariants (test/backup/chunk-intake.test.ts)
 * - No chunk is stored that was not found to be what its id says ("what is restored does not depend on
 *   threads").
 * - Actions run in the order they were given, each behind all chunks taken before it (same test).
 */
import { toHex } from '../base/bytes.ts';
import { corrupt, isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { ChunkFrame, chunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { sha256Bytes } from '../kernels/hash/sha256.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import type { Job } from '../pool/jobs.ts';
import type { HashTask } from '../pool/port.ts';
import type { StoreBuilder } from './store-builder.ts';
import type { PlacedFrame, ReadFrame, VaultReader } from './vault-reader.ts';

/** Actions that wait for one batch: it is sent before there are more. */
const actionsMax = 1024;

/** Whatever needs chunks. */
export interface ChunkOwner {
  /** Why one of them is not to be had. */
  failed: VarveError | undefined;
}

interface TakenFrame {
  readonly id: string;
  readonly pos: number;
  readonly frame: ChunkFrame;
  readonly file: string;
  readonly offset: number;
  readonly owners: ChunkOwner[];
}

interface Batch {
  readonly shared: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly frames: TakenFrame[];
  readonly actions: (() => Promise<void>)[];
  filled: number;
  job: Job<HashTask> | undefined;
}

export interface IntakeOptions {
  readonly reader: VaultReader;
  readonly builder: StoreBuilder;
  /** All on the calling thread without. */
  readonly threads: HashThreads | undefined;
  /** Bytes that are to come, about. */
  readonly expected: number;
}

export class ChunkIntake {
  readonly #options: IntakeOptions;
  /** Batches under way, oldest first. */
  readonly #sent: Batch[] = [];
  readonly #taken = new Map<string, TakenFrame>();
  #filling: Batch | undefined;
  #expected: number;
  #joined = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#expected = options.expected;
  }

  /**
   * Sees that the store gets the chunk, or `owner` is told. A promise: wait for it before the next call.
   * VARVE_CORRUPT when that is known at once.
   */
  take(buf: Uint8Array, idAt: number, owner: ChunkOwner): void | Promise<void> {
    const id = toHex(buf.subarray(idAt, idAt + chunkIdBytes));
    const taken = this.#taken.get(id);
    if (taken !== undefined) {
      taken.owners.push(owner);
      return undefined;
    }
    // As a rule the batch has room, and the frame is in memory: nothing is waited for.
    const has = this.#filling === undefined ? undefined : this.#options.builder.hasNow(buf, idAt);
    if (has === true) return undefined;
    const read = has === undefined ? undefined : this.#readNow(buf, idAt);
    const batch = read === undefined ? undefined : this.#batchFor(read.frame.next - read.pos);
    if (read === undefined || batch === undefined) return this.#takeLater(id, buf, idAt, owner);
    this.#expected -= read.frame.storedLen;
    this.#put(batch, id, read, owner);
  }

  /** Undefined also where what lies there is damaged: the other way tells. */
  #readNow(buf: Uint8Array, idAt: number): PlacedFrame | undefined {
    try {
      return this.#options.reader.readNow(buf, idAt);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) throw error;
      return undefined;
    }
  }

  async #takeLater(id: string, buf: Uint8Array, idAt: number, owner: ChunkOwner): Promise<void> {
    const { builder, reader, threads } = this.#options;
    if ((await builder.find(buf, idAt)) !== undefined) return;
    if (threads === undefined || !threads.jobs.pays(this.#expected)) {
      const { buf: bytes, pos, frame } = await reader.readFrame(buf, idAt);
      this.#passed(frame);
      await builder.addFrame(bytes, pos, frame);
      return;
    }
    let read: PlacedFrame;
    try {
      read = await reader.readUnproved(buf, idAt);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
      const copy = await reader.readCopy(buf.slice(idAt, idAt + chunkIdBytes), error);
      await builder.addFrame(copy.buf, copy.pos, copy.frame);
      return;
    }
    this.#expected -= read.frame.storedLen;
    const length = read.frame.next - read.pos;
    const batch = this.#batchFor(length) ?? (await this.#nextBatch(length));
    if (batch !== undefined) {
      this.#put(batch, id, read, owner);
      return;
    }
    // Read again: waiting for a buffer others may have been read into its window.
    const { buf: bytes, pos, frame } = await reader.readFrame(buf, idAt);
    await builder.addFrame(bytes, pos, frame);
  }

  /** Runs `action` behind all that was taken before; waits where too much is waiting. */
  async behind(action: () => Promise<void>): Promise<void> {
    const last = this.#filling ?? this.#sent.at(-1);
    if (last === undefined) {
      await action();
      return;
    }
    last.actions.push(action);
    if (last.actions.length < actionsMax) return;
    this.#send();
    await this.#storeOldest();
  }

  /** Resolves when everything is stored and every action has run. */
  async finish(): Promise<void> {
    this.#send();
    while (this.#sent.length > 0) await this.#storeOldest();
  }

  /** Gives up what is under way, and every buffer. Idempotent. */
  release(): void {
    const { threads } = this.#options;
    const batches = this.#filling === undefined ? this.#sent : [...this.#sent, this.#filling];
    for (const { job, shared } of batches) {
      job?.cancel();
      threads?.ring.give(shared);
    }
    this.#sent.length = 0;
    this.#filling = undefined;
    this.#taken.clear();
    if (this.#joined) threads?.ring.leave();
    this.#joined = false;
  }

  #passed({ storedLen }: ChunkFrame): void {
    this.#expected -= storedLen;
    this.#options.threads?.jobs.passed(storedLen);
  }

  #batchFor(length: number): Batch | undefined {
    const batch = this.#filling;
    return batch !== undefined && batch.filled + length <= batch.bytes.length ? batch : undefined;
  }

  /** A batch with room; undefined where a frame of that length finds none. */
  async #nextBatch(length: number): Promise<Batch | undefined> {
    const { ring, jobs } = this.#options.threads!;
    if (length > ring.bufferBytes) return undefined;
    this.#send();
    while (this.#sent[0]?.job?.hasEnded === true) await this.#storeOldest();
    if (!this.#joined) ring.join();
    this.#joined = true;
    for (;;) {
      const shared = jobs.usable ? ring.take(this.#sent.length) : undefined;
      if (shared !== undefined) {
        const bytes = new Uint8Array(shared);
        this.#filling = { shared, bytes, frames: [], actions: [], filled: 0, job: undefined };
        return this.#filling;
      }
      if (this.#sent.length === 0) return undefined;
      await this.#storeOldest();
    }
  }

  #put(batch: Batch, id: string, { buf, pos, frame, file, offset }: PlacedFrame, owner: ChunkOwner): void {
    const at = batch.filled;
    batch.bytes.set(buf.subarray(pos, frame.next), at);
    batch.filled = at + frame.next - pos;
    const own = new ChunkFrame();
    Object.assign(own, frame);
    own.idAt = at + chunkFrame.at.chunkId;
    own.payloadFrom = at + chunkFrame.size;
    own.payloadTo = own.payloadFrom + frame.storedLen;
    own.next = batch.filled;
    const taken = { id, pos: at, frame: own, file, offset, owners: [owner] };
    batch.frames.push(taken);
    this.#taken.set(id, taken);
  }

  #send(): void {
    const batch = this.#filling;
    if (batch === undefined) return;
    const { shared, frames } = batch;
    const ranges = new Uint32Array(2 * frames.length);
    for (const [i, { frame }] of frames.entries()) {
      ranges[2 * i] = frame.payloadFrom;
      ranges[2 * i + 1] = frame.payloadTo;
    }
    batch.job = this.#options.threads!.jobs.submit({ kind: 'hash', shared, ranges });
    this.#sent.push(batch);
    this.#filling = undefined;
  }

  async #storeOldest(): Promise<void> {
    const batch = this.#sent[0]!;
    const { threads } = this.#options;
    const { ids } = await threads!.jobs.result(batch.job!);
    for (const [i, taken] of batch.frames.entries()) {
      const stored = this.#store(batch, taken, ids, i * sha256Bytes);
      if (stored !== undefined) await stored;
      this.#taken.delete(taken.id);
    }
    // Only now: until here others found these chunks among what was taken.
    this.#sent.shift();
    threads!.ring.give(batch.shared);
    for (const action of batch.actions) await action();
  }

  #store({ bytes }: Batch, taken: TakenFrame, digests: Uint8Array, at: number): void | Promise<void> {
    const { frame, pos } = taken;
    for (let i = 0; i < sha256Bytes; i++)
      if (digests[at + i] !== bytes[frame.idAt + i]) return this.#storeCopy(bytes, taken);
    return this.#options.builder.addFrame(bytes, pos, frame);
  }

  /**
   * Another copy of a chunk whose bytes are not what its id says; where there is none its owners are told.
   */
  async #storeCopy(bytes: Uint8Array, { frame, file, offset, owners }: TakenFrame): Promise<void> {
    const { builder, reader } = this.#options;
    let copy: ReadFrame;
    try {
      const error = corrupt('chunk does not have the bytes its id names', { file, offset });
      copy = await reader.readCopy(bytes.slice(frame.idAt, frame.idAt + chunkIdBytes), error);
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      for (const owner of owners) owner.failed ??= error;
      return;
    }
    await builder.addFrame(copy.buf, copy.pos, copy.frame);
  }
}
