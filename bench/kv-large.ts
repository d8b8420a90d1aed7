/**
 * A store of many keys and many chunks in bounded memory, under a writer that never waits for it:
 *
 *     node dist/bench/kv-large.js [--keys 50000000] [--chunks 20000000] [--gets 200000]
 *                                [--durability os|full] [--dir <directory>] [--seed 1] [--json]
 *
 * Loads keys of 20 B with values of 100 B by 1000 writers that each put again when their put is done, then
 * values of 1 MiB that are cut into chunks of 128 B, which 50 M keys and 20 M chunks make 30 GB. Then random
 * gets, a scan, deletes of half of the keys, gets and a scan again, compaction, close, open, gets and a scan
 * once more. Every answer is compared with what its number says. Progress goes to standard error.
 *
 * Write amplification is bytes written to the files of a kind per byte of key and value put. Beside what was
 * written to tables stands what the planner alone makes of a load of the same sizes, in the same unit, and
 * the ratio of the two. Latencies are from the call of put to its promise's end; `ofCpu` has some of them in
 * CPU time of this process, which tells its own stalls from those of a busy machine. Exit code 1 when an
 * answer is wrong.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { defaultCompactionLimits } from '../src/engine/background/compactor.ts';
import { openWithEnv } from '../src/engine/opening/open.ts';
import { chunkEntry } from '../src/format/chunk-table.ts';
import { trees } from '../src/format/trees.ts';
import { loadFlock } from '../src/fs/flock.ts';
import { openNodeFileSystem } from '../src/fs/node-file-system.ts';
import { systemClock } from '../src/fs/system-clock.ts';
import { nodeLock } from '../src/fs/writer-lock.ts';
import type { Engine } from '../src/index.ts';
import { setSha256 } from '../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../src/kernels/hash/sha256-node.ts';
import { choiceOf, countOf, optionsOf } from './tools/command-line.ts';
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
  valueBytes,
} from './tools/kv-large-phases.ts';
import { Latencies } from './tools/latencies.ts';
import { type SimulatedLoad, simulateMerges } from './tools/merge-simulation.ts';
import { report } from './tools/rounds.ts';
import { tinyChunks } from './tools/small-chunks.ts';

interface Options {
  readonly keys: number;
  readonly chunks: number;
  readonly gets: number;
  readonly durability: 'os' | 'full';
  readonly dir: string;
  readonly seed: number;
}

const usage = `A store of many keys and many chunks under a writer that never waits, every answer checked.

  --keys N           keys of 20 B with values of 100 B (50000000)
  --chunks N         chunks of 128 B (20000000)
  --gets N           random reads of each round of reads (200000)
  --durability os|full  (os)
  --dir DIRECTORY    where the store is made
  --seed N           of the random reads (1)
  --json             one line of JSON
  --help             this text`;

/** What a phase took, and what it found. */
type Figures = Record<string, unknown>;

/** What a row has beside key and value: space and number of the key, head of the value record, about. */
const rowOverheadBytes = 24;

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

/** What the engine has written since it was opened first. */
interface Written {
  readonly bytes: WrittenBytes;
  checkpoints: number;
}

async function open(options: Options, written: Written): Promise<Engine> {
  setSha256(nodeSha256);
  const fs = await openNodeFileSystem(options.dir, { create: true });
  const flock = await loadFlock();
  const lock = nodeLock({
    dir: fs.root,
    clock: systemClock,
    ...('unavailable' in flock ? {} : { flock }),
  });
  const random = (n: number): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(n));
  const env = { fs: written.bytes.around(fs), lock, clock: systemClock, random };
  const debug = (message: string): void => {
    if (message === 'checkpoint') written.checkpoints++;
  };
  const { durability } = options;
  return await openWithEnv(env, { durability, chunking: tinyChunks, logger: { debug } });
}

function latencyFigures(latencies: Latencies): Figures {
  return {
    p50Ms: round(latencies.quantile(0.5), 3),
    p99Ms: round(latencies.quantile(0.99), 3),
    p999Ms: round(latencies.quantile(0.999), 3),
    maxMs: round(latencies.maxMs, 1),
  };
}

/** Runs the phases, adding what each found to the result under its name. */
class Course {
  readonly figures: Record<string, Figures> = {};
  rssMaxMiB = 0;

  async phase<T extends Figures>(name: string, work: (progress: Progress) => Promise<T>): Promise<void> {
    const began = performance.now();
    const cpu = process.cpuUsage();
    const found = await work(progressOf(name));
    const seconds = round((performance.now() - began) / 1000);
    const { user, system } = process.cpuUsage(cpu);
    this.rssMaxMiB = round(process.resourceUsage().maxRSS / 1024, 0);
    const cpuSeconds = round((user + system) / 1e6);
    this.figures[name] = { seconds, cpuSeconds, ...found, rssMiB: rssMiB(), rssMaxMiB: this.rssMaxMiB };
    process.stderr.write(`${name}: ${JSON.stringify(this.figures[name])}\n`);
  }
}

