/**
 * Timed slices. Only the calls to the store are inside the clock: keys and values are made before a slice and
 * the answers are checked after it.
 */
import { Prng } from '../../src/base/prng.ts';
import type { PeerStore } from '../peers/store.ts';
import { keyOf, type Values } from './kv-data.ts';

/** Bytes of values one slice holds: neither too many for memory nor too few to time. */
const sliceBytes = 4 << 20;
const sliceOpsMax = 4000;

/** Puts that are under way before the caller waits for them. */
const putWindow = 1000;

const sliceOps = (values: Values): number =>
  Math.max(64, Math.min(sliceOpsMax, Math.floor(sliceBytes / values.length)));

/** Gets per second of random keys below `among`, for at least `seconds`; every value is compared. */
export function measureGetSync(store: PeerStore, values: Values, among: number, seconds: number): number {
  const numbers = new Prng(among);
  const count = sliceOps(values);
  const answers = new Array<Uint8Array | undefined>(count);
  return slices(seconds, () => {
    const asked = Array.from({ length: count }, () => numbers.below(among));
    const keys = asked.map(keyOf);
    const began = performance.now();
    for (let i = 0; i < count; i++) answers[i] = store.getSync(keys[i]!);
    const took = performance.now() - began;
    for (let i = 0; i < count; i++) values.check(answers[i], asked[i]!);
    return [count, took];
  });
}

/** Lookups per second of keys that are not there: numbers from `from` on. */
export function measureMissing(store: PeerStore, from: number, seconds: number): number {
  const numbers = new Prng(from);
  return slices(seconds, () => {
    const keys = Array.from({ length: sliceOpsMax }, () => keyOf(from + numbers.below(from)));
    let found = 0;
    const began = performance.now();
    for (let i = 0; i < keys.length; i++) if (store.getSync(keys[i]!) !== undefined) found++;
    const took = performance.now() - began;
    if (found > 0) throw new Error(`${found} keys that were never put are there`);
    return [keys.length, took];
  });
}

/** As measureGetSync by `readers` that each wait for their answer; undefined where there is no such read. */
export async function measureGet(
  store: PeerStore,
  values: Values,
  among: number,
  readers: number,
  seconds: number,
): Promise<number | undefined> {
  if (store.get === undefined) return undefined;
  const numbers = new Prng(among);
  const count = sliceOps(values);
  const answers = new Array<Uint8Array | undefined>(count);
  return slicesAsync(seconds, async () => {
    const asked = Array.from({ length: count }, () => numbers.below(among));
    const keys = asked.map(keyOf);
    let next = 0;
    const reader = async (): Promise<void> => {
      while (next < count) {
        const i = next++;
        answers[i] = await store.get!(keys[i]!);
      }
    };
    const began = performance.now();
    await Promise.all(Array.from({ length: readers }, reader));
    const took = performance.now() - began;
    for (let i = 0; i < count; i++) values.check(answers[i], asked[i]!);
    return [count, took];
  });
}

/** Puts of new keys from number 0 on: their rate, and how many there are. */
export interface PutRun {
  readonly rate: number;
  readonly count: number;
}

/** Puts by a caller that waits for a whole window of them at a time. */
export async function measurePut(
  store: PeerStore,
  values: Values,
  countMax: number,
  seconds: number,
): Promise<PutRun> {
  return puts(values, { countMax, seconds, sliceOps: sliceOps(values), from: 0 }, async (keys, bytes) => {
    for (let at = 0; at < keys.length; at += putWindow) {
      const end = Math.min(at + putWindow, keys.length);
      const pending: (Promise<unknown> | undefined)[] = [];
      for (let i = at; i < end; i++) pending.push(store.put(keys[i]!, bytes[i]!));
      await Promise.all(pending);
    }
  });
}

/** Puts by `writers` that each wait for theirs, from number `from` on. */
export async function measureWriters(
  store: PeerStore,
  values: Values,
  writers: number,
  countMax: number,
  seconds: number,
  from = 0,
): Promise<PutRun> {
  const work = async (keys: readonly string[], bytes: readonly Uint8Array[]): Promise<void> => {
    let next = 0;
    const writer = async (): Promise<void> => {
      while (next < keys.length) {
        const i = next++;
        await store.put(keys[i]!, bytes[i]!);
      }
    };
    await Promise.all(Array.from({ length: writers }, writer));
  };
  // Slices of a few waits each, so that a slow disk does not make them minutes long.
  const ops = Math.min(writers * 16, sliceOps(values));
  return puts(values, { countMax, seconds, sliceOps: ops, from }, work);
}

/** Batches of `batchOps` until `count` keys are in; a batch is in order of arrival, its keys are not. */
export async function measureBatches(
  store: PeerStore,
  values: Values,
  count: number,
  batchOps: number,
): Promise<number> {
  let took = 0;
  for (let from = 0; from < count; from += batchOps) {
    const numbers = Array.from({ length: Math.min(batchOps, count - from) }, (_, i) => from + i);
    const keys = numbers.map(keyOf);
    const bytes = numbers.map((n) => values.of(n));
    const began = performance.now();
    await store.batch(keys, bytes);
    took += performance.now() - began;
  }
  return (count / took) * 1000;
}

interface PutPlan {
  readonly countMax: number;
  readonly seconds: number;
  readonly sliceOps: number;
  readonly from: number;
}

/** Slices until they took `seconds` or `countMax` keys are in, after one that is not counted. */
async function puts(
  values: Values,
  { countMax, seconds, sliceOps: count, from }: PutPlan,
  work: (keys: readonly string[], bytes: readonly Uint8Array[]) => Promise<void>,
): Promise<PutRun> {
  let done = 0;
  let counted = 0;
  let took = 0;
  while (took < seconds * 1000 && done < countMax) {
    const first = from + done;
    const numbers = Array.from({ length: Math.min(count, countMax - done) }, (_, i) => first + i);
    const keys = numbers.map(keyOf);
    const bytes = numbers.map((n) => values.of(n));
    const began = performance.now();
    await work(keys, bytes);
    if (done > 0) {
      took += performance.now() - began;
      counted += numbers.length;
    }
    done += numbers.length;
  }
  return { rate: (counted / took) * 1000, count: done };
}

/** Operations per second: slices until they took `seconds`, after one that is not counted. */
function slices(seconds: number, slice: () => [number, number]): number {
  slice();
  let ops = 0;
  let took = 0;
  while (took < seconds * 1000) {
    const [count, ms] = slice();
    ops += count;
    took += ms;
  }
  return (ops / took) * 1000;
}

async function slicesAsync(seconds: number, slice: () => Promise<[number, number]>): Promise<number> {
  await slice();
  let ops = 0;
  let took = 0;
  while (took < seconds * 1000) {
    const [count, ms] = await slice();
    ops += count;
    took += ms;
  }
  return (ops / took) * 1000;
}
