/**
 * Which chunk sizes fit some data: every way of cutting is measured over the same bytes, which are read once.
 * Nothing is stored. Memory: a window of 2 max + 1 MiB for each way, 16 B for each of its new chunks, and
 * 16 MiB of the bytes for edits and rates.
 */
import { concatBytes } from '../base/bytes.ts';
import { invalid, VarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { checkFlags, checkFunctions, checkNames } from '../base/names.ts';
import { initChecksum } from '../codec/checksum.ts';
import { type ChunkerAlgorithm, type ChunkSizes, chunkerAlgorithms } from '../kernels/chunker/params.ts';
import { chunkCodecs } from '../kernels/compress/codecs.ts';
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import { CutMeasure } from './cut-measure.ts';
import { edited } from './edits.ts';
import { recommend } from './recommend.ts';
import type { TuneOptions, TuneReport, TuneResult, TuneSize, TuneSource } from './tune-types.ts';

const defaultSizes: readonly TuneSize[] = [4, 8, 16, 32, 64, 128].map((size) => size * KiB);
/** Bytes kept for edits and rates. */
const keptBytesMax = 16 * MiB;
const defaultEdits = { count: 64, bytes: 64 };
const optionNames = [
  'sizes',
  'algorithms',
  'sampleBytes',
  'versions',
  'compress',
  'edits',
  'seed',
  'onProgress',
  'signal',
];

/** What the sources stand for. */
export interface TuneInput {
  readonly sources: AsyncIterable<TuneSource>;
  /** Bytes that the sources will give; undefined where it is not known. */
  readonly total: number | undefined;
  /** Share of everything given that the sources are. */
  readonly sampled: number;
}

/** VARVE_INVALID_ARGUMENT names the first option that is unknown or out of range. */
export function checkTuneOptions(options: TuneOptions): void {
  checkNames(options, optionNames, 'tune option');
  checkFlags(options, ['compress', 'versions']);
  checkFunctions(options, ['onProgress']);
  const { sampleBytes = 1, seed = 1, edits = {}, sizes, algorithms } = options;
  checkNames(edits, Object.keys(defaultEdits), 'edits option');
  if (!(sampleBytes > 0)) throw invalid('sampleBytes must be above 0', { actual: sampleBytes });
  for (const [name, value] of Object.entries({ seed, ...edits })) {
    if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${name} must be an integer from 0 up`);
  }
  if (sizes?.length === 0 || algorithms?.length === 0)
    throw invalid('sizes and algorithms must not be empty');
}

/** Measures; needs a bound SHA-256. VARVE_INVALID_ARGUMENT (also when there is no byte), VARVE_ABORTED. */
export async function measure(input: TuneInput, options: TuneOptions): Promise<TuneReport> {
  await initChecksum();
  checkTuneOptions(options);
  const begun = performance.now();
  const codecs = (options.compress ?? true) ? chunkCodecs() : [];
  const ways = waysOf(options).map((sizes) => new CutMeasure(sizes, codecs));
  const read = await feed(input, ways, options);
  if (read.bytes === 0) throw invalid('there is nothing to measure: no file has any bytes');
  const { count, bytes } = { ...defaultEdits, ...options.edits };
  const results: TuneResult[] = [];
  for (const [i, way] of ways.entries()) {
    const step = (phase: 'edit' | 'time'): void => {
      stopIfAborted(options);
      options.onProgress?.({ phase, done: i, total: ways.length, unit: 'steps', bytesPerSecond: 0 });
    };
    step('edit');
    // Feeds the kept bytes once more: what is measured of the streams is taken before.
    const cuts = way.result();
    const bytesPerEdit =
      count === 0 || bytes === 0 ? undefined : editCost(way, read.kept, count, bytes, options.seed ?? 1);
    step('time');
    results.push({ ...cuts, bytesPerEdit, ...ratesOf(way, read.kept) });
  }
  return {
    ok: true,
    files: read.files,
    logicalBytes: read.bytes,
    sampled: input.sampled,
    versions: read.versions,
    results,
    recommended: recommend(results),
    ms: Math.round(performance.now() - begun),
  };
}

function waysOf({ sizes = defaultSizes, algorithms }: TuneOptions): ChunkSizes[] {
  const names = algorithms ?? (Object.keys(chunkerAlgorithms) as ChunkerAlgorithm[]);
  return sizes.flatMap((size) => {
    const given = typeof size === 'number' ? { min: size / 4, avg: size, max: size * 4 } : size;
    return names.map((algorithm) => ({ algorithm, min: given.min, avg: given.avg, max: given.max }));
  });
}

interface Fed {
  readonly files: number;
  readonly bytes: number;
  readonly versions: number;
  /** The first bytes. */
  readonly kept: Uint8Array;
}

async function feed(
  { sources, total }: TuneInput,
  ways: readonly CutMeasure[],
  options: TuneOptions,
): Promise<Fed> {
  const begun = performance.now();
  const kept: Uint8Array[] = [];
  let keptBytes = 0;
  let bytes = 0;
  let files = 0;
  let version = 0;
  for await (const { data, version: next = 0 } of sources) {
    for (; version < next; version++) for (const way of ways) way.endVersion();
    files++;
    for await (const piece of data) {
      stopIfAborted(options);
      for (const way of ways) way.write(piece);
      bytes += piece.length;
      if (keptBytes < keptBytesMax) {
        kept.push(piece.slice(0, keptBytesMax - keptBytes));
        keptBytes += Math.min(piece.length, keptBytesMax - keptBytes);
      }
      const bytesPerSecond = (bytes * 1000) / Math.max(1, performance.now() - begun);
      options.onProgress?.({ phase: 'read', done: bytes, total, unit: 'bytes', bytesPerSecond });
    }
    for (const way of ways) way.end();
  }
  for (const way of ways) way.endVersion();
  return { files, bytes, versions: version + 1, kept: concatBytes(kept) };
}

/** Mean bytes of chunks that an edit makes new. The kept bytes as one stream are known before. */
function editCost(way: CutMeasure, kept: Uint8Array, count: number, bytes: number, seed: number): number {
  way.write(kept);
  way.end();
  return way.newBytesOf(edited(kept, count, bytes, seed)) / count;
}

function ratesOf(way: CutMeasure, kept: Uint8Array): { chunkRate: number; hashedRate: number } {
  const digest = new Uint8Array(sha256Bytes);
  const pass = (hashes: boolean): number => {
    const chunker = way.pool.open();
    const begun = performance.now();
    for (let taken = 0; ; ) {
      taken += chunker.write(kept, taken);
      const atEnd = taken === kept.length;
      for (let length = chunker.next(atEnd); length > 0; length = chunker.next(atEnd)) {
        if (hashes) sha256Into(chunker.buffer, chunker.start, chunker.start + length, digest, 0);
        chunker.consume();
      }
      if (atEnd) break;
    }
    chunker.release();
    return Math.round((kept.length * 1000) / Math.max(0.001, performance.now() - begun));
  };
  // The first pass warms up.
  pass(false);
  return { chunkRate: pass(false), hashedRate: pass(true) };
}

function stopIfAborted({ signal }: TuneOptions): void {
  if (signal?.aborted)
    throw new VarveError('VARVE_ABORTED', 'measuring was aborted', { cause: signal.reason });
}