/** Bytes written during a load, per byte loaded, and what the planner alone would write to tables. */
class Amplification {
  readonly #written: Written;
  readonly #before: Readonly<Record<string, number>>;
  readonly #checkpoints: number;

  constructor(written: Written) {
    this.#written = written;
    this.#before = { ...written.bytes.byKind };
    this.#checkpoints = written.checkpoints;
  }

  /** `load`: what a tree got, but for the flushes, which were counted. */
  figures(logical: number, load: Omit<SimulatedLoad, 'flushRows' | 'limits'>): Figures {
    const { bytes, checkpoints } = this.#written;
    const kinds = Object.entries(bytes.byKind).map(([kind, end]): [string, number] => [
      kind,
      (end - (this.#before[kind] ?? 0)) / logical,
    ]);
    const total = kinds.reduce((sum, [, factor]) => sum + factor, 0);
    const measured = Object.fromEntries(kinds.map(([kind, factor]) => [kind, round(factor)]));
    const flushes = Math.max(1, checkpoints - this.#checkpoints);
    const flushRows = Math.ceil(load.rows / flushes);
    const { flushed, merged } = simulateMerges({ ...load, flushRows, limits: defaultCompactionLimits });
    const simulated = (flushed + merged) / logical;
    const tables = kinds.find(([kind]) => kind === 'tab')![1];
    const ratio = round(tables / simulated);
    return { ...measured, total: round(total), flushes, tablesSimulated: round(simulated), ratio };
  }
}

/** Everything in tables, and every merge done that is due: what the simulation counts. */
async function settle(engine: Engine): Promise<void> {
  await engine.flush();
  while (engine.stats().compaction.running) await new Promise((resolve) => setTimeout(resolve, 50));
}

async function loadPhases(course: Course, engine: Engine, options: Options, written: Written) {
  const { keys, chunks } = options;
  await course.phase('load keys', async (progress) => {
    const amplification = new Amplification(written);
    const waits = { wall: new Latencies(), cpu: new Latencies() };
    const began = performance.now();
    await loadKeys(engine, [0, keys], 0, waits, progress);
    const perSecond = round(keys / ((performance.now() - began) / 1000), 0);
    await settle(engine);
    const { tables, compaction } = engine.stats();
    const rowBytes = tables.bytes / tables.entries;
    const plainRowBytes = keyBytes + valueBytes + rowOverheadBytes;
    const load = { tree: trees.K, rows: keys, rowBytes, plainRowBytes };
    const factors = amplification.figures(keys * (keyBytes + valueBytes), load);
    const waitedMs = round(compaction.waitedMs, 0);
    const figures = { ...latencyFigures(waits.wall), ofCpu: latencyFigures(waits.cpu) };
    return { perSecond, ...figures, waitedMs, writeAmplification: factors };
  });
  let values = 0;
  await course.phase('load chunks', async (progress) => {
    const amplification = new Amplification(written);
    const tableBytes = engine.stats().tables.bytes;
    values = await loadChunks(engine, chunks, progress);
    await settle(engine);
    const rowBytes = (engine.stats().tables.bytes - tableBytes) / chunks;
    const load = { tree: trees.C, rows: chunks, rowBytes, plainRowBytes: chunkEntry.size };
    return { values, writeAmplification: amplification.figures(values * chunkedBytes, load) };
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
  const written: Written = { bytes: new WrittenBytes(), checkpoints: 0 };
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
  await course.phase('compact', async () => {
    const before = written.bytes.total();
    await engine.compact();
    return { writtenMB: round((written.bytes.total() - before) / MB, 1) };
  });
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

async function main(): Promise<void> {
  const { json, under, ...options } = optionsOf(
    usage,
    {
      keys: { type: 'string', default: '50000000' },
      chunks: { type: 'string', default: '20000000' },
      gets: { type: 'string', default: '200000' },
      durability: { type: 'string', default: 'os' },
      dir: { type: 'string', default: tmpdir() },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
    },
    (values) => ({
      keys: countOf('keys', values.keys),
      chunks: countOf('chunks', values.chunks),
      gets: countOf('gets', values.gets),
      durability: choiceOf('durability', values.durability, ['os', 'full']),
      seed: countOf('seed', values.seed, 0),
      under: resolve(values.dir),
      json: values.json,
    }),
  );
  mkdirSync(under, { recursive: true });
  const dir = mkdtempSync(join(under, 'varve-kv-large-'));
  try {
    const figures = await run({ ...options, dir });
    report(json, figures, [JSON.stringify(figures, undefined, 2)]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

await main();
