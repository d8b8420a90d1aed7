/**
 * The phases of a large store: load keys, load chunks, read, scan, delete half. Keys and values are functions
 * of a number, so memory does not grow with the store and every answer can be checked.
 */
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/index.ts';
import { keyOf, numberIn, Values } from './kv-data.ts';
import { Latencies } from './latencies.ts';
import { SmallChunks } from './small-chunks.ts';

/** Bytes of the value of a key. */
export const valueBytes = 100;

/** Bytes of a value that is cut into synthetic chunks. */
export const chunkedBytes = 1 << 20;

/** Puts under way at a time: more than the engine takes at once, so that it is never idle. */
const window = 1000;
const deletesPerBatch = 1000;

/** Called every so often with what is done of what. */
export type Progress = (done: number, total: number) => void;

/** The space with the chunked values, of which key `n` holds value `n`. */
export const chunkSpace = 'chunks';

/** True for the numbers whose keys `deleteHalf` removes. */
export const isDeleted = (n: number): boolean => (n & 1) === 1;

/** How long puts waited. */
export interface PutWaits {
  readonly wall: Latencies;
  /** The same for some of them in CPU time of this process, which other processes do not stretch. */
  readonly cpu: Latencies;
}

/** One put of so many is timed in CPU time: asking for it takes as long as some dozens of puts. */
const cpuTimedOneIn = 256;

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Puts `count` keys from `from` on as fast as they are taken; how long each waited goes to `waits`. */
export async function loadKeys(
  engine: Engine,
  [from, count]: readonly [number, number],
  generation: number,
  waits: PutWaits,
  progress: Progress,
): Promise<void> {
  const values = new Values(valueBytes);
  let next = from;
  const end = from + count;
  const writer = async (): Promise<void> => {
    while (next < end) {
      const n = next++;
      const key = keyOf(n);
      const value = values.borrowed(n, generation);
      const began = performance.now();
      const cpuBegan = n % cpuTimedOneIn === 0 ? cpuMs() : -1;
      await engine.put(key, value);
      waits.wall.add(performance.now() - began);
      if (cpuBegan >= 0) waits.cpu.add(cpuMs() - cpuBegan);
      progress(n - from + 1, count);
    }
  };
  await Promise.all(Array.from({ length: window }, writer));
}

/** Puts values of 1 MiB until `count` chunks are stored; the number of values put. */
export async function loadChunks(engine: Engine, count: number, progress: Progress): Promise<number> {
  const space = engine.space(chunkSpace);
  const words = new Uint32Array(chunkedBytes / 4);
  const bytes = new Uint8Array(words.buffer);
  const data = new SmallChunks();
  let values = 0;
  for (let stored = 0; stored < count; values++) {
    data.fill(words, values);
    const put = await space.put(keyOf(values), bytes);
    stored += put.newChunks;
    progress(stored, count);
  }
  return values;
}

/** `gets` random reads, half of them by getSync; some are of keys from `count` on, which are missing. */
export async function readRandom(
  engine: Engine,
  [count, gets]: readonly [number, number],
  isAbsent: (n: number) => boolean,
  seed: number,
): Promise<Latencies> {
  const numbers = new Prng(seed);
  const values = new Values(valueBytes);
  const latencies = new Latencies();
  for (let i = 0; i < gets; i++) {
    const n = i % 8 === 7 ? count + numbers.below(count) : numbers.below(count);
    const key = keyOf(n);
    const began = performance.now();
    const got = i % 2 === 0 ? engine.getSync(key) : await engine.get(key);
    latencies.add(performance.now() - began);
    if (n < count && !isAbsent(n)) values.check(got, n);
    else if (got !== undefined) throw new Error(`key ${n} is there and should not be`);
  }
  return latencies;
}

/** Reads some of the chunked values whole and compares them. */
export async function readChunked(engine: Engine, count: number, gets: number): Promise<void> {
  const numbers = new Prng(count);
  const words = new Uint32Array(chunkedBytes / 4);
  const expected = new Uint8Array(words.buffer);
  const data = new SmallChunks();
  const space = engine.space(chunkSpace);
  for (let i = 0; i < gets && count > 0; i++) {
    const n = numbers.below(count);
    const got = await space.get(keyOf(n));
    data.fill(words, n);
    if (got === undefined || Buffer.compare(got, expected) !== 0) {
      throw new Error(`chunked value ${n} is another one`);
    }
  }
}

/** Scans all keys: order, number and every value are checked. Entries per second, the checks included. */
export async function scanAll(
  engine: Engine,
  expected: number,
  isAbsent: (n: number) => boolean,
  progress: Progress,
): Promise<number> {
  const values = new Values(valueBytes);
  const began = performance.now();
  let last = '';
  let seen = 0;
  for await (const { key, value } of engine.scan()) {
    const n = numberIn(value!);
    if (key <= last) throw new Error(`${key} comes after ${last}`);
    if (key !== keyOf(n) || isAbsent(n)) throw new Error(`${key} has the value of key ${n}`);
    values.check(value, n);
    last = key;
    progress(++seen, expected);
  }
  if (seen !== expected) throw new Error(`the scan found ${seen} keys, ${expected} expected`);
  return (seen / (performance.now() - began)) * 1000;
}

/** Deletes the keys `isDeleted` names, in batches. */
export async function deleteHalf(engine: Engine, count: number, progress: Progress): Promise<void> {
  for (let from = 0; from < count; from += 2 * deletesPerBatch) {
    const operations: { type: 'delete'; key: string }[] = [];
    for (let n = from; n < Math.min(count, from + 2 * deletesPerBatch); n++) {
      if (isDeleted(n)) operations.push({ type: 'delete', key: keyOf(n) });
    }
    if (operations.length > 0) await engine.batch(operations);
    progress(Math.min(count, from + 2 * deletesPerBatch), count);
  }
}
