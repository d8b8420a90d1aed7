/**
 * Fills disks: in memory at every 512 bytes up to what a workload needs, on a tmpfs of that size, and with a
 * limit on the size of files. What was acknowledged is readable while the disk is full, the error says that
 * it is, the store opens for reading, and with space again everything is there and works. Every other
 * workload in memory also merges and compacts. A store large enough for a reserve gets out of a full disk
 * with it: it opens, deletes, compacts and takes puts again.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';
import { auditDir, checkStore } from '../real/check-store.ts';
import { escapeWithReserve } from '../real/escape-full.ts';
import { type FullDisk, fillDisk } from '../real/full-disk.ts';
import { LaneModel } from '../real/lane-model.ts';
import { command, Mounts, missing } from '../real/mounts.ts';
import { openDir, usualShape } from '../real/store-dir.ts';
import { Worker } from '../real/worker.ts';
import type { WorkerConfig } from '../real/worker-child.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const shortRounds = 16;
const step = 512;
const lanes = 3;
/** Turns of the event loop in which what an open store does in the background gets to its end. */
const turnsMax = 2000;

interface Run {
  readonly options: CampaignOptions;
  readonly lines: string[];
  readonly tally: Map<string, number>;
  failed: number;
}

export const campaign: Campaign = {
  name: 'disk-full',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const pace = new Pace(options, shortRounds);
    const run: Run = { options, lines: [], tally: new Map(), failed: 0 };
    const onTmpfs = missing('root', 'mount');
    const onLimit = missing('prlimit');
    const capacities = new Capacities(options.seed);
    let tried = 0;
    while (pace.goesOn(tried)) {
      const prng = new Prng(options.seed * 2 ** 20 + tried);
      // Most rounds are in memory, where every capacity has its turn; real disks come in between.
      const kind = tried % 40;
      const reserved = tried % 20 === 19;
      if (kind === 1 && onTmpfs === undefined) await guarded(run, tried, 'tmpfs', () => fillTmpfs(prng, run));
      else if (kind === 2 && onLimit === undefined)
        await guarded(run, tried, 'file size limit', () => fillLimited(prng, run, tried));
      else if (reserved) await guarded(run, tried, 'reserve', () => escapeFull(prng, run));
      else {
        const { capacity, seed } = await capacities.next();
        await guarded(run, tried, `${capacity} bytes, workload ${seed}`, () =>
          fillMemory(capacity, seed, run),
        );
      }
      tried++;
      options.onProgress(tried, pace.total, `${run.failed} failed`);
    }
    run.lines.push(Array.from(run.tally, ([name, times]) => `${name}: ${times}`).join(', '));
    return { tried, failed: run.failed, lines: run.lines, skipped: skippedHere() };
  },
};

/** What cannot be tried here, with what to install. */
export function skippedHere(): string[] {
  const onTmpfs = missing('root', 'mount');
  const onLimit = missing('prlimit');
  return [
    ...(onTmpfs === undefined ? [] : [`full tmpfs: ${onTmpfs}`]),
    ...(onLimit === undefined ? [] : [`limit on the size of files: ${onLimit}`]),
  ];
}

async function guarded(run: Run, round: number, what: string, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    run.failed++;
    const cause = (error as Error).stack?.split('\n').slice(0, 3).join(' | ');
    run.lines.push(`round ${round} of seed ${run.options.seed}, ${what}: ${cause}`);
  }
}

function count(run: Run, what: string): void {
  run.tally.set(what, (run.tally.get(what) ?? 0) + 1);
}

const memoryShape: StoreShape = {
  durability: 'full',
  algorithm: 'fastcdc',
  inlineMax: 200,
  segmentBytes: 16 * 1024,
};
const memoryCalls = 12;
/** Workloads with an odd seed merge and compact. */
const planOf = (seed: number) => ({
  ...{ script: scriptOf(seed), lanes, calls: memoryCalls },
  ...(seed % 2 === 1 ? { compactEvery: 4 } : {}),
});
const scriptOf = (seed: number) => ({ seed, round: 0, scale: 0.1 });

/** Every capacity in steps of 512 bytes, in an order that covers the range early; then the next workload. */
class Capacities {
  readonly #first: number;
  #seed: number;
  #left: number[] = [];

  constructor(seed: number) {
    this.#first = seed;
    this.#seed = seed - 1;
  }

