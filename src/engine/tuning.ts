/** tune() on paths and sources, with the providers an entry point binds. */
import { encodeUtf8 } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { hashKey32 } from '../codec/key-hash.ts';
import { type TreeFile, treeFiles } from '../fs/tree-files.ts';
import { setChunkCodecs } from '../kernels/compress/codecs.ts';
import { nodeChunkCodecs } from '../kernels/compress/codecs-node.ts';
import { setSha256 } from '../kernels/hash/sha256.ts';
import { checkTuneOptions, measure, type TuneInput } from '../tune/tune.ts';
import type { TuneOptions, TuneReport, TuneSource } from '../tune/tune-types.ts';
import type { Providers } from './open-directory.ts';

const sampleBytesDefault = 512 * MiB;

/** See tune of the entry points. */
export async function tuneWith(
  files: readonly string[] | AsyncIterable<TuneSource>,
  options: TuneOptions,
  { sha256 }: Pick<Providers, 'sha256'>,
): Promise<TuneReport> {
  checkTuneOptions(options);
  setSha256(sha256);
  setChunkCodecs(nodeChunkCodecs());
  if (!Array.isArray(files)) {
    const sources = files as AsyncIterable<TuneSource>;
    if (typeof sources?.[Symbol.asyncIterator] !== 'function')
      throw invalid('tune takes an array of paths, or sources to iterate');
    return await measure({ sources, total: undefined, sampled: 1 }, options);
  }
  return await measure(await inputOf(files, options), options);
}

interface Chosen {
  readonly file: TreeFile;
  readonly bytes: number;
  readonly version: number;
}

async function inputOf(paths: readonly string[], options: TuneOptions): Promise<TuneInput> {
  const { sampleBytes = sampleBytesDefault, seed = 1, versions = false } = options;
  if (paths.length === 0 || paths.some((path) => typeof path !== 'string'))
    throw invalid('tune takes at least one path');
  const trees = await Promise.all(paths.map((path) => treeFiles(path)));
  const groups = versions ? trees : [trees.flat()];
  const chosen = groups.flatMap((files, version) => choose(files, sampleBytes, seed, version));
  const total = chosen.reduce((sum, { bytes }) => sum + bytes, 0);
  const all = trees.flat().reduce((sum, { size }) => sum + size, 0);
  return { sources: sourcesOf(chosen), total, sampled: all === 0 ? 1 : total / all };
}

/**
 * Files of up to `most` bytes together, drawn by their names, in their order: the same ones in each version.
 */
function choose(files: readonly TreeFile[], most: number, seed: number, version: number): Chosen[] {
  const drawn = files.map((file, place) => {
    const name = encodeUtf8(`${seed} ${file.name}`);
    return { file, place, draw: hashKey32(name, 0, name.length) };
  });
  let left = most;
  const taken: (Chosen & { place: number })[] = [];
  for (const { file, place } of drawn.sort((a, b) => a.draw - b.draw || a.place - b.place)) {
    if (left <= 0) break;
    const bytes = Math.min(left, file.size);
    taken.push({ file, bytes, version, place });
    left -= bytes;
  }
  return taken.sort((a, b) => a.place - b.place);
}

async function* sourcesOf(chosen: readonly Chosen[]): AsyncGenerator<TuneSource> {
  for (const { file, bytes, version } of chosen) yield { name: file.name, data: file.read(bytes), version };
}
