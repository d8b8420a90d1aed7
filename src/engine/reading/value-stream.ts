/**
 * Reads of one value that go on over several calls of a caller: as a byte stream, or as the pieces it was
 * read in.
 *
 * Invariants (test/engine/reads.test.ts)
 * - the version that is read is kept until the read ends, however it ends ("what a read has found …");
 * - a read under way is a call that close() waits for, and between two of them it holds up nothing.
 */
import type { Seq } from '../../base/brands.ts';
import { VarveError } from '../../base/errors.ts';
import { KiB } from '../../base/limits.ts';
import type { ValueRecord } from '../../format/value-record.ts';
import { BulkReader } from '../../value/bulk-reader.ts';
import type { RunBatch } from '../../value/run-batch.ts';
import { newArray } from '../../value/value-copy.ts';
import { throwIfAborted } from '../key-args.ts';
import type { Store } from '../store.ts';
import type { StreamOptions } from '../types.ts';
import type { Pin } from './read-marks.ts';

/** Bytes handed to a stream together: each hand-out costs as much as reading a chunk. */
const gatheredBytesMax: number = 256 * KiB;

/** What a read of a value goes by. */
export interface ValueRequest {
  /** The version, in memory that stays, when its first bytes are asked for; undefined: VARVE_NOT_FOUND. */
  readonly find: () => Promise<{ readonly record: ValueRecord } | undefined>;
  /** Kept until the read ends; something must keep it at the moment of the call. */
  readonly seq: Seq;
  /** Checked; the range is whole. */
  readonly options: StreamOptions & { readonly start: number; readonly end?: number | undefined };
  /** Throws when no more is to be read. */
  readonly check: () => void;
}

/** One read of a value, batch by batch. */
class ValueRead {
  readonly #store: Store;
  readonly #request: ValueRequest;
  readonly #mark: Pin;
  #reader: BulkReader | undefined;
  #isOver = false;

  constructor(store: Store, request: ValueRequest) {
    this.#store = store;
    this.#request = request;
    this.#mark = store.marks.pin(request.seq);
  }

  /** `take` gets the reader; undefined from it ends the read, as every error does. */
  async next<T>(take: (reader: BulkReader) => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#isOver) return undefined;
    try {
      return await this.#store.run(async () => {
        throwIfAborted(this.#request.options.signal);
        this.#request.check();
        this.#reader ??= await this.#open();
        // The caller may have left while the version was looked for.
        if (this.#isOver) this.#reader.cancel();
        const taken = await take(this.#reader);
        if (taken === undefined) this.end();
        return taken;
      });
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Idempotent. */
  end(): void {
    this.#isOver = true;
    this.#mark.end();
    this.#reader?.cancel();
  }

  async #open(): Promise<BulkReader> {
    const { find, options } = this.#request;
    const found = await find();
    if (found === undefined) throw new VarveError('VARVE_NOT_FOUND', 'no such key');
    const { start, end = Number.MAX_SAFE_INTEGER, verify = false, signal } = options;
    const { chunks, threads, options: given } = this.#store.parts;
    const { readAheadBytes } = given.memory;
    return new BulkReader(found.record, start, end, chunks, { verify, threads, readAheadBytes, signal });
  }
}

/** The bytes in arrays of their own: the first chunk alone, so that it comes soon, then more and more. */
class Gathering {
  #batch: RunBatch | undefined;
  #goal = 1;

  async next(reader: BulkReader): Promise<Uint8Array | undefined> {
    let batch = this.#batch;
    if (batch === undefined || batch.left === 0) batch = await reader.next();
    this.#batch = batch;
    if (batch === undefined) return undefined;
    const bytes = newArray(Math.min(batch.left, Math.max(this.#goal, batch.leftOfChunk)));
    batch.copyTo(bytes);
    this.#goal = Math.min(gatheredBytesMax, bytes.length * 2);
    return bytes;
  }
}

/** A byte stream with back-pressure; every piece is the caller's own. */
export function streamOf(store: Store, request: ValueRequest): ReadableStream<Uint8Array> {
  const read = new ValueRead(store, request);
  const gathering = new Gathering();
  return new ReadableStream({
    type: 'bytes',
    pull: async (controller: ReadableByteStreamController) => {
      const bytes = await read.next((reader) => gathering.next(reader));
      if (bytes !== undefined) return controller.enqueue(bytes);
      controller.close();
      answerEmpty(controller);
    },
    cancel: () => read.end(),
  });
}

/** The bytes where they were read to: each answer is borrowed until the next is asked for. */
export function piecesOf(store: Store, request: ValueRequest): AsyncIterableIterator<readonly Uint8Array[]> {
  const read = new ValueRead(store, request);
  return {
    async next() {
      const batch = await read.next((reader) => reader.next());
      return batch === undefined ? { done: true, value: undefined } : { done: false, value: batch.views() };
    },
    async return() {
      read.end();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** A reader with a buffer of its own waits for an answer even at the end. */
function answerEmpty(controller: { readonly byobRequest?: unknown }): void {
  const request = controller.byobRequest as { respond(bytes: number): void } | null | undefined;
  request?.respond(0);
}
