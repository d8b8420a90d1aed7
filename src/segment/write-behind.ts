/**
 * Appends to a file through a few write buffers: room is given out synchronously, full buffers go to the disk
 * in order, one write at a time, while the next one fills.
 *
 * Invariants (test/segment/write-behind.test.ts):
 * - the file is a prefix of what was appended, without holes: "file is always a prefix of what was appended";
 * - bytes are in a buffer until the file has them: same test;
 * - a failed write or sync is never retried: "a failed write or sync is final";
 * - bytes held are bounded for a caller that drains: "buffered bytes stay bounded when the caller drains";
 * - where it syncs ahead, a sync that fails there fails the writer: "a sync ahead that fails is final".
 */
import { assert } from '../base/assert.ts';
import { VarveError } from '../base/errors.ts';
import { type Deferred, deferred } from '../base/sync.ts';
import type { FsFile } from '../fs/port.ts';
import { type DirectBuffers, firstBufferBytes, growTo, type WriteBuffer } from './write-buffer.ts';

/** Buffers' worth of bytes not yet written at which `needsDrain` turns true. */
export const writeBuffersMax = 3;

interface Waiter {
  readonly until: number;
  readonly ready: Deferred<void>;
}

const plain = { shared: 0, closed: false, isDirect: false } as const;

export class WriteBehind {
  readonly #file: FsFile;
  readonly #bufferBytes: number;
  readonly #from: number;
  /** Oldest first; only the last may be open for appending. */
  readonly #buffers: WriteBuffer[] = [];
  readonly #spare: Uint8Array[] = [];
  readonly #direct: DirectBuffers | undefined;
  /** What is appended is not read soon: whole buffers go past the system's cache. */
  isBulk = false;
  #end: number;
  #writtenEnd: number;
  #goal: number;
  #syncedEnd = 0;
  #waiters: Waiter[] = [];
  #pumping: Promise<void> | undefined;
  #runningSync: Promise<number> | undefined;
  #nextSync: Promise<number> | undefined;
  readonly #syncAheadBytes: number | undefined;
  #aheadSync: Promise<void> | undefined;
  #failure: { cause: unknown } | undefined;
  #closed = false;

  /**
   * Appends to `file` (borrowed) from offset `from` on, below which it is written already. With
   * `syncAheadBytes` it is synced in the background whenever so much has been written since the last sync,
   * so that the disk is busy while the caller computes, and a `sync` in the end has little left to wait for.
   * `direct` has memory for what is written while `isBulk`.
   */
  constructor(
    file: FsFile,
    from: number,
    bufferBytes: number,
    syncAheadBytes?: number,
    direct?: DirectBuffers,
  ) {
    this.#syncAheadBytes = syncAheadBytes;
    this.#direct = direct;
    this.#file = file;
    this.#bufferBytes = bufferBytes;
    this.#from = from;
    this.#end = from;
    this.#writtenEnd = from;
    this.#goal = from;
  }

  /** File offset after the last byte appended. */
  get end(): number {
    return this.#end;
  }

  /** Everything below is in the file, if not durable. */
  get writtenEnd(): number {
    return this.#writtenEnd;
  }

  /** Everything below is durable; 0 before the first sync. */
  get syncedEnd(): number {
    return this.#syncedEnd;
  }

  /** At least `writeBuffersMax` buffers' worth waits to be written: those for direct writes are larger. */
  get needsDrain(): boolean {
    return this.#end - this.#writtenEnd >= this.#waitingMax;
  }

  get #waitingMax(): number {
    const direct = this.isBulk ? this.#direct?.bufferBytes : undefined;
    return writeBuffersMax * (direct ?? this.#bufferBytes);
  }

