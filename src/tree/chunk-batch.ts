/** Results of a batch of chunk lookups, in columns: 23 B per id. */

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
}
