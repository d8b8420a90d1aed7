/** Measures one way of cutting over streams that are fed to it piece by piece. */
import { xxh64 } from '../codec/checksum.ts';
import { ChunkerPool, chunkAll, type StreamChunker } from '../kernels/chunker/chunker.ts';
import { type ChunkerAlgorithm, type ChunkSizes, solveParams } from '../kernels/chunker/params.ts';
import type { ChunkCodec } from '../kernels/compress/codecs.ts';
import { HashSet64 } from './hash-set-64.ts';
import { frameHeaderBytes, memoryPerTB, overheadOf } from './store-costs.ts';
import type { TuneResult } from './tune-types.ts';

/** What is known once everything was fed. */
export type Cuts = Omit<TuneResult, 'bytesPerEdit' | 'chunkRate' | 'hashedRate'>;

export class CutMeasure {
  readonly sizes: ChunkSizes;
  readonly pool: ChunkerPool;
  readonly #codecs: readonly ChunkCodec[];
  readonly #compressed: number[];
  readonly #seen = new HashSet64();
  readonly #histogram = new Map<number, number>();
  readonly #after: { logicalBytes: number; storedBytes: number }[] = [];
  #chunker: StreamChunker | undefined;
  #logicalBytes = 0;
  #chunks = 0;
  #uniqueBytes = 0;

  /** VARVE_INVALID_ARGUMENT when the sizes cannot be used. */
  constructor(sizes: ChunkSizes, codecs: readonly ChunkCodec[]) {
    this.sizes = sizes;
    this.pool = new ChunkerPool(solveParams(sizes), { kept: 1 });
    this.#codecs = codecs;
    this.#compressed = codecs.map(() => 0);
  }

  get algorithm(): ChunkerAlgorithm {
    return this.sizes.algorithm;
  }

  /** More bytes of the stream under way (borrowed for the call). */
  write(bytes: Uint8Array): void {
    this.#chunker ??= this.pool.open();
    this.#logicalBytes += bytes.length;
    for (let taken = 0; taken < bytes.length; ) {
      taken += this.#chunker.write(bytes, taken);
      this.#drain(this.#chunker, false);
    }
  }

  /** The stream under way ends. */
  end(): void {
    if (this.#chunker === undefined) return;
    this.#drain(this.#chunker, true);
    this.#chunker.release();
    this.#chunker = undefined;
  }

  /** Notes what is stored so far. */
  endVersion(): void {
    this.#after.push({ logicalBytes: this.#logicalBytes, storedBytes: this.#storedBytes });
  }

  get #storedBytes(): number {
    return this.#uniqueBytes + overheadOf(this.#chunks, this.#seen.size);
  }

  #drain(chunker: StreamChunker, atEnd: boolean): void {
    for (let length = chunker.next(atEnd); length > 0; length = chunker.next(atEnd)) {
      this.#take(chunker.chunk());
      chunker.consume();
    }
  }

  #take(chunk: Uint8Array): void {
    this.#chunks++;
    const from = 2 ** Math.floor(Math.log2(chunk.length));
    this.#histogram.set(from, (this.#histogram.get(from) ?? 0) + 1);
    if (!this.#seen.add(xxh64(chunk))) return;
    this.#uniqueBytes += chunk.length;
    this.#codecs.forEach((codec, i) => {
      this.#compressed[i]! += Math.min(chunk.length, codec.size(chunk));
    });
  }

  /** Bytes of the chunks of `bytes`, taken as one stream, that were never fed. */
  newBytesOf(bytes: Uint8Array): number {
    const chunker = this.pool.open();
    const ends = chunkAll(chunker, bytes);
    chunker.release();
    const met = new HashSet64();
    let fresh = 0;
    let from = 0;
    for (const end of ends) {
      const hash = xxh64(bytes.subarray(from, end));
      if (!this.#seen.has(hash) && met.add(hash)) fresh += end - from;
      from = end;
    }
    return fresh;
  }

  result(): Cuts {
    const { algorithm, min, avg, max } = this.sizes;
    const uniqueChunks = this.#seen.size;
    const uniqueBytes = this.#uniqueBytes;
    const storedBytes = this.#storedBytes;
    const meanBytes = uniqueChunks === 0 ? avg : uniqueBytes / uniqueChunks;
    return {
      algorithm,
      min,
      avg,
      max,
      chunks: this.#chunks,
      uniqueChunks,
      uniqueBytes,
      dedupRatio: ratio(this.#logicalBytes, uniqueBytes),
      overheadBytes: storedBytes - uniqueBytes,
      storedBytes,
      compressed: this.#codecs.map(({ name }, i) => ({
        codec: name,
        bytes: this.#compressed[i]!,
        ratio: ratio(this.#logicalBytes, this.#compressed[i]!),
      })),
      histogram: Array.from(this.#histogram, ([from, chunks]) => ({ from, chunks })).sort(
        (a, b) => a.from - b.from,
      ),
      afterVersion: this.#after,
      memoryPerTB: memoryPerTB(meanBytes + frameHeaderBytes),
    };
  }
}

function ratio(whole: number, part: number): number {
  return part === 0 ? 1 : whole / part;
}
