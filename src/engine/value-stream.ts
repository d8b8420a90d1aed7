/** How a value of some length is read: chunk by chunk, or in runs and far ahead; checked where asked for. */
import { KiB } from '../base/limits.ts';
import type { ChunkStore } from '../chunk/chunk-store.ts';
import { RunReader } from '../chunk/run-reader.ts';
import type { ValueRecord } from '../format/value-record.ts';
import { CheckedReader } from '../value/checked-reader.ts';
import { type ChunkSource, type Piece, type RangeOptions, RangeReader } from '../value/value-reader.ts';
import type { StoreParts } from './store.ts';
import type { StreamOptions } from './types.ts';

/** Longer ranges are read in runs of many chunks. */
const runBytesMin: number = 256 * KiB;
/** Chunks under way in such a read; their bytes stay within the usual bound. */
const runAhead: RangeOptions = { readAheadChunks: 64 };

/** The pieces of a value, in order. */
export interface ValueStream {
  next(): Promise<Piece | undefined>;
  cancel(): void;
}

/** Where the chunks of a range of `length` bytes come from, and how far ahead to ask for them. */
export function sourceFor(
  chunks: ChunkStore,
  length: number,
  verify: boolean,
): { readonly source: ChunkSource; readonly ahead: RangeOptions } {
  if (length < runBytesMin && !verify) return { source: chunks, ahead: {} };
  return { source: new RunReader(chunks, verify), ahead: runAhead };
}

/** Opens a range of a value for reading. */
export function openValue(
  { chunks, threads }: StoreParts,
  record: ValueRecord,
  { start = 0, end = Number.MAX_SAFE_INTEGER, verify = false, signal }: StreamOptions,
): ValueStream {
  const length = Math.min(end, record.size) - start;
  const { source, ahead } = sourceFor(chunks, length, verify);
  const range = signal === undefined ? ahead : { ...ahead, signal };
  const reader = new RangeReader(record, start, end, source, range);
  return verify ? new CheckedReader(reader, source, length, threads) : reader;
}
