/** Results of a batch of chunk lookups, in columns: 23 B per id. */
import type { ChunkColumns } from '../format/chunk-table.ts';
import { OK, type Step } from './cursor.ts';

/** States of one id in a batch. */
export const chunkAnswers = { unknown: 0, found: 1, absent: 2 } as const;

/** Columns for up to `capacity` ids, reused from batch to batch. Column i belongs to id i. */
export class ChunkBatch {
  readonly capacity: number;
  /** One of `chunkAnswers`; the other columns hold for `found` only. */
  readonly answer: Uint8Array;
  readonly segment: Uint32Array;
  readonly off8: Uint32Array;
  readonly storedLen: Uint32Array;
  readonly rawLen: Uint32Array;
  readonly kind: Uint8Array;
  readonly codec: Uint8Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.answer = new Uint8Array(capacity);
    this.segment = new Uint32Array(capacity);
    this.off8 = new Uint32Array(capacity);
    this.storedLen = new Uint32Array(capacity);
    this.rawLen = new Uint32Array(capacity);
    this.kind = new Uint8Array(capacity);
    this.codec = new Uint8Array(capacity);
  }

  /** Forgets the answers to the first `count` ids. */
  reset(count: number): void {
    this.answer.fill(chunkAnswers.unknown, 0, count);
  }

  /** Takes the answer to id `i`: OK with what `entry` says, else absent. Returns 1 when it is a location. */
  record(i: number, step: Step, entry: ChunkColumns): number {
    if (step !== OK) {
      this.answer[i] = chunkAnswers.absent;
      return 0;
    }
    this.answer[i] = chunkAnswers.found;
    this.segment[i] = entry.segment;
    this.off8[i] = entry.off8;
    this.storedLen[i] = entry.storedLen;
    this.rawLen[i] = entry.rawLen;
    this.kind[i] = entry.kind;
    this.codec[i] = entry.codec;
    return 1;
  }
}
