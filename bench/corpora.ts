/**
 * Dedup ratio of the chunkers on versions of real things, at equal mean size:
 *
 *     node dist/bench/corpora.js [--corpus name ...] [--avg 16384] [--keys 6] [--json]
 *
 * The ratio is bytes of tar per byte of chunks of different content, versions in order. How a key falls
 * changes it by a percent or so: key 0 is the public one that stores have, the others show the spread. Both
 * chunkers are solved for the same mean on random data, and natural data moves both away from it: fastcdc is
 * measured once more at the mean that sieve really had. Nothing is stored.
 */
import { readFileSync } from 'node:fs';
import { initChecksum, xxh64 } from '../src/codec/checksum.ts';
import { ChunkerPool, chunkAll } from '../src/kernels/chunker/chunker.ts';
import { deriveChunkerKey, publicChunkerSeed } from '../src/kernels/chunker/key.ts';
import { type ChunkerAlgorithm, solveParams } from '../src/kernels/chunker/params.ts';
import { setSha256, sha256 } from '../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../src/kernels/hash/sha256-node.ts';
import { HashSet64 } from '../src/tune/hash-set-64.ts';
import { countOf, listOf, optionsOf } from './tools/command-line.ts';
import { corpora, corpusTars } from './tools/corpora.ts';
import { report } from './tools/rounds.ts';

interface Cut {
  readonly ratio: number;
  readonly mean: number;
}

interface Row {
  readonly corpus: string;
  readonly bytes: number;
  readonly versions: number;
  /** By key, the public one first. */
  readonly sieve: readonly Cut[];
  readonly fastcdc: readonly Cut[];
  readonly fastcdcAtMean: readonly Cut[];
}

/** Seed of key `n`; 0 is the public one. */
function seedOf(n: number): Uint8Array {
  let seed = publicChunkerSeed();
  for (let i = 0; i < n; i++) seed = sha256(seed);
  return seed;
}

function cut(tars: readonly Uint8Array[], algorithm: ChunkerAlgorithm, avg: number, key: number): Cut {
  const params = solveParams({ algorithm, min: avg >> 2, avg, max: avg << 2 });
  const pool = new ChunkerPool(params, { key: deriveChunkerKey(algorithm, seedOf(key)), kept: 1 });
  const seen = new HashSet64();
  const chunker = pool.open();
  let [chunks, bytes, unique] = [0, 0, 0];
  for (const tar of tars) {
    let from = 0;
    for (const end of chunkAll(chunker, tar)) {
      if (seen.add(xxh64(tar.subarray(from, end)))) unique += end - from;
      from = end;
      chunks++;
    }
    bytes += tar.length;
  }
  chunker.release();
  return { ratio: bytes / unique, mean: bytes / chunks };
}

function measure(name: string, avg: number, keys: number): Row {
  const tars = corpusTars(name).map((path) => new Uint8Array(readFileSync(path)));
  const each = Array.from({ length: keys }, (_, key) => {
    const sieve = cut(tars, 'sieve', avg, key);
    const fastcdc = cut(tars, 'fastcdc', avg, key);
    const moved = Math.round((avg * sieve.mean) / fastcdc.mean);
    return { sieve, fastcdc, fastcdcAtMean: cut(tars, 'fastcdc', moved, key) };
  });
  return {
    corpus: name,
    bytes: tars.reduce((sum, tar) => sum + tar.length, 0),
    versions: tars.length,
    sieve: each.map((one) => one.sieve),
    fastcdc: each.map((one) => one.fastcdc),
    fastcdcAtMean: each.map((one) => one.fastcdcAtMean),
  };
}

const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function deviation(values: readonly number[]): number {
  const mean = meanOf(values);
  return Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2)));
}

/** `3.052±0.029 @16.6K`, and the public key's. */
function shown(cuts: readonly Cut[]): string {
  const ratios = cuts.map(({ ratio }) => ratio);
  const kib = (meanOf(cuts.map(({ mean }) => mean)) / 1024).toFixed(1);
  return `${meanOf(ratios).toFixed(3)}±${deviation(ratios).toFixed(3)} @${kib}K (${ratios[0]!.toFixed(3)})`;
}

const names = corpora.map(({ name }) => name);

const usage = `Dedup ratio of the chunkers on versions of real things, at equal mean size.

  --corpus NAME  one of ${names.join(', ')}; may be given again (all)
  --avg N        mean chunk, bytes (16384)
  --keys N       keys to measure with (6)
  --json         a line of JSON for each corpus
  --help         this text`;

async function main(): Promise<void> {
  const options = optionsOf(
    usage,
    {
      corpus: { type: 'string', multiple: true },
      avg: { type: 'string', default: '16384' },
      keys: { type: 'string', default: '6' },
      json: { type: 'boolean', default: false },
    },
    ({ corpus, avg, keys, json }) => ({
      names: listOf('corpus', corpus?.join(','), names),
      avg: countOf('avg', avg, 1024),
      keys: countOf('keys', keys),
      json,
    }),
  );
  await initChecksum();
  setSha256(nodeSha256);
  for (const name of options.names) {
    const row = measure(name, options.avg, options.keys);
    const ratio = (cuts: readonly Cut[]): number => meanOf(cuts.map((one) => one.ratio));
    const against = 100 * (ratio(row.sieve) / ratio(row.fastcdcAtMean) - 1);
    report(options.json, row, [
      `| ${name}, ${row.versions} versions, ${(row.bytes / 1e6).toFixed(0)} MB | ${shown(row.sieve)} ` +
        `| ${shown(row.fastcdc)} | ${shown(row.fastcdcAtMean)} | ${against.toFixed(1)} % |`,
    ]);
  }
}

await main();
