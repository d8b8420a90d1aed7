/**
 * Any range of a value in order, with bounded read-ahead.
 *
 * The source answers for the bytes of a chunk (frame checksum, id); what is checked here is each chunk's
 * length against its place. VARVE_CORRUPT otherwise.
 *
 * Records are borrowed: `record.buf` must not change before the read has ended.
 *
 * Invariants (test/value/value-reader.test.ts)
 * - any range equals the slice of the whole (test: "every range equals the slice of the value");
 * - at most `readAheadChunks` chunks, of `readAheadBytes` bytes in total unless one alone is larger, are
 *   under way (test: "read-ahead stays within its bounds").
 */
import { invalid, VarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { type ChunkLocation, chunkKinds } from '../format/chunk-ref.ts';
import { recordForms, type ValueRecord } from '../format/value-record.ts';
import { type ChunkSource, LeafWalker, steps } from './leaf-walker.ts';
import { copyOut } from './value-copy.ts';

export interface RangeOptions {
  /** Chunks under way at once; 8 when omitted. */
  readAheadChunks?: number;
  /** Their bytes; 2 MiB when omitted. A larger chunk is read alone. */
  readAheadBytes?: number;
  /** Looked at before each chunk: VARVE_ABORTED once it has fired. */
  signal?: AbortSignal;
}

/**
 * Bytes start .. end-1 of the value in order, in pieces that belong to the caller. An end beyond the value is
 * its end. Reads ahead while the caller works on a piece. VARVE_INVALID_ARGUMENT on a range that is none.
 */
export async function* readRange(
  record: ValueRecord,
  start: number,
  end: number,
  source: ChunkSource,
  options: RangeOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = new RangeReader(record, start, end, source, options);
  for (;;) {
    const piece = reader.now() ?? (await reader.next());
    if (piece === undefined) return;
    yield piece.chunk.slice(piece.from, piece.to);
  }
}

/** Part of a chunk that lies in the range. */
export interface Piece {
  /** The whole chunk, borrowed from the source: never changed, copied before it is handed to callers. */
  readonly chunk: Uint8Array;
  /** The part: chunk[from..to). */
  readonly from: number;
  readonly to: number;
  /** Offset of chunk[from] in the value. */
  readonly at: number;
  /** Id of the chunk, valid as the record is; undefined for bytes that lie in the record itself. */
  readonly id: Uint8Array | undefined;
  /** The place the chunk was last seen at. */
  readonly hint: ChunkLocation | undefined;
}

/** How a read ended. */
export type Outcome = { readonly bytes: Uint8Array } | { readonly error: unknown };

/** A chunk that was asked for. */
export interface Ahead {
  readonly leafFrom: number;
  readonly leafTo: number;
  readonly id: Uint8Array;
  readonly hint: ChunkLocation | undefined;
  readonly outcome: Promise<Outcome>;
  /** Its outcome, once it is there. */
  settled?: Outcome;
}

/** Pulls the pieces of a range, for ReadableStream and the like. One `next` at a time. */
export class RangeReader {
  readonly #record: ValueRecord;
  readonly #source: ChunkSource;
  readonly #walker: LeafWalker;
  readonly #start: number;
  readonly #end: number;
  readonly #chunksMax: number;
  readonly #bytesMax: number;
  readonly #signal: AbortSignal | undefined;
  readonly #queue: Ahead[] = [];
  #queuedBytes = 0;
  /** The walker stands on a chunk that waits for room. */
  #held = false;
  /** A list node under way; nothing below it can be asked for yet. */
  #node: Promise<void> | undefined;
  #nodeOutcome: Outcome | undefined;
  /** What ends the read once the chunks before it are handed out. */
  #failure: { readonly error: unknown } | undefined;
  #done = false;

  constructor(
    record: ValueRecord,
    start: number,
    end: number,
    source: ChunkSource,
    options: RangeOptions = {},
  ) {
    checkOffset('start', start);
    checkOffset('end', end);
    if (start > end) throw invalid('a range starts at or before its end');
    this.#record = record;
    this.#source = source;
    this.#end = Math.min(end, record.size);
    this.#start = Math.min(start, this.#end);
    this.#chunksMax = positive('readAheadChunks', options.readAheadChunks ?? 8);
    this.#bytesMax = positive('readAheadBytes', options.readAheadBytes ?? 2 * MiB);
    this.#signal = options.signal;
    this.#walker = new LeafWalker(record, this.#start, this.#end, source);
  }

  /** The next piece, or undefined after the last. After a rejection the reader has ended. */
  async next(): Promise<Piece | undefined> {
    try {
      this.#refuseAborted();
      return await this.#next();
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  /**
   * The next piece, if it is there; undefined: `next` waits for it, or tells that there is none. Never
   * throws.
   */
  now(): Piece | undefined {
    const settled = this.#queue[0]?.settled;
    if (settled === undefined || 'error' in settled || this.#signal?.aborted === true) return undefined;
    const ahead = this.#queue[0]!;
    if (settled.bytes.length !== ahead.leafTo - ahead.leafFrom) return undefined;
    this.#queue.shift();
    const piece = this.#pieceOf(ahead, settled.bytes);
    this.#fill();
    return piece;
  }

  /** Ends the reader: nothing more is asked for, what is under way is dropped. */
  cancel(): void {
    this.#done = true;
    this.#queue.length = 0;
    this.#nodeOutcome = undefined;
    this.#node = undefined;
    this.#failure = undefined;
  }

  async #next(): Promise<Piece | undefined> {
    if (this.#record.form === recordForms.inline) return this.#inline();
    for (;;) {
      this.#fill();
      const ahead = this.#queue.shift();
      if (ahead !== undefined) return await this.#take(ahead);
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#node === undefined) return undefined;
      await this.#node;
    }
  }

  #inline(): Piece | undefined {
    if (this.#done || this.#start === this.#end) return undefined;
    this.#done = true;
    const chunk = inlineBytes(this.#record, this.#start, this.#end);
    return { chunk, from: 0, to: chunk.length, at: this.#start, id: undefined, hint: undefined };
  }

  #fill(): void {
    while (!this.#done) {
      if (this.#node !== undefined) {
        if (this.#nodeOutcome === undefined) return;
        this.#node = undefined;
        const outcome = this.#nodeOutcome;
        this.#nodeOutcome = undefined;
        this.#orFail(() => this.#walker.give(bytesOf(outcome)));
        continue;
      }
      if (this.#queue.length >= this.#chunksMax) return;
      this.#orFail(() => this.#ask());
      if (this.#held) return;
    }
  }

  /** Damage found ahead is reported after the chunks before it have been handed out. */
  #orFail(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#failure = { error };
      this.#done = true;
    }
  }

  #ask(): void {
    const walker = this.#walker;
    const step = this.#held ? steps.leaf : walker.step();
    this.#held = false;
    if (step === steps.end) {
      this.#done = true;
    } else if (step === steps.node) {
      const read = settle(this.#source.read(walker.id(), walker.hint, chunkKinds.list));
      this.#node = read.then((outcome) => {
        this.#nodeOutcome = outcome;
      });
    } else {
      const { leafFrom, leafTo, hint } = walker;
      const length = leafTo - leafFrom;
      this.#held = this.#queue.length > 0 && this.#queuedBytes + length > this.#bytesMax;
      if (this.#held) return;
      const id = walker.id();
      const outcome = settle(this.#source.read(id, hint, chunkKinds.data));
      const ahead: Ahead = { leafFrom, leafTo, id, hint, outcome };
      outcome.then((settled) => {
        ahead.settled = settled;
      });
      this.#queue.push(ahead);
      this.#queuedBytes += length;
    }
  }

  async #take(ahead: Ahead): Promise<Piece> {
    const chunk = bytesOf(await ahead.outcome);
    this.#refuseAborted();
    this.#walker.checkLeaf(ahead.id, chunk, ahead.leafTo - ahead.leafFrom);
    return this.#pieceOf(ahead, chunk);
  }

  #pieceOf({ leafFrom, leafTo, id, hint }: Ahead, chunk: Uint8Array): Piece {
    this.#queuedBytes -= leafTo - leafFrom;
    const at = Math.max(leafFrom, this.#start);
    return { chunk, from: at - leafFrom, to: Math.min(leafTo, this.#end) - leafFrom, at, id, hint };
  }

  #refuseAborted(): void {
    if (this.#signal?.aborted === true)
      throw new VarveError('VARVE_ABORTED', 'reading was aborted', { cause: this.#signal.reason });
  }
}

/** A promise that never rejects: reads ahead may fail long before anybody waits for them. */
export function settle(read: Promise<Uint8Array>): Promise<Outcome> {
  return read.then(
    (bytes) => ({ bytes }),
    (error: unknown) => ({ error }),
  );
}

/** The bytes, or throws the error. */
export function bytesOf(outcome: Outcome): Uint8Array {
  if ('error' in outcome) throw outcome.error;
  return outcome.bytes;
}

/** Bytes start .. end-1 of a value that lies in its record; the caller's own. */
export function inlineBytes(record: ValueRecord, start: number, end: number): Uint8Array {
  return copyOut(record.buf, record.bodyFrom + start, record.bodyFrom + end);
}

function checkOffset(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${name} must be an integer of at least 0`);
}

function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) throw invalid(`${name} must be an integer of at least 1`);
  return value;
}
