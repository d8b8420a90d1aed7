/** What importing and exporting trees need of a store; an engine and every space of one has it. */

import { encodeUtf8 } from '../../base/bytes.ts';
import type {
  BatchOperation,
  Bytes,
  Entry,
  EntryStat,
  Key,
  PutOptions,
  PutResult,
  ScanOptions,
  Stats,
  StreamOptions,
} from '../../engine/types.ts';

/** The part of an engine that tree commands use. */
export interface TreeStore {
  put(key: Key, value: Bytes, options?: PutOptions): Promise<PutResult>;
  batch(operations: BatchOperation[]): Promise<unknown>;
  get(key: Key): Promise<Uint8Array | undefined>;
  stat(key: Key): Promise<EntryStat | undefined>;
  stream(key: Key, options?: StreamOptions): ReadableStream<Uint8Array>;
  scan(options: ScanOptions): AsyncIterable<Entry<Key>>;
  stats(): Stats;
}

/** Bytes of a key that a scan returned. */
export function bytesOfKey(key: Key): Uint8Array {
  return typeof key === 'string' ? encodeUtf8(key) : key;
}

/** Values up to this many bytes are read and written whole, larger ones as streams. */
export const wholeBytesMax: number = 256 * 1024;

/** Problems listed one by one; more are only counted. */
export const problemsListedMax = 10_000;

/** Something that was left out, with its path or key as bytes. */
export interface Problem {
  readonly path: Uint8Array;
  readonly reason: string;
  /** Code of the error behind it, the operating system's or the engine's. */
  readonly code?: string;
}

/** A list of problems that stays bounded. */
export class ProblemList {
  readonly items: Problem[] = [];
  count = 0;

  add(problem: Problem): void {
    this.count++;
    if (this.items.length < problemsListedMax) this.items.push(problem);
  }
}