  async next(): Promise<{ capacity: number; seed: number }> {
    if (this.#left.length === 0) {
      this.#seed++;
      const needed = await bytesNeeded(this.#seed);
      this.#left = Array.from({ length: Math.ceil(needed / step) + 2 }, (_, i) => i * step);
      shuffle(this.#left, new Prng(this.#first));
    }
    return { capacity: this.#left.pop()!, seed: this.#seed };
  }
}

function shuffle(items: number[], prng: Prng): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
}

class MemoryDisk implements FullDisk {
  readonly disk = new MemoryFileSystem();
  readonly #shape: StoreShape;
  #opens = 0;

  constructor(capacity: number, seed: number) {
    this.disk.capacity = capacity;
    this.#shape = seed % 2 === 1 ? { ...memoryShape, merges: true } : memoryShape;
  }

  open(readOnly: boolean): Promise<Engine> {
    return openOn(this.disk, this.#shape, this.#opens++, { readOnly, createIfMissing: !readOnly });
  }

  makeRoom(): void {
    this.disk.capacity = Number.POSITIVE_INFINITY;
  }

  async audit(): Promise<void> {
    // Of a store that is open a catalog may just be on its way: what is left over stays.
    let files = await strayFiles(this.disk);
    for (let turns = 0; turns < turnsMax && files.length > 0; turns++) {
      await new Promise((resolve) => setImmediate(resolve));
      files = await strayFiles(this.disk);
    }
    const stray = files.map((file) => `${file} is left over`);
    const problems = [...(await auditDisk(this.disk)).problems, ...stray];
    if (problems.length > 0) throw new Error(problems.join('; '));
  }
}

/** Most bytes the files take at any moment of the workload with a close and a new open. */
async function bytesNeeded(seed: number): Promise<number> {
  const memory = new MemoryDisk(Number.POSITIVE_INFINITY, seed);
  const { disk } = memory;
  let most = 0;
  disk.faults = ({ kind }) => {
    if (kind === 'sync' || kind === 'dataSync' || kind === 'unlink') {
      const sizes = disk.files().map((file) => disk.bytesOf(file).length);
      most = Math.max(
        most,
        sizes.reduce((sum, size) => sum + size, 0),
      );
    }
    return undefined;
  };
  await fillDisk(memory, planOf(seed));
  return most;
}

async function fillMemory(capacity: number, seed: number, run: Run): Promise<void> {
  const outcome = await fillDisk(new MemoryDisk(capacity, seed), planOf(seed));
  count(run, `in memory${seed % 2 === 1 ? ' with compactions' : ''}, ${outcome}`);
}

/** Fills a store that has a reserve, lets others take the rest of the disk, and gets out of it. */
async function escapeFull(prng: Prng, run: Run): Promise<void> {
  const outcome = await escapeWithReserve({
    seed: prng.u32(),
    capacity: (7 + prng.below(4)) * 2 ** 20,
    taken: prng.chance(0.5),
  });
  count(run, `reserve, ${outcome}`);
}

async function fillTmpfs(prng: Prng, run: Run): Promise<void> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-full-'));
  const mounts = new Mounts();
  const at = path.join(dir, 'full');
  mkdirSync(at);
  try {
    mounts.tmpfs(at, 4096 * (1 + prng.below(prng.pick([30, 400]))), prng.pick([12, 40, 4000]));
    const store = path.join(at, 'store');
    const disk: FullDisk = {
      open: (readOnly) => openDir(store, usualShape, readOnly ? { readOnly, createIfMissing: false } : {}),
      makeRoom: () => {
        command('mount', '-o', 'remount,size=64m,nr_inodes=10000', at);
      },
      audit: () => auditDir(store),
    };
    const outcome = await fillDisk(disk, { script: { seed: prng.u32(), round: 1 }, lanes, calls: 60 });
    // Throws where the engine, closed by now, still holds a file.
    mounts.removeAll();
    count(run, `tmpfs, ${outcome}`);
  } finally {
    // After a failure that one is what counts, and an engine may be open still.
    await Promise.allSettled([Promise.resolve().then(() => mounts.removeAll())]);
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A child whose files may not grow beyond a limit; its parent has none. */
async function fillLimited(prng: Prng, run: Run, number: number): Promise<void> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-limited-'));
  try {
    const limit = 4096 + prng.below(prng.pick([16_000, 200_000, 400_000]));
    const shape = usualShape;
    const config: WorkerConfig = {
      dir: path.join(dir, 'store'),
      shape,
      script: { seed: run.options.seed, round: number },
      lanes,
      calls: 80,
      reopenEvery: prng.pick([0, 30]),
    };
    const worker = new Worker(config, { before: ['prlimit', `--fsize=${limit}:${limit}`] });
    const { code, signal } = await worker.ended;
    if (code !== 0) throw new Error(`the worker ended with ${code ?? signal}: ${worker.stderr}`);
    if (worker.bad.length > 0) throw new Error(worker.bad.slice(0, 5).join('; '));
    const codes = [...worker.openErrors, ...worker.errors, ...worker.closeErrors];
    const others = codes.filter((one) => !/^VARVE_(NO_SPACE|POISONED)/.test(one));
    if (others.length > 0) throw new Error(`other errors than that the disk is full: ${others.join(' ')}`);
    count(run, `file size limit, ${codes.length > 0 ? 'met' : 'not met'}`);
    const { acks, durable } = worker;
    const round = { script: config.script, lanes, acks, keepsAcked: true, durable };
    await checkStore(config.dir, new LaneModel(), round, { shape, mayWarn: false, goOn: true });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
