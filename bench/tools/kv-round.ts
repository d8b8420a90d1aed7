/** One group of rows on one system: runs in a process of its own and checks every answer it is given. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Prng } from '../../src/base/prng.ts';
import type { OpenSettings, PeerStore } from '../peers/store.ts';
import { systems } from '../peers/systems.ts';
import { keyOf, numberIn, Values } from './kv-data.ts';
import {
  measureBatches,
  measureGet,
  measureGetSync,
  measureMissing,
  measurePut,
  measureWriters,
} from './kv-measure.ts';
import { hotKeys, type Scale } from './kv-rows.ts';

/** What a process is started with, as JSON. */
export interface RoundTask {
  readonly system: string;
  readonly group: string;
  /** Names of the rows wanted. */
  readonly rows: readonly string[];
  readonly scale: Scale;
  /** Where stores are made; each is removed again. */
  readonly dir: string;
  /** The program that takes tasks, for processes this one starts. */
  readonly self: string;
}

/** Row name to figure; a row the system has no call for is left out. */
export type RoundFigures = Record<string, number>;

type OpenStore = (settings: OpenSettings) => Promise<PeerStore>;

const smallBytes = 100;
const mediumBytes = 1024;
const largeBytes = 16_384;
const batchOps = 1000;
const writers = 64;
const readers = 64;

/** Runs a task; rejects when any answer is wrong. */
export async function runRound(task: RoundTask): Promise<RoundFigures> {
  const open = await systems[task.system]!.load();
  mkdirSync(task.dir, { recursive: true });
  const dir = mkdtempSync(join(task.dir, `varve-kv-${task.system}-`));
  try {
    switch (task.group) {
      case 'small':
        return await readSmall(task, open, dir);
      case 'medium':
        return await readLarger(task, open, dir, mediumBytes, task.scale.medium, ['get1k', 'hot1k']);
      case 'large':
        return await readLarger(task, open, dir, largeBytes, task.scale.large, ['get16k', 'hot16k']);
      case 'put':
        return await putSmall(task, open, dir);
      case 'durable':
        return await putDurable(task, open, dir);
      case 'durable-large':
        return await putDurableLarge(task, open, dir);
      case 'killed':
        return openKilled(task, dir);
      default:
        throw new Error(`no group is named ${task.group}`);
    }
  } finally {
    rmSync(dir, { recursive: true, maxRetries: 3 });
  }
}

async function readSmall(task: RoundTask, open: OpenStore, dir: string): Promise<RoundFigures> {
  const { rows, scale } = task;
  const count = scale.small;
  const values = new Values(smallBytes);
  const figures: RoundFigures = {};
  const settings = { dir, isDurable: false, valueBytes: smallBytes };
  const loading = await open(settings);
  figures.batch = await measureBatches(loading, values, count, batchOps);
  await loading.close();
  figures.disk = bytesUnder(dir) / 1e6;
  if (rows.includes('open')) figures.open = openElsewhere(task, dir, count);
  const store = await open(settings);
  const wanted = (name: string): boolean => rows.includes(name);
  if (wanted('hot100')) figures.hot100 = measureGetSync(store, values, hotKeys, scale.seconds);
  if (wanted('hot64')) await note('hot64', measureGet(store, values, hotKeys, readers, scale.seconds));
  if (wanted('get100')) figures.get100 = measureGetSync(store, values, count, scale.seconds);
  if (wanted('get64')) await note('get64', measureGet(store, values, count, readers, scale.seconds));
  if (wanted('missing')) figures.missing = measureMissing(store, count, scale.seconds);
  if (wanted('scan')) figures.scan = await scanAll(store, values, count);
  await store.close();
  return figures;

  async function note(name: string, measured: Promise<number | undefined>): Promise<void> {
    const figure = await measured;
    if (figure !== undefined) figures[name] = figure;
  }
}

async function readLarger(
  task: RoundTask,
  open: OpenStore,
  dir: string,
  valueBytes: number,
  count: number,
  [all, hot]: readonly [string, string],
): Promise<RoundFigures> {
  const values = new Values(valueBytes);
  const settings = { dir, isDurable: false, valueBytes };
  const loading = await open(settings);
  await measureBatches(loading, values, count, Math.min(batchOps, Math.floor((1 << 22) / valueBytes)));
  await loading.close();
  const store = await open(settings);
  const figures: RoundFigures = {};
  const { rows, scale } = task;
  if (rows.includes(hot)) figures[hot] = measureGetSync(store, values, hotKeys, scale.seconds);
  if (rows.includes(all)) figures[all] = measureGetSync(store, values, count, scale.seconds);
  await store.close();
  return figures;
}

