/** What bench/space.ts does to a store, each phase in a process of its own. */
import { createCipheriv } from 'node:crypto';
import { closeSync, openSync, readdirSync, readSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Prng } from '../../src/base/prng.ts';
import { type Engine, type EngineOptions, openEngine, repair } from '../../src/index.ts';
import { Latencies } from '../tools/latencies.ts';
import type { Figure, PutFigure, WorkFigure } from './figures.ts';

const valueBytes = 256 * 1024;
const MiB = 1024 * 1024;
/** Copied before cleaning is measured. */
const warmBytes = 64 * MiB;
/** Looks at memory, ms apart. */
const lookMs = 20;
/** Puts before and after cleaning, to compare with. */
const quietMs = 5000;
const putBytes = 4096;

export interface Place {
  readonly dir: string;
  /** Bytes of content it is filled with. */
  readonly bytes: number;
}

const keyOf = (i: number): string => `v${String(i).padStart(8, '0')}`;
const countOf = ({ bytes }: Place): number => Math.floor(bytes / valueBytes);

async function withStore<T>(
  { dir }: Place,
  work: (engine: Engine) => Promise<T>,
  options: EngineOptions = {},
): Promise<T> {
  const engine = await openEngine(dir, { cleaning: { enabled: false }, ...options });
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

/** Random values from a seed, by a cipher: making them takes a small part of storing them. */
function randomValues(seed: number): () => Uint8Array {
  const cipher = createCipheriv('aes-128-ctr', new Prng(seed).bytes(16), new Uint8Array(16));
  const zeros = new Uint8Array(valueBytes);
  return () => cipher.update(zeros);
}

/** Nothing deduplicates. */
async function fill(place: Place): Promise<Figure[]> {
  await withStore(
    place,
    async (engine) => {
      const next = randomValues(place.bytes);
      const batch = 8;
      for (let i = 0; i < countOf(place); i += batch) {
        const puts = Array.from({ length: Math.min(batch, countOf(place) - i) }, (_, k) =>
          engine.put(keyOf(i + k), next()),
        );
        await Promise.all(puts);
      }
    },
    { durability: 'os' },
  );
  return [];
}

/** Deletes a random half of the keys that are there: every segment is about half dead. */
async function halve(engine: Engine, seed: number): Promise<void> {
  const prng = new Prng(seed);
  const keys: string[] = [];
  for await (const { key } of engine.scan({ prefix: 'v' })) if (prng.chance(0.5)) keys.push(String(key));
  for (const key of keys) await engine.delete(key);
  await engine.flush();
}

/**
 * Runs `work`, which returns the bytes it is counted in, and watches memory: what is resident, and of that
 * what `budgeted` says.
 */
async function watched(
  what: string,
  place: Place,
  work: () => Promise<number>,
  budgeted = (): number => 0,
): Promise<WorkFigure> {
  const before = process.memoryUsage.rss();
  const budgetedBefore = budgeted();
  let most = before;
  let budgetedMost = budgetedBefore;
  const look = (): void => {
    most = Math.max(most, process.memoryUsage.rss());
    budgetedMost = Math.max(budgetedMost, budgeted());
  };
  const timer = setInterval(look, lookMs);
  const began = performance.now();
  const cpu = process.cpuUsage();
  const bytes = await work();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - began) / 1000;
  clearInterval(timer);
  look();
  const cpuSeconds = (user + system) / 1e6;
  const grownBytes = most - before;
  const budgetedBytes = budgetedMost - budgetedBefore;
  return { what, storeBytes: place.bytes, bytes, seconds, cpuSeconds, grownBytes, budgetedBytes };
}

/** What the budgets of the engine hold: memtables, caches, filters and indexes of tables. */
function budgetsOf(engine: Engine): number {
  return Object.values(engine.stats().memory).reduce((sum, { used }) => sum + used, 0);
}

async function halfDead(place: Place): Promise<Figure[]> {
  await withStore(place, (engine) => halve(engine, 1), { durability: 'os' });
  return [];
}

async function clean(place: Place): Promise<Figure[]> {
  return await withStore(place, async (engine) => {
    // Code that runs for the first time takes memory of its own, whatever it works on.
    await engine.compact({ maxBytes: warmBytes });
    const compact = async (): Promise<number> => {
      const { copiedBytes, ok } = await engine.compact();
      if (!ok) throw new Error('compact was not ok');
      return copiedBytes;
    };
    const figure = await watched('cleaning, half dead', place, compact, () => budgetsOf(engine));
    return [{ kind: 'work', figure }];
  });
}

/** One put after the other until `isOver`, or as long as `work` takes. */
async function puts(engine: Engine, what: string, isOver: () => boolean): Promise<PutFigure> {
  const prng = new Prng(3);
  const latencies = new Latencies();
  for (let i = 0; !isOver(); i++) {
    const value = prng.bytes(putBytes);
    const began = performance.now();
    await engine.put(`p${i % 10_000}`, value);
    latencies.add(performance.now() - began);
  }
  const { count, maxMs } = latencies;
  return { what, puts: count, p50: latencies.quantile(0.5), p99: latencies.quantile(0.99), worst: maxMs };
}

