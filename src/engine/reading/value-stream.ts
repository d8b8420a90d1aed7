/** How a value of some length is read: chunk by chunk, or in runs and far ahead; checked where asked for. */
import { KiB } from '../../base/limits.ts';
import type { ChunkStore } from '../../chunk/chunk-store.ts';
import { RunReader } from '../../chunk/run-reader.ts';
import type { ValueRecord } from '../../format/value-record.ts';
import { CheckedReader } from '../../value/checked-reader.ts';
import type { ChunkSource } from '../../value/leaf-walker.ts';
import { type Piece, type RangeOptions, RangeReader } from '../../value/range-reader.ts';
import { newArray } from '../../value/value-copy.ts';
import type { StoreParts } from '../store.ts';
import type { StreamOptions } from '../types.ts';

/** Longer ranges are read in runs of many chunks. */
const runBytesMin: number = 256 * KiB;
/** Bytes of chunks handed out together, about: each hand-out to a stream costs as much as reading a chunk. */
const gatheredBytesMax: number = 128 * KiB;
/** Chunks under way in such a read; their bytes have a bound of their own. */
const readAheadChunks = 64;

/** What `openValue` reads from. */
interface Pieces {
  next(): Promise<Piece | undefined>;
  now(): Piece | undefined;
  cancel(): void;
}

/**
 * The bytes of a range in arrays of their own: the first chunk alone, so that it comes soon, then more and
 * more of them together. What cannot be read is told once the bytes before it are handed out.
 */
export class ValueStream {
  readonly #pieces: Pieces;
  readonly #gatheredMax: number;
  #goal = 1;
  #failure: { readonly error: unknown } | undefined;

  constructor(pieces: Pieces, gatheredMax: number) {
    this.#pieces = pieces;
    this.#gatheredMax = gatheredMax;
  }

  /** The next bytes, the caller's own; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#failure !== undefined) throw this.#failure.error;
    const gathered: Piece[] = [];
    let length = 0;
    while (length < this.#goal) {
      const piece = this.#pieces.now() ?? (await this.#piece(length > 0));
      if (piece === undefined) break;
      gathered.push(piece);
      length += piece.to - piece.from;
    }
    this.#goal = Math.min(this.#gatheredMax, Math.max(this.#goal, length) * 2);
    if (gathered.length === 0) return undefined;
    if (gathered.length === 1) return gathered[0]!.chunk.slice(gathered[0]!.from, gathered[0]!.to);
    const bytes = newArray(length);
    let at = 0;
    for (const { chunk, from, to } of gathered) {
      bytes.set(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to), at);
      at += to - from;
    }
    return bytes;
  }

  /** Ends the read. Idempotent. */
  cancel(): void {
    this.#pieces.cancel();
  }

  async #piece(hasBytes: boolean): Promise<Piece | undefined> {
    try {
      return await this.#pieces.next();
    } catch (error) {
      if (!hasBytes) throw error;
      this.#failure = { error };
      return undefined;
    }
  }
}

/**
 * Where the chunks of a range of `length` bytes come from, and how far ahead to ask for them: of
 * `readAheadBytes`, and as much again that runs hold.
 */
export function sourceFor(
  chunks: ChunkStore,
  length: number,
  verify: boolean,
  readAheadBytes: number,
): { readonly source: ChunkSource; readonly ahead: RangeOptions } {
  if (length < runBytesMin && !verify) return { source: chunks, ahead: { readAheadBytes } };
  const source = new RunReader(chunks, verify, readAheadBytes);
  return { source, ahead: { readAheadChunks, readAheadBytes } };
}

/** Opens a range of a value for reading. */
export function openValue(
  { chunks, threads, options }: StoreParts,
  record: ValueRecord,
  { start = 0, end = Number.MAX_SAFE_INTEGER, verify = false, signal }: StreamOptions,
): ValueStream {
  const length = Math.min(end, record.size) - start;
  const { source, ahead } = sourceFor(chunks, length, verify, options.memory.readAheadBytes);
  const range = signal === undefined ? ahead : { ...ahead, signal };
  const reader = new RangeReader(record, start, end, source, range);
  const pieces = verify ? new CheckedReader(reader, source, length, threads) : reader;
  return new ValueStream(pieces, length < runBytesMin ? 1 : gatheredBytesMax);
}
