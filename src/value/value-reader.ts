/**
 * Reads values back: whole, or any range of one as a stream with bounded read-ahead.
 *
 * The source answers for the bytes of a chunk (frame checksum, id); what is checked here is that the parts
 * make the value: each list node's level and totals against its parent, each chunk's length against its
 * place. VARVE_CORRUPT otherwise.
 *
 * Records are borrowed: `record.buf` must not change before the read has ended.
 *
 * Invariants (test/value/value-reader.test.ts)
 * - any range equals the slice of the whole (test: "every range equals the slice of the value");
 * - at most `readAheadChunks` chunks, of `readAheadBytes` bytes in total unless one alone is larger, are
 *   under way (test: "read-ahead stays within its bounds").
 */
import { invalid, VarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { type ChunkLocation, chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { chunkRefBytes, chunkRefOff8, chunkRefRawLen, chunkRefSegment } from '../format/chunk-ref-bytes.ts';
import { plainListFrom, plainValueFrom } from '../format/plain-value.ts';
import { recordForms, refIdAt, type ValueRecord } from '../format/value-record.ts';
import { type ChunkSource, LeafWalker, steps } from './leaf-walker.ts';
import { copyOut, newArray } from './value-copy.ts';

export type { ChunkSource } from './leaf-walker.ts';

/** Longest value `readValue` returns as one array. */
export const valueBytesMax = 2 ** 32 - 1;

/** Chunks of values up to this size are kept in memory once read: larger ones would drive out many others. */
const keptValueBytesMax = 64 * KiB;

export interface RangeOptions {
  /** Chunks under way at once; 8 when omitted. */
  readAheadChunks?: number;
  /** Their bytes; 2 MiB when omitted. A larger chunk is read alone. */
  readAheadBytes?: number;
  /** Looked at before each chunk: VARVE_ABORTED once it has fired. */
  signal?: AbortSignal;
}

/**
 * The whole value of a PUT record, a fresh array that belongs to the caller. VARVE_INVALID_ARGUMENT when it
 * is too long for one array.
 */
export async function readValue(
  record: ValueRecord,
  source: ChunkSource,
  options: RangeOptions = {},
): Promise<Uint8Array> {
  refuseTooLong(record);
  if (record.form === recordForms.inline) return inlineBytes(record, 0, record.size);
  if (isSmall(record)) return readSmall(record, source);
  const reader = new RangeReader(record, 0, record.size, source, options);
  let out: Uint8Array | undefined;
  // Memory is taken after the first chunk: by then the root has been checked against the size.
  for (let piece = await reader.next(); piece !== undefined; piece = await reader.next()) {
    out ??= allocate(record.size);
    out.set(piece.chunk, piece.at);
  }
  return out ?? new Uint8Array(0);
}

/** As readValue, blocking: for sources whose chunks come from memory or a synchronous read. */
export function readValueSync(record: ValueRecord, source: ChunkSource): Uint8Array {
  refuseTooLong(record);
  if (record.form === recordForms.inline) return inlineBytes(record, 0, record.size);
  const small = isSmall(record);
  const now = small ? cachedValue(record, source) : undefined;
  if (now !== undefined) return now;
  const walker = new LeafWalker(record, 0, record.size, source);
  let out: Uint8Array | undefined;
  for (let step = walker.step(); step !== steps.end; step = walker.step()) {
    if (step === steps.node) {
      walker.give(source.readSync(walker.id(), walker.hint, chunkKinds.list));
      continue;
    }
    const { leafFrom, leafTo } = walker;
    const id = walker.id();
    const chunk = source.readSync(id, walker.hint, chunkKinds.data);
    walker.checkLeaf(id, chunk, leafTo - leafFrom);
    if (small) source.keep?.(id, walker.hint, chunk);
    out ??= small ? newArray(record.size) : allocate(record.size);
    out.set(chunk, leafFrom);
  }
  return out ?? new Uint8Array(0);
}

/** The whole value if memory has it, as `readValue` returns it; undefined when something must be read. */
export function readValueNow(record: ValueRecord, source: ChunkSource): Uint8Array | undefined {
  if (record.form === recordForms.inline) return inlineBytes(record, 0, record.size);
  return isSmall(record) ? cachedValue(record, source) : undefined;
}

/**
 * The value of the record in buf[from..to), as `readValue` returns it, if it is one of the plain ones
 * (format/plain-value.ts) and memory has it; undefined: parse the record. Parses nothing else.
 */
export function readPlainNow(
  buf: Uint8Array,
  from: number,
  to: number,
  source: ChunkSource,
): Uint8Array | undefined {
  const inline = plainValueFrom(buf, from, to);
  if (inline >= 0) return copyOut(buf, inline, to);
  const refs = plainListFrom(buf, from, to);
  return refs < 0 ? undefined : cachedList(buf, refs, to, source);
}

/** The chunks of such values are offered for keeping. */
function isSmall(record: ValueRecord): boolean {
  return record.form === recordForms.list && record.size <= keptValueBytesMax;
}

function cachedValue(record: ValueRecord, source: ChunkSource): Uint8Array | undefined {
  const from = refIdAt(record, 0);
  return cachedList(record.buf, from, from + record.chunks * chunkRefBytes, source);
}

/** The chunks of the references in buf[from..to), one behind the other, if all are kept. */
function cachedList(buf: Uint8Array, from: number, to: number, source: ChunkSource): Uint8Array | undefined {
  const first = cachedAt(buf, from, source);
  if (first === undefined) return undefined;
  if (from + chunkRefBytes === to) return copyOut(first, chunkIdBytes, first.length);
  let size = 0;
  for (let ref = from; ref < to; ref += chunkRefBytes) size += chunkRefRawLen(buf, ref);
  const out = newArray(size);
  let kept: Uint8Array | undefined = first;
  let at = 0;
  for (let ref = from; ; kept = cachedAt(buf, ref, source)) {
    if (kept === undefined) return undefined;
    out.set(kept.subarray(chunkIdBytes), at);
    at += kept.length - chunkIdBytes;
    ref += chunkRefBytes;
    if (ref === to) return out;
  }
}

/** Id and bytes of the chunk of a reference, if they are kept. */
function cachedAt(buf: Uint8Array, ref: number, source: ChunkSource): Uint8Array | undefined {
  const kept = source.cached?.(buf, ref, chunkRefSegment(buf, ref), chunkRefOff8(buf, ref));
  return kept?.length === chunkIdBytes + chunkRefRawLen(buf, ref) ? kept : undefined;
}

/** All chunks of a small value at once. */
async function readSmall(record: ValueRecord, source: ChunkSource): Promise<Uint8Array> {
  const walker = new LeafWalker(record, 0, record.size, source);
  const reads: Ahead[] = [];
  while (walker.step() !== steps.end) {
    const { leafFrom, leafTo, hint } = walker;
    const id = walker.id();
    const kept = hint === undefined ? undefined : source.cached?.(id, 0, hint.segment, hint.off8);
    const read =
      kept === undefined
        ? source.read(id, hint, chunkKinds.data)
        : Promise.resolve(kept.subarray(chunkIdBytes));
    reads.push({ leafFrom, leafTo, hint, id, outcome: settle(read) });
  }
  const out = allocate(record.size);
  for (const { leafFrom, leafTo, hint, id, outcome } of reads) {
    const chunk = bytesOf(await outcome);
    walker.checkLeaf(id, chunk, leafTo - leafFrom);
    source.keep?.(id, hint, chunk);
    out.set(chunk, leafFrom);
  }
  return out;
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

type Outcome = { readonly bytes: Uint8Array } | { readonly error: unknown };

interface Ahead {
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
function settle(read: Promise<Uint8Array>): Promise<Outcome> {
  return read.then(
    (bytes) => ({ bytes }),
    (error: unknown) => ({ error }),
  );
}

function bytesOf(outcome: Outcome): Uint8Array {
  if ('error' in outcome) throw outcome.error;
  return outcome.bytes;
}

function inlineBytes(record: ValueRecord, start: number, end: number): Uint8Array {
  return copyOut(record.buf, record.bodyFrom + start, record.bodyFrom + end);
}

function refuseTooLong(record: ValueRecord): void {
  if (record.size > valueBytesMax) throw tooLong(record.size);
}

function allocate(size: number): Uint8Array {
  try {
    return new Uint8Array(size);
  } catch (error) {
    if (error instanceof RangeError) throw tooLong(size, error);
    throw error;
  }
}

function tooLong(size: number, cause?: unknown): VarveError {
  return invalid(`a value of ${size} bytes does not fit into one array: use stream()`, { cause });
}

function checkOffset(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${name} must be an integer of at least 0`);
}

function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) throw invalid(`${name} must be an integer of at least 1`);
  return value;
}
