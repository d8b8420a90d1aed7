/**
 * A store of many keys and many chunks in bounded memory, under a writer that never waits for it:
 *
 *     node dist/bench/kv-large.js [--keys 50000000] [--chunks 20000000] [--gets 200000]
 *                                [--durability os|full] [--dir <directory>] [--seed 1] [--json]
 *
 * Loads keys of 20 B with values of 100 B by 1000 writers that each put again when their put is done, then
 * values of 1 MiB that are cut into chunks of about 1 KiB. Then random gets, a scan, deletes of half of the
 * keys, gets and a scan again, compaction where the engine has it, close, open, gets and a scan once more.
 * Every answer is compared with what its number says. Progress goes to standard error.
 *
 * Write amplification is bytes written to the files of a kind per byte of key and value put. Latencies are
 * from the call of put to its promise's end. Exit code 1 when an answer is wrong.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { openWithEnv } from '../src/engine/opening/open.ts';
import { loadFlock } from '../src/fs/flock.ts';
import { openNodeFileSystem } from '../src/fs/node-file-system.ts';
import { systemClock } from '../src/fs/system-clock.ts';
import { nodeLock } from '../src/fs/writer-lock.ts';
import type { Engine } from '../src/index.ts';
import { setSha256 } from '../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../src/kernels/hash/sha256-node.ts';
import { WrittenBytes } from './tools/counting-file-system.ts';
import { keyBytes } from './tools/kv-data.ts';
import {
  chunkedBytes,
  deleteHalf,
  isDeleted,
  loadChunks,
  loadKeys,
  type Progress,
  readChunked,
  readRandom,
  scanAll,
  tinyChunks,
  valueBytes,
} from './tools/kv-large-phases.ts';
import { Latencies } from './tools/latencies.ts';
import { report } from './tools/rounds.ts';

interface Options {
  readonly keys: number;
  readonly chunks: number;
  readonly gets: number;
  readonly durability: 'os' | 'full';
  readonly dir: string;
  readonly seed: number;
}

/** What a phase took, and what it found. */
type Figures = Record<string, unknown>;

const MB = 1e6;
const MiB = 2 ** 20;
const round = (value: number, digits = 2): number => Number(value.toFixed(digits));
const rssMiB = (): number => round(process.memoryUsage().rss / MiB, 0);

/** Says what is done every few seconds; the clock is looked at once in a thousand calls. */
function progressOf(phase: string): Progress {
  let calls = 0;
  let last = performance.now();
  return (done, total) => {
    if (++calls % 1000 !== 0 && done < total) return;
    const now = performance.now();
    if (now - last < 5000) return;
    last = now;
    const share = ((100 * done) / total).toFixed(1);
    process.stderr.write(`${phase}: ${share} %, ${done} of ${total}, ${rssMiB()} MiB\n`);
  };
}

async function open(options: Options, written: WrittenBytes): Promise<Engine> {
  setSha256(nodeSha256);
  const fs = await openNodeFileSystem(options.dir, { create: true });
  const flock = await loadFlock();
  const lock = nodeLock({
    dir: fs.root,
    clock: systemClock,
    ...('unavailable' in flock ? {} : { flock }),
  });
  const random = (n: number): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(n));
  const env = { fs: written.around(fs), lock, clock: systemClock, random };
  return await openWithEnv(env, { durability: options.durability, chunking: tinyChunks });
}

function latencyFigures(latencies: Latencies): Figures {
  return {
    p50Ms: round(latencies.quantile(0.5), 3),
    p99Ms: round(latencies.quantile(0.99), 3),
    p999Ms: round(latencies.quantile(0.999), 3),
    maxMs: round(latencies.maxMs, 1),
  };
}

function amplification(written: WrittenBytes, before: Readonly<Record<string, number>>, logical: number) {
  const kinds = Object.entries(written.byKind).map(([kind, bytes]): [string, number] => [
    kind,
    round((bytes - (before[kind] ?? 0)) / logical),
  ]);
  const total = kinds.reduce((sum, [, factor]) => sum + factor, 0);
  return { ...Object.fromEntries(kinds), total: round(total) };
}

/** Runs the phases, adding what each found to the result under its name. */
class Course {
  readonly figures: Record<string, Figures> = {};
  rssMaxMiB = 0;

