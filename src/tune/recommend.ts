/** Chooses among ways of cutting that were measured. Pure. */
import { sizeName } from './size-name.ts';
import type { Recommendation, TuneResult } from './tune-types.ts';

/** A larger chunk size is taken while it costs no more than this beyond the least. */
const worthPart = 0.03;
/** Algorithms within this are equal: the faster one is taken. */
const equalPart = 0.01;

/**
 * The largest chunks that store at most 3 % more than the best way (fewer chunks cost less memory and time);
 * of two algorithms within 1 % of each other the one that cuts faster. `results` is not empty.
 */
export function recommend(results: readonly TuneResult[]): Recommendation {
  const costOf = (one: TuneResult): number => one.storedBytes;
  const least = Math.min(...results.map(costOf));
  const worth = results.filter((one) => costOf(one) <= least * (1 + worthPart));
  const avg = Math.max(...worth.map((one) => one.avg));
  const sized = worth.filter((one) => one.avg === avg);
  const best = Math.min(...sized.map(costOf));
  const equal = sized.filter((one) => costOf(one) <= best * (1 + equalPart));
  const chosen = equal.reduce((a, b) => (b.hashedRate > a.hashedRate ? b : a));
  const { algorithm, min, max } = chosen;
  return {
    algorithm,
    min,
    avg: chosen.avg,
    max,
    reason: reasonFor(chosen, least, results),
    option: `chunking: { algorithm: '${algorithm}', min: ${min}, avg: ${chosen.avg}, max: ${max} }`,
  };
}

function reasonFor(chosen: TuneResult, least: number, results: readonly TuneResult[]): string {
  const { algorithm, avg, dedupRatio, storedBytes, memoryPerTB } = chosen;
  const more = least === 0 ? 0 : (100 * (storedBytes - least)) / least;
  const finest = results.reduce((a, b) => (b.avg < a.avg ? b : a));
  const fewer = finest.uniqueChunks / Math.max(1, chosen.uniqueChunks);
  const against =
    more < 0.05
      ? 'nothing tried stores less'
      : `that is ${more.toFixed(1)} % more than the least, with ${fewer.toFixed(1)} times fewer chunks`;
  const kept = (logicalOf(chosen) / Math.max(1, storedBytes)).toFixed(2);
  return (
    `${algorithm} at ${sizeName(avg)} stores one byte for every ${kept} read ` +
    `(dedup ${dedupRatio.toFixed(2)}); ${against}, ` +
    `and a terabyte of it needs ${Math.round(memoryPerTB / 1e6)} MB of memory.`
  );
}

const logicalOf = ({ afterVersion, uniqueBytes }: TuneResult): number =>
  afterVersion.at(-1)?.logicalBytes ?? uniqueBytes;
