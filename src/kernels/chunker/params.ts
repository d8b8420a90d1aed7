/**
 * Chunking parameters: what a caller asks for (min, average, max) solved into the integers a store keeps.
 *
 * The thresholds and the normal point are computed once, when a store is created, and stored: they are never
 * computed again through floating point, since one different integer would end deduplication in silence.
 *
 * The model. A position is a cut with probability `s` (strict) before the normal point N and `l` (loose)
 * after it; normalisation level z = 2 sets s = 2^-(log2 avg + z) and l = 2^-(log2 avg - z). On random data
 * the mean is
 *     min + (1-q)/s + q (1-(1-l)^(max-N))/l   with   q = (1-s)^(N-min),
 * which grows with N; N is the integer whose mean comes nearest to the average asked for. (Published FastCDC
 * takes N = avg, which overshoots the mean by 10-15 %.)
 */
import { invalid } from '../../base/errors.ts';
import { chunkMaxCeiling, chunkMinFloor, KiB } from '../../base/limits.ts';

/** Chunking algorithms by their stored id. Never changed, never reused; 3 is kept for a PRF chunker. */
export const chunkerAlgorithms = { fastcdc: 1, sieve: 2 } as const;
export type ChunkerAlgorithm = keyof typeof chunkerAlgorithms;

/** Bytes before a position that decide whether it is a cut, in every algorithm. */
export const chunkerWindowBytes = 64;

/** Smallest average: at level 2 the loose rate of the sieve's filter is then used up. */
export const chunkAverageFloor: number = KiB;

/** What a caller asks for, in bytes. */
export interface ChunkSizes {
  algorithm: ChunkerAlgorithm;
  /** No chunk but the last of a stream is shorter. */
  min: number;
  /** Mean on random data. */
  avg: number;
  /** No chunk is longer. */
  max: number;
}

/** What a store keeps and a chunker runs on; all integers. */
export interface ChunkerParams {
  algorithmId: number;
  /** Shortest chunk, bytes. */
  min: number;
  /** Normal point N: up to here the strict threshold, from here on the loose one, bytes. */
  normal: number;
  /** Longest chunk, bytes. */
  max: number;
  /** A position's hash below this is a strict cut (32 bits). */
  strict: number;
  /** A position's hash below this is a loose cut (32 bits); never less than `strict`. */
  loose: number;
}

const level = 2;
const thresholdMax = 2 ** 32 - 1;
/** The sieve's filter passes one position in 256 before the threshold is looked at. */
const filterBits = { fastcdc: 0, sieve: 8 } as const;

/**
 * Solves sizes into stored parameters. VARVE_INVALID_ARGUMENT, with what is acceptable, when they are not
 * integers in order, out of bounds, or no normal point in (min, max) gives the average.
 */
export function solveParams(sizes: ChunkSizes): ChunkerParams {
  const { algorithm, min, avg, max } = sizes;
  if (!Object.hasOwn(chunkerAlgorithms, algorithm)) {
    throw invalid(`chunker algorithm must be one of ${Object.keys(chunkerAlgorithms).join(', ')}`);
  }
  refuseBadSizes(min, avg, max);
  const rates = ratesOf(avg);
  const scale = 2 ** (32 + filterBits[algorithm]);
  return {
    algorithmId: chunkerAlgorithms[algorithm],
    min,
    normal: solveNormal(min, avg, max, rates),
    max,
    strict: Math.min(thresholdMax, Math.floor(rates.strict * scale)),
    loose: Math.min(thresholdMax, Math.floor(rates.loose * scale)),
  };
}

/**
 * What is wrong with stored parameters, or undefined when a chunker can run on them. For the reader of a
 * superblock, which knows the file and offset to report.
 */
export function paramsProblem(params: ChunkerParams): string | undefined {
  const { algorithmId, min, normal, max, strict, loose } = params;
  for (const value of [algorithmId, min, normal, max, strict, loose]) {
    if (!Number.isInteger(value) || value < 0 || value > thresholdMax) {
      return 'a chunker parameter is not a 32-bit integer';
    }
  }
  if (nameOfAlgorithm(algorithmId) === undefined) return 'chunker algorithm is not known';
  if (min < chunkMinFloor) return `smallest chunk is under ${chunkMinFloor} bytes`;
  if (max > chunkMaxCeiling) return `largest chunk is over ${chunkMaxCeiling} bytes`;
  if (normal <= min || normal >= max) return 'normal point is not between smallest and largest chunk';
  if (strict === 0 || strict > loose) return 'chunker thresholds are not in order';
  return undefined;
}

/** The algorithm of a stored id, or undefined when this build does not know it. */
export function nameOfAlgorithm(id: number): ChunkerAlgorithm | undefined {
  for (const [name, known] of Object.entries(chunkerAlgorithms)) {
    if (known === id) return name as ChunkerAlgorithm;
  }
  return undefined;
}

function refuseBadSizes(min: number, avg: number, max: number): void {
  for (const [name, value] of [
    ['min', min],
    ['avg', avg],
    ['max', max],
  ] as const) {
    if (!Number.isSafeInteger(value)) throw invalid(`chunk ${name} must be a whole number of bytes`);
  }
  if (min < chunkMinFloor) throw invalid(`chunk min must be at least ${chunkMinFloor} bytes, not ${min}`);
  if (avg < chunkAverageFloor)
    throw invalid(`chunk avg must be at least ${chunkAverageFloor} bytes, not ${avg}`);
  if (max > chunkMaxCeiling) throw invalid(`chunk max must be at most ${chunkMaxCeiling} bytes, not ${max}`);
  if (min >= avg || avg >= max)
    throw invalid(`chunk sizes must be min < avg < max, not ${min}, ${avg}, ${max}`);
}

interface Rates {
  strict: number;
  loose: number;
}

function ratesOf(avg: number): Rates {
  return { strict: 1 / (avg * 2 ** level), loose: 2 ** level / avg };
}

/** Mean chunk length on random data with the normal point at `normal`. */
function meanAt(normal: number, min: number, max: number, rates: Rates): number {
  const pass = (1 - rates.strict) ** (normal - min);
  const tail = 1 - (1 - rates.loose) ** (max - normal);
  return min + (1 - pass) / rates.strict + (pass * tail) / rates.loose;
}

function solveNormal(min: number, avg: number, max: number, rates: Rates): number {
  const mean = (normal: number): number => meanAt(normal, min, max, rates);
  // Integers of (min, max); when there is none, `high` is the lower one and no average fits.
  let low = min + 1;
  let high = max - 1;
  const least = Math.ceil(mean(low));
  const most = Math.floor(mean(high));
  if (low > high || avg < least || avg > most) {
    throw invalid(
      `chunk avg ${avg} cannot be reached with min ${min} and max ${max}: with this average the mean lies ` +
        `between ${least} and ${most}; try min = avg/4 and max = 4 avg`,
    );
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (mean(middle) < avg) low = middle;
    else high = middle;
  }
  return avg - mean(low) < mean(high) - avg ? low : high;
}