  async phase<T extends Figures>(name: string, work: (progress: Progress) => Promise<T>): Promise<void> {
    const began = performance.now();
    const found = await work(progressOf(name));
    const seconds = round((performance.now() - began) / 1000);
    this.rssMaxMiB = round(process.resourceUsage().maxRSS / 1024, 0);
    this.figures[name] = { seconds, ...found, rssMiB: rssMiB(), rssMaxMiB: this.rssMaxMiB };
    process.stderr.write(`${name}: ${JSON.stringify(this.figures[name])}\n`);
  }
}

async function loadPhases(course: Course, engine: Engine, options: Options, written: WrittenBytes) {
  const { keys, chunks } = options;
  await course.phase('load keys', async (progress) => {
    const before = { ...written.byKind };
    const latencies = new Latencies();
    const began = performance.now();
    await loadKeys(engine, [0, keys], 0, latencies, progress);
    const perSecond = round(keys / ((performance.now() - began) / 1000), 0);
    await engine.flush();
    const logical = keys * (keyBytes + valueBytes);
    const factors = amplification(written, before, logical);
    return { perSecond, ...latencyFigures(latencies), writeAmplification: factors };
  });
  let values = 0;
  await course.phase('load chunks', async (progress) => {
    const before = { ...written.byKind };
    values = await loadChunks(engine, chunks, progress);
    await engine.flush();
    const logical = values * chunkedBytes;
    return { values, writeAmplification: amplification(written, before, logical) };
  });
  return values;
}

async function checkPhases(
  course: Course,
  engine: Engine,
  options: Options,
  values: number,
  when: string,
  isAbsent: (n: number) => boolean,
) {
  const { keys, gets, seed } = options;
  await course.phase(`gets ${when}`, async () => {
    const latencies = await readRandom(engine, [keys, gets], isAbsent, seed);
    await readChunked(engine, values, Math.min(64, gets));
    return latencyFigures(latencies);
  });
  await course.phase(`scan ${when}`, async (progress) => {
    let expected = keys;
    if (isAbsent === isDeleted) expected = Math.ceil(keys / 2);
    return { perSecond: round(await scanAll(engine, expected, isAbsent, progress), 0) };
  });
}

async function run(options: Options): Promise<Figures> {
  const { keys } = options;
  const written = new WrittenBytes();
  const course = new Course();
  let engine = await open(options, written);
  const values = await loadPhases(course, engine, options, written);
  const nothing = (): boolean => false;
  await checkPhases(course, engine, options, values, 'of all', nothing);
  await course.phase('delete half', async (progress) => {
    await deleteHalf(engine, keys, progress);
    await engine.flush();
    return {};
  });
  await checkPhases(course, engine, options, values, 'of half', isDeleted);
  await compactWhereThere(course, engine, written);
  await course.phase('close', async () => {
    await engine.close();
    return {};
  });
  await course.phase('open', async () => {
    const began = performance.now();
    engine = await open(options, written);
    const openMs = round(performance.now() - began);
    if (!engine.health().ok) throw new Error(JSON.stringify(engine.health()));
    return { openMs };
  });
  await checkPhases(course, engine, options, values, 'after open', isDeleted);
  const { disk, tables, memory } = engine.stats();
  await engine.close();
  const diskMB = round(disk.totalBytes / MB, 1);
  return { options, phases: course.figures, rssMaxMiB: course.rssMaxMiB, diskMB, tables, memory };
}

async function compactWhereThere(course: Course, engine: Engine, written: WrittenBytes): Promise<void> {
  const { compact } = engine as Engine & { compact?: () => Promise<unknown> };
  if (compact === undefined) return;
  await course.phase('compact', async () => {
    const before = written.total();
    await compact.call(engine);
    return { writtenMB: round((written.total() - before) / MB, 1) };
  });
}

function countOf(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 2 ** 31) {
    throw new Error(`--${name} must be a whole number from 1 to 2^31`);
  }
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      keys: { type: 'string', default: '50000000' },
      chunks: { type: 'string', default: '20000000' },
      gets: { type: 'string', default: '200000' },
      durability: { type: 'string', default: 'os' },
      dir: { type: 'string', default: tmpdir() },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.durability !== 'os' && values.durability !== 'full') throw new Error('--durability os or full');
  mkdirSync(values.dir, { recursive: true });
  const dir = mkdtempSync(join(resolve(values.dir), 'varve-kv-large-'));
  const options: Options = {
    keys: countOf('keys', values.keys),
    chunks: countOf('chunks', values.chunks),
    gets: countOf('gets', values.gets),
    durability: values.durability,
    dir,
    seed: Number(values.seed),
  };
  try {
    const figures = await run(options);
    report(values.json, figures, [JSON.stringify(figures, undefined, 2)]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

await main();