async function cleanBesidePuts(place: Place): Promise<Figure[]> {
  return await withStore(place, async (engine) => {
    await halve(engine, 2);
    const quiet = async (what: string): Promise<PutFigure> => {
      const until = performance.now() + quietMs;
      return await puts(engine, what, () => performance.now() > until);
    };
    await quiet('warming up');
    const before = await quiet('4 KiB, alone');
    let isOver = false;
    const compacting = engine.compact().finally(() => {
      isOver = true;
    });
    const during = await puts(engine, '4 KiB, beside cleaning', () => isOver);
    await compacting;
    const after = await quiet('4 KiB, alone again');
    return [before, during, after].map((figure) => ({ kind: 'puts' as const, figure }));
  });
}

async function verify(place: Place): Promise<Figure[]> {
  return await withStore(place, async (engine) => {
    const figures: Figure[] = [];
    for (const level of ['chunks', 'full'] as const) {
      const figure = await watched(`verify, level ${level}`, place, async () => {
        const { ok } = await engine.verify({ level });
        if (!ok) throw new Error('the store is not sound');
        return engine.stats().disk.totalBytes;
      });
      figures.push({ kind: 'work', figure });
    }
    return figures;
  });
}

function filesOf(dir: string, ending: string): { path: string; size: number }[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => ({ path: join(dir, name), stat: statSync(join(dir, name)) }))
    .filter(({ stat }) => stat.isFile())
    .map(({ path, stat }) => ({ path, size: stat.size }));
}

/** Three bytes in the middle of a segment, then every table gone. */
async function repairing(place: Place): Promise<Figure[]> {
  const figures: Figure[] = [];
  const run = async (what: string): Promise<void> => {
    const bytes = sizeOf(place.dir);
    const figure = await watched(what, place, async () => {
      const { actions } = await repair(place.dir);
      if (actions.length === 0) throw new Error('nothing was repaired');
      return bytes;
    });
    figures.push({ kind: 'work', figure });
  };
  const { path, size } = filesOf(join(place.dir, 'seg'), '.seg').sort((a, b) => b.size - a.size)[0]!;
  const file = openSync(path, 'r+');
  const three = Buffer.alloc(3);
  readSync(file, three, 0, 3, size >> 1);
  writeSync(
    file,
    three.map((byte) => byte ^ 0xff),
    0,
    3,
    size >> 1,
  );
  closeSync(file);
  await run('repair, three bytes of a segment');
  for (const { path: table } of filesOf(join(place.dir, 'tab'), '.tab')) unlinkSync(table);
  await run('repair, every table gone');
  return figures;
}

const sizeOf = (dir: string): number => filesOf(dir, '').reduce((sum, { size }) => sum + size, 0);

/** Overwrites a random half of 64 MiB and compacts to 1.2, over and over: the directory to its content. */
async function churn({ dir, bytes }: Place): Promise<Figure[]> {
  const rounds = 20;
  const place = { dir: join(dir, 'churn'), bytes };
  const count = (64 * MiB) / valueBytes;
  return await withStore(
    place,
    async (engine) => {
      const prng = new Prng(5);
      for (let i = 0; i < count; i++) await engine.put(keyOf(i), prng.bytes(valueBytes));
      const sizes: number[] = [];
      for (let round = 0; round < rounds; round++) {
        for (let i = 0; i < count; i++)
          if (prng.chance(0.5)) await engine.put(keyOf(i), prng.bytes(valueBytes));
        await engine.compact({ amplification: 1.2 });
        sizes.push(sizeOf(place.dir) / (count * valueBytes));
      }
      const what = `amplification, ${rounds} rounds over a random half of 64 MiB, compacted to 1.2`;
      const figure = { what, first: sizes[0]!, last: sizes.at(-1)!, unit: 'times' };
      return [{ kind: 'trend', figure }];
    },
    { durability: 'os', changesRetention: { bytes: 0 } },
  );
}

/** Values are put at one end and deleted at the other, with cleaning in the background. */
async function queue({ dir, bytes }: Place): Promise<Figure[]> {
  const [items, length] = [100_000, 2000];
  const place = { dir: join(dir, 'queue'), bytes };
  const item = (i: number): string => `q${String(i).padStart(9, '0')}`;
  return await withStore(
    place,
    async (engine) => {
      const prng = new Prng(6);
      const quarters = Array.from({ length: 4 }, () => new Latencies());
      const sizes: number[] = [];
      for (let i = 0; i < items; i++) {
        const value = prng.bytes(putBytes);
        const began = performance.now();
        await engine.put(item(i), value);
        if (i >= length) await engine.delete(item(i - length));
        quarters[Math.floor((4 * i) / items)]!.add(performance.now() - began);
        if ((i + 1) % (items / 4) === 0) sizes.push(sizeOf(place.dir) / MiB);
      }
      const p99 = quarters.map((one) => one.quantile(0.99));
      const what = `queue of ${length} values of 4 KiB, ${items} through it`;
      return [
        { kind: 'trend', figure: { what: `${what}, size`, first: sizes[1]!, last: sizes[3]!, unit: 'MiB' } },
        { kind: 'trend', figure: { what: `${what}, p99`, first: p99[0]!, last: p99[3]!, unit: 'ms' } },
      ];
    },
    { durability: 'os', cleaning: { enabled: true }, changesRetention: { bytes: 0 } },
  );
}

/** In the order in which they are run; a name's store is what the ones before have left. */
export const phases: Readonly<Record<string, (place: Place) => Promise<Figure[]>>> = {
  fill,
  halfDead,
  clean,
  cleanBesidePuts,
  verify,
  repairing,
  churn,
  queue,
};
