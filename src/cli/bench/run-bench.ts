/** A benchmark in a directory of its own, which is gone afterwards. */
import { mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { MiB } from '../../base/limits.ts';
import { Prng } from '../../base/prng.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { ChunkingOptions } from '../../index.ts';
import { loadVarve } from '../load.ts';
import { errnoOf } from '../text.ts';
import { copyLimit, diskLimits, hashLimit, type Limits, syncLimit } from './limits.ts';
import { type BenchResult, phases } from './phases.ts';

/** What a benchmark is to do. */
export interface BenchOptions {
  /** Made, with its parents, where it is not there. */
  readonly dir: string;
  /** Roughly what the whole may take. */
  readonly seconds: number;
  readonly chunking: ChunkingOptions;
  readonly signal: AbortSignal;
  /** Told before each step. */
  readonly onStep: (name: string, done: number, total: number) => void;
}

/** What it found; rates in bytes or calls a second. */
export interface BenchReport {
  readonly bytes: number;
  readonly cores: number;
  readonly chunking: Required<ChunkingOptions>;
  readonly limits: Limits;
  readonly results: readonly BenchResult[];
  readonly seconds: number;
}

const sampleBytes = 8 * MiB;
const dataBytesMin = 8 * MiB;
const dataBytesMax = 128 * MiB;
/** Of the seconds, given to each phase that goes by time, and to hashing the data once. */
const phasePart = 1 / 10;
const hashPart = 1 / 40;

/**
 * Runs in a new directory below `dir` and removes it, whatever happens; a `dir` it made goes with it.
 * VARVE_ABORTED by the signal.
 */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const made = await mkdir(options.dir, { recursive: true });
  try {
    const place = await mkdtemp(path.join(options.dir, 'varve-bench-'));
    try {
      return await benchIn(place, options);
    } finally {
      await rm(place, { recursive: true, force: true });
    }
  } finally {
    if (made !== undefined) await removeMade(path.resolve(options.dir), path.resolve(made));
  }
}

/** Takes away the directories that were made, unless somebody has put something into one meanwhile. */
async function removeMade(dir: string, made: string): Promise<void> {
  for (let at = dir; at.length >= made.length; at = path.dirname(at)) {
    try {
      await rmdir(at);
    } catch (error) {
      if (errnoOf(error) === 'ENOTEMPTY' || errnoOf(error) === 'EEXIST') return;
      throw error;
    }
  }
}

async function benchIn(place: string, options: BenchOptions): Promise<BenchReport> {
  const { seconds, signal, onStep, chunking } = options;
  const begun = performance.now();
  const total = phases.length + 1;
  const phaseMs = seconds * phasePart * 1000;
  onStep('limits of the machine', 0, total);
  const { rate } = await hashLimit(new Prng(1).bytes(sampleBytes));
  const wanted = Math.round((rate * seconds * hashPart) / MiB) * MiB;
  const bytes = Math.min(dataBytesMax, Math.max(dataBytesMin, wanted));
  const data = new Prng(1).bytes(bytes);
  const hashing = await hashLimit(data);
  const disk = await diskLimits(data, place, signal);
  const limits: Limits = {
    sha256: hashing.rate,
    memoryCopy: copyLimit(data),
    diskWrite: disk.write,
    diskRead: disk.read,
    syncs: await syncLimit(place, phaseMs / 2, signal),
  };
  const { openEngine } = await loadVarve();
  const engine = await openEngine(path.join(place, 'store'), { chunking, signal });
  const results: BenchResult[] = [];
  try {
    // Starts the threads.
    await engine.put('warm', new Prng(0).bytes(sampleBytes), { signal });
    for (const [i, phase] of phases.entries()) {
      throwIfAborted(signal);
      onStep(phase.name, i + 1, total);
      results.push(await phase.run({ engine, data, limits, phaseMs, signal }));
    }
    const { algorithm, min, avg, max } = engine.stats().chunking;
    return {
      bytes,
      cores: hashing.cores,
      chunking: { algorithm, min, avg, max },
      limits,
      results,
      seconds: (performance.now() - begun) / 1000,
    };
  } finally {
    await engine.close();
  }
}
