/**
 * Values that are read straight into the memory they are cut in: shared buffers of threads, or the window of
 * a chunker. Nothing is copied on the way, and no buffer is made for a piece.
 */
import { assert } from '../base/assert.ts';
import { MiB } from '../base/limits.ts';

/** Bytes of a piece, where the value is asked for in pieces after all. */
const pieceBytes: number = MiB / 2;

/**
 * Reads the next bytes into `into`, which is borrowed until the promise settles and may be shared memory;
 * resolves with how many they are, 0 at the end. A rejection ends the value.
 */
export type ReadInto = (into: Uint8Array) => Promise<number>;

/** A value to put, of about `size` bytes. Used once. */
export class DirectSource implements AsyncIterable<Uint8Array> {
  /** Bytes that are expected; how many there are `read` tells. */
  readonly size: number;
  readonly read: ReadInto;

  constructor(size: number, read: ReadInto) {
    this.size = size;
    this.read = read;
  }

  /** The value in pieces of their own, for whoever needs these. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = new Uint8Array(pieceBytes);
      const got = await this.read(piece);
      if (got === 0) return;
      yield piece.subarray(0, got);
    }
  }
}

/** What takes a value: a ValueIngest. */
export interface ValueTaker {
  write(bytes: Uint8Array): Promise<void>;
  pull(read: ReadInto, left: number): Promise<number>;
  settle(): Promise<void>;
}

/**
 * Gives all of `source` to `ingest`; `check` is called before each piece and may throw. When it settles, the
 * source is not read any more.
 */
export async function feed(
  ingest: ValueTaker,
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  check: () => void,
): Promise<void> {
  if (source instanceof DirectSource) {
    let left = source.size;
    try {
      for (let got = -1; got !== 0; left = Math.max(0, left - got)) {
        check();
        got = await ingest.pull(source.read, left);
      }
    } finally {
      await ingest.settle();
    }
    return;
  }
  for await (const piece of source) {
    check();
    await ingest.write(piece);
  }
}

/** Reads into `into`; the number of bytes is one there is room for. */
export async function readSome(read: ReadInto, into: Uint8Array): Promise<number> {
  assert(into.length > 0, 'there is room to read into');
  const got = await read(into);
  assert(got >= 0 && got <= into.length, 'a source reads no more than there is room for');
  return got;
}
