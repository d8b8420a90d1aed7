/** Shapes of tune(): what is measured for each way of cutting, and what is recommended. */
import type { ChunkerAlgorithm } from '../kernels/chunker/params.ts';

/** Bytes to measure: one file, or one member of a set. */
export interface TuneSource {
  /** For progress and errors. */
  readonly name: string;
  /** Pieces in order, each borrowed until the next one is asked for. */
  readonly data: AsyncIterable<Uint8Array>;
  /** Version the bytes belong to, counted from 0; sources come in the order of versions. Default 0. */
  readonly version?: number;
}

/** Sizes of chunks, bytes; a number is the mean, with a quarter of it as least and four times as most. */
export type TuneSize = number | { readonly min: number; readonly avg: number; readonly max: number };

/** How far a measurement is; `total` where it is known. */
export interface TuneProgress {
  /** 'read': the bytes are cut; 'edit' and 'time': each way in turn, over the first of them. */
  readonly phase: 'read' | 'edit' | 'time';
  readonly done: number;
  readonly total: number | undefined;
  readonly unit: 'bytes' | 'steps';
  readonly bytesPerSecond: number;
}

/** Options of tune; everything has a default. Errors: VARVE_INVALID_ARGUMENT names what is out of range. */
export interface TuneOptions {
  /** Default 4, 8, 16, 32, 64 and 128 KiB. */
  readonly sizes?: readonly TuneSize[];
  /** Default both. */
  readonly algorithms?: readonly ChunkerAlgorithm[];
  /**
   * Bytes of each version to measure at most, default 512 MiB. Beyond it whole files are left out, the same
   * ones in each version. Infinity = everything.
   */
  readonly sampleBytes?: number;
  /** The paths are versions of one thing, oldest first: each is measured against those before it. */
  readonly versions?: boolean;
  /** Compress each new chunk with every codec of the runtime (default true). */
  readonly compress?: boolean;
  /** Random edits whose cost is measured; default 64 edits of 64 bytes. 0 edits: none. */
  readonly edits?: { readonly count?: number; readonly bytes?: number };
  /** Of the edits and of the sample; default 1. */
  readonly seed?: number;
  readonly onProgress?: (progress: TuneProgress) => void;
  readonly signal?: AbortSignal;
}

/** One way of cutting, measured. Sizes in bytes, rates in bytes a second. */
export interface TuneResult {
  readonly algorithm: ChunkerAlgorithm;
  readonly min: number;
  readonly avg: number;
  readonly max: number;
  readonly chunks: number;
  readonly uniqueChunks: number;
  readonly uniqueBytes: number;
  /** Bytes read for each byte of new chunks. */
  readonly dedupRatio: number;
  /** Frames, trailers, index entries and references of the chunks, in a store. */
  readonly overheadBytes: number;
  /** uniqueBytes and overheadBytes. */
  readonly storedBytes: number;
  /** By codec: what the new chunks take when each is compressed alone, where that makes it smaller. */
  readonly compressed: readonly { codec: string; bytes: number; ratio: number }[];
  /** How many of all chunks have from 2^n up to 2^(n+1)-1 bytes; `from` is 2^n. */
  readonly histogram: readonly { from: number; chunks: number }[];
  /** Stored after each version, as `storedBytes`; one entry without versions. */
  readonly afterVersion: readonly { logicalBytes: number; storedBytes: number }[];
  /** Mean bytes of new chunks for each random edit; undefined where none were made. */
  readonly bytesPerEdit: number | undefined;
  /** Cutting alone, and cutting with SHA-256, on one thread. */
  readonly chunkRate: number;
  readonly hashedRate: number;
  /** Memory of filters and indexes for a terabyte of such chunks. */
  readonly memoryPerTB: number;
}

/** What tune found: each way of cutting, sizes first, and the one to take. */
export interface TuneReport {
  readonly ok: true;
  readonly files: number;
  readonly logicalBytes: number;
  /** Share of the bytes given that were measured, 0 to 1. */
  readonly sampled: number;
  readonly versions: number;
  readonly results: readonly TuneResult[];
  readonly recommended: Recommendation;
  readonly ms: number;
}

/** The way of cutting that fits the data, and why. */
export interface Recommendation {
  readonly algorithm: ChunkerAlgorithm;
  readonly min: number;
  readonly avg: number;
  readonly max: number;
  /** One sentence with its figures. */
  readonly reason: string;
  /** To paste into openEngine. */
  readonly option: string;
}