async function putSmall({ scale }: RoundTask, open: OpenStore, dir: string): Promise<RoundFigures> {
  const values = new Values(smallBytes);
  const settings = { dir, isDurable: false, valueBytes: smallBytes };
  const store = await open(settings);
  const { rate, count } = await measurePut(store, values, scale.small, scale.seconds);
  await store.close();
  await checkAll(open, settings, values, count);
  return { put: rate };
}

async function putDurable({ scale, rows }: RoundTask, open: OpenStore, dir: string): Promise<RoundFigures> {
  const values = new Values(smallBytes);
  const settings = { dir, isDurable: true, valueBytes: smallBytes };
  const store = await open(settings);
  const figures: RoundFigures = {};
  let count = 0;
  for (const [name, together] of [
    ['durable64', writers],
    ['durable1', 1],
  ] as const) {
    if (!rows.includes(name)) continue;
    const run = await measureWriters(store, values, together, scale.small, scale.seconds, count);
    figures[name] = run.rate;
    count += run.count;
  }
  await store.close();
  await checkAll(open, settings, values, count);
  return figures;
}

async function putDurableLarge({ scale }: RoundTask, open: OpenStore, dir: string): Promise<RoundFigures> {
  const values = new Values(largeBytes);
  const settings = { dir, isDurable: true, valueBytes: largeBytes };
  const store = await open(settings);
  const { rate, count } = await measureWriters(store, values, writers, scale.large, scale.seconds);
  await store.close();
  await checkAll(open, settings, values, count);
  return { 'durable64-16k': rate };
}

function openKilled(task: RoundTask, dir: string): RoundFigures {
  const { system, scale, self } = task;
  const loader = spawnSync(process.execPath, [self, 'load-and-die', system, dir, String(scale.small)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (loader.signal !== 'SIGKILL') throw new Error(`the process to be killed ended with ${loader.status}`);
  return { 'open-killed': openElsewhere(task, dir, scale.small) };
}

/** Loads `count` keys and ends as if killed by another. */
export async function loadAndDie(system: string, dir: string, count: number): Promise<void> {
  const open = await systems[system]!.load();
  const store = await open({ dir, isDurable: false, valueBytes: smallBytes });
  await measureBatches(store, new Values(smallBytes), count, batchOps);
  process.kill(process.pid, 'SIGKILL');
}

/** Milliseconds of an open and one get in a new process, as most opens are. */
function openElsewhere({ self, system }: RoundTask, dir: string, count: number): number {
  return Number(
    execFileSync(process.execPath, [self, 'time-open', system, dir, String(count)], { encoding: 'utf8' }),
  );
}

/** Opens a store of `count` keys of 100 B: the milliseconds to its first answer. Then asks for 1000 more. */
export async function timeOpen(system: string, dir: string, count: number): Promise<number> {
  const open = await systems[system]!.load();
  const values = new Values(smallBytes);
  const key = keyOf(count >> 1);
  const began = performance.now();
  const store = await open({ dir, isDurable: false, valueBytes: smallBytes });
  const first = store.getSync(key);
  const took = performance.now() - began;
  values.check(first, count >> 1);
  const numbers = new Prng(count);
  for (let i = 0; i < 1000; i++) {
    const n = numbers.below(count);
    values.check(store.getSync(keyOf(n)), n);
  }
  await store.close();
  return took;
}

/** Entries per second; order, number and (in a second pass, beyond the clock) every value are checked. */
async function scanAll(store: PeerStore, values: Values, count: number): Promise<number> {
  let seen = 0;
  let last = '';
  const began = performance.now();
  await store.scan((key, value) => {
    if (key <= last || value.length !== values.length) throw new Error(`${key} comes after ${last}`);
    last = key;
    seen++;
  });
  const took = performance.now() - began;
  if (seen !== count) throw new Error(`the scan found ${seen} of ${count} keys`);
  await store.scan((key, value) => {
    const n = numberIn(value);
    if (key !== keyOf(n) || n >= count) throw new Error(`${key} has the value of key ${n}`);
    values.check(value, n);
  });
  return (count / took) * 1000;
}

async function checkAll(open: OpenStore, settings: OpenSettings, values: Values, count: number) {
  const store = await open(settings);
  for (let n = 0; n < count; n++) values.check(store.getSync(keyOf(n)), n);
  await store.close();
}

/** Bytes the files below a directory take on the disk. */
export function bytesUnder(dir: string): number {
  let sum = 0;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += statSync(join(entry.parentPath, entry.name)).blocks * 512;
  }
  return sum;
}