  /** VARVE_POISONED after a failure, VARVE_CLOSED after `settle`, else undefined. */
  refusal(): VarveError | undefined {
    const file = this.#file.path;
    if (this.#failure !== undefined) {
      const message = `${file}: an earlier write or sync failed, nothing more is written to this file`;
      return new VarveError('VARVE_POISONED', message, { file, cause: this.#failure.cause });
    }
    if (this.#closed) return new VarveError('VARVE_CLOSED', `${file}: the writer is closed`, { file });
    return undefined;
  }

  /** A buffer with room for `length` bytes at its `filled`; take it with `added` before the next call. */
  room(length: number): WriteBuffer {
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    const last = this.#buffers[this.#buffers.length - 1];
    const open = last?.closed === false ? last : undefined;
    const goesDirect = this.#goesDirect(length);
    if (open !== undefined && open.filled + length <= open.capacity && (open.isDirect || !goesDirect)) {
      growTo(open, open.filled + length);
      return open;
    }
    if (goesDirect) return this.#nextDirect(open);
    if (open !== undefined) this.#closeBuffer(open);
    const capacity = Math.max(length, this.#bufferBytes);
    const bytes = this.#newBytes(length);
    return this.#push({ bytes, capacity, base: this.#end, filled: 0, ...plain });
  }

  /** The `length` bytes given out by `room` are filled and part of the file from now on. */
  added(buffer: WriteBuffer, length: number): void {
    assert(buffer.filled + length <= buffer.bytes.length && !buffer.closed, 'room was given for the bytes');
    buffer.filled += length;
    this.#end += length;
    if (buffer.filled === buffer.capacity) this.#closeBuffer(buffer);
  }

  /**
   * Appends bytes[0..length), which are taken: nothing is copied. With `done` they are only borrowed, until
   * that is called, once: when the file has them, or nothing is written any more. Errors as `room`, and then
   * it is not called.
   */
  hand(bytes: Uint8Array, length: number, done?: () => void): void {
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    const last = this.#buffers[this.#buffers.length - 1];
    if (last !== undefined && !last.closed) this.#closeBuffer(last);
    const buffer = { bytes, capacity: length, base: this.#end, filled: 0, ...plain, done };
    this.added(this.#push(buffer), length);
  }

  /**
   * What one buffer holds from file offset `offset` on, borrowed until the next await or append; undefined
   * when the file has it or nothing was appended there.
   */
  buffered(offset: number): Uint8Array | undefined {
    for (const { bytes, base, filled } of this.#buffers) {
      if (offset >= base && offset < base + filled) return bytes.subarray(offset - base, filled);
    }
    return undefined;
  }

  /** Resolves when what was appended before the call no longer makes `needsDrain` true. */
  async drain(): Promise<void> {
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    const until = this.#end - this.#waitingMax + 1;
    // What is to be written may lie in a buffer that has not filled yet.
    this.#pump(until);
    await this.#written(until);
  }

  /** Hands everything appended before the call to the file; not durable. Errors as `sync`. */
  async flush(): Promise<void> {
    const end = this.#end;
    if (this.#writtenEnd >= end) return;
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    this.#pump(end);
    await this.#written(end);
  }

  /**
   * Makes everything appended before the call durable and resolves with an offset below which everything is.
   * Concurrent calls share one sync. Calls waiting when the disk fails get its error, later ones
   * VARVE_POISONED.
   */
  sync(): Promise<number> {
    if (this.#syncedEnd === this.#end) return Promise.resolve(this.#syncedEnd);
    const refusal = this.refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#nextSync ??= this.#runSync(this.#runningSync);
    return this.#nextSync;
  }

  /**
   * Writes what is left, then `last` (borrowed) after it, and syncs the whole file with its size and times.
   */
  async finish(last: Uint8Array): Promise<void> {
    const end = this.#end;
    this.#pump(end);
    await this.#written(end);
    await this.#durably(async () => {
      await this.#file.write(last, end);
      await this.#file.sync();
    });
    this.#syncedEnd = end;
  }

  /** Refuses new work and resolves when nothing is under way any more; the file can then be closed. */
  async settle(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([this.#pumping, this.#runningSync, this.#nextSync]);
    await this.#aheadSync;
    this.#spare.length = 0;
    for (let i = this.#buffers.length - 1; i >= 0; i--) {
      const { done } = this.#buffers[i]!;
      if (done === undefined) continue;
      this.#buffers.splice(i, 1);
      done();
    }
  }

  #push(buffer: WriteBuffer): WriteBuffer {
    this.#buffers.push(buffer);
    return buffer;
  }

  #goesDirect(length: number): boolean {
    const direct = this.isBulk ? this.#direct : undefined;
    return direct !== undefined && length <= direct.bufferBytes - direct.block;
  }

  #nextDirect(last: WriteBuffer | undefined): WriteBuffer {
    const buffer = this.#direct!.after(last, this.#end, this.#writtenEnd);
    if (last !== undefined) this.#closeBuffer(last);
    return this.#push(buffer);
  }

  #newBytes(length: number): Uint8Array {
    if (length > this.#bufferBytes) return new Uint8Array(length);
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    const first = this.#end === this.#from ? Math.max(length, firstBufferBytes) : this.#bufferBytes;
    return new Uint8Array(Math.min(first, this.#bufferBytes));
  }

  #closeBuffer(buffer: WriteBuffer): void {
    buffer.closed = true;
    this.#pump(buffer.base + buffer.filled - buffer.shared);
    this.#recycle();
  }

  /** What lies whole in the file is needed no more. */
  #recycle(): void {
    let buffer = this.#buffers[0];
    while (buffer?.closed === true && buffer.base + buffer.filled <= this.#writtenEnd) {
      this.#buffers.shift();
      buffer.done?.();
      if (buffer.isDirect) this.#direct?.give(buffer);
      else if (buffer.done === undefined && buffer.bytes.length === this.#bufferBytes) {
        if (this.#spare.length < writeBuffersMax) this.#spare.push(buffer.bytes);
      }
      buffer = this.#buffers[0];
    }
  }

  /** Sees to it that everything below `goal` gets written. */
  #pump(goal: number): void {
    if (goal > this.#goal) this.#goal = goal;
    if (this.#goal > this.#writtenEnd && this.#failure === undefined) this.#pumping ??= this.#writeAll();
  }

  /** Writes up to the goal, which may rise meanwhile. Never rejects: a failure poisons the writer. */
  async #writeAll(): Promise<void> {
    try {
      while (this.#writtenEnd < this.#goal) {
        const { bytes, base, filled, shared, isDirect } = this.#firstUnwritten();
        const piece = bytes.subarray(this.#writtenEnd - base, filled - shared);
        if (isDirect) await this.#file.writeDirect(piece, this.#writtenEnd);
        else await this.#file.write(piece, this.#writtenEnd);
        if (this.#failure !== undefined) return;
        this.#writtenEnd += piece.length;
        this.#recycle();
        this.#wake();
        this.#syncAhead();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pumping = undefined;
    }
  }

  #firstUnwritten(): WriteBuffer {
    const end = this.#writtenEnd;
    const buffer = this.#buffers.find(({ base, filled, shared }) => base + filled - shared > end);
    assert(buffer !== undefined && buffer.base <= end, 'buffers follow each other');
    return buffer;
  }

  #syncAhead(): void {
    const least = this.#syncAheadBytes;
    if (least === undefined || this.#runningSync !== undefined) return;
    if (this.#writtenEnd - Math.max(this.#syncedEnd, this.#from) < least) return;
    this.#aheadSync ??= this.#syncWritten(this.#writtenEnd).finally(() => {
      this.#aheadSync = undefined;
    });
  }

  /** Never rejects: a failure poisons the writer, which tells whoever appends or syncs next. */
  async #syncWritten(upTo: number): Promise<void> {
    const durable = this.#durably(() => this.#file.dataSync());
    await durable.then(
      () => {
        this.#syncedEnd = Math.max(this.#syncedEnd, upTo);
      },
      () => undefined,
    );
  }

  #fail(cause: unknown): void {
    this.#failure ??= { cause };
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { ready } of waiters) ready.reject(cause);
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const left: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (waiter.until <= this.#writtenEnd) waiter.ready.resolve();
      else left.push(waiter);
    }
    this.#waiters = left;
  }

  /** Resolves once everything below `until` is in the file; its writing must have been asked for. */
  #written(until: number): Promise<void> {
    if (until <= this.#writtenEnd) return Promise.resolve();
    if (this.#failure !== undefined) return Promise.reject(this.#failure.cause);
    const ready = deferred<void>();
    this.#waiters.push({ until, ready });
    return ready.promise;
  }

  /** One sync for everybody who asks before it starts, which is when the one under way has ended. */
  async #runSync(previous: Promise<number> | undefined): Promise<number> {
    await Promise.allSettled([previous]);
    this.#runningSync = this.#nextSync;
    this.#nextSync = undefined;
    try {
      const target = this.#end;
      if (target > this.#syncedEnd) {
        this.#pump(target);
        await this.#written(target);
        await this.#durably(() => this.#file.dataSync());
        // The sync of `finish`, begun later, may have ended before this one.
        this.#syncedEnd = Math.max(this.#syncedEnd, target);
      }
      return this.#syncedEnd;
    } finally {
      this.#runningSync = undefined;
    }
  }

  async #durably(work: () => Promise<void>): Promise<void> {
    this.#throwFailure();
    try {
      await work();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    // A sync that overlapped a failed write or sync of this file proves nothing.
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.cause;
  }
}
