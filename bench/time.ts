/**
 * What the past and indexes cost:
 *
 *     npm run bench:time -- [--keys 1000000] [--puts 100000] [--dir <directory>] [--json]
 *
 * Puts: CPU time of `--puts` puts to stores that differ in one thing, interleaved in slices, as ratios to the
 * plain one, so that what else the machine does falls on all of them. The plain one has the bookkeeping of
 * versions, indexes, quotas and expiry too, with nothing defined: a profile of its puts says what part of
 * them that is. Snapshots and diffs: in a store of
 * `--keys` keys, flushed and compacted; a snapshot beside an ordinary commit, and the diff of two snapshots
 * 1,000 changes apart. Durability is 'os': no sync is waited for.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '../src/base/prng.ts';
import { type BatchOperation, type Engine, openEngine } from '../src/index.ts';
import { countOf, optionsOf } from './tools/command-line.ts';
import { type CpuShares, cpuShares } from './tools/cpu-share.ts';

const slicePuts = 2000;
const changes = 1000;
const batchKeys = 1000;

/** Stores that puts are timed in; the first one is what the others are compared with. */
const kinds: Readonly<Record<string, (engine: Engine) => Promise<unknown>>> = {
  plain: async () => undefined,
  'history 10 versions': (engine) => engine.setPolicy({ history: { versions: 10 } }),
  'retention daily 7': (engine) => engine.setPolicy({ retention: { daily: 7 } }),
  quota: (engine) => engine.setPolicy({ quotaBytes: 2 ** 40 }),
  'one index': (engine) => engine.indexes.define({ name: 'n', kind: 'range', on: { metadata: 'n' } }),
  'two indexes': async (engine) => {
    await engine.indexes.define({ name: 'n', kind: 'range', on: { metadata: 'n' } });
    await engine.indexes.define({ name: 's', kind: 'range', on: { metadata: 's' } });
  },
  'one unique index': (engine) =>
    engine.indexes.define({ name: 'u', kind: 'hash', unique: true, on: { metadata: 'n' } }),
};

const open = (dir: string): Promise<Engine> =>
  openEngine(dir, { durability: 'os', cleaning: { enabled: false } });
const keyOf = (i: number): string => `key/${String(i).padStart(9, '0')}`;

/** Microseconds of CPU for each put, by kind. */
async function timePuts(dir: string, puts: number): Promise<Map<string, number>> {
  const engines = new Map<string, Engine>();
  const spent = new Map<string, number>();
  for (const [kind, prepare] of Object.entries(kinds)) {
    const engine = await open(join(dir, kind.replaceAll(' ', '-')));
    await prepare(engine);
    engines.set(kind, engine);
    spent.set(kind, 0);
  }
  const value = new Prng(1).bytes(100);
  // Two slices more than counted: code is compiled in them. Who begins changes from slice to slice.
  for (let from = -2 * slicePuts; from < puts; from += slicePuts) {
    const turn = (from / slicePuts + 2) % engines.size;
    const order = Array.from(engines);
    for (const [kind, engine] of [...order.slice(turn), ...order.slice(0, turn)]) {
      const began = process.cpuUsage();
      await putSlice(engine, value, from, Math.min(puts, from + slicePuts));
      const { user, system } = process.cpuUsage(began);
      if (from >= 0) spent.set(kind, spent.get(kind)! + user + system);
    }
  }
  for (const engine of engines.values()) await engine.close();
  return new Map(Array.from(spent, ([kind, us]) => [kind, us / puts]));
}

async function putSlice(engine: Engine, value: Uint8Array, from: number, to: number): Promise<void> {
  const all: Promise<unknown>[] = [];
  for (let i = from; i < to; i++) {
    // Keys in no order, every fourth one over an older version.
    const number = i + 2 * slicePuts;
    const key = keyOf((i % 4 === 3 ? number - 3 : number) * 7919);
    all.push(engine.put(key, value, { metadata: { n: number, s: `s${i % 1000}` } }));
  }
  await Promise.all(all);
}

/** Code that a store without versions, indexes, quotas and expiry would not have, by the file it is in. */
const bookkeeping: readonly (readonly [string, RegExp])[] = [
  ['indexes', /\/secondary\/|\/txn\/row-indexer/],
  ['versions', /\/(txn\/version-ends|tree\/(history-rows|keep-rule)|engine\/(history|purging)\/)/],
  ['quotas, rules, expiry', /\/(txn\/space-use|tree\/space-rules|format\/expiry|engine\/spaces\/)/],
  ['transactions under way', /\/txn\/(commit-watch|validator|claims)/],
];

/** What part of the CPU time of puts is bookkeeping with nothing defined, by kind. */
async function bookkeepingOf(dir: string, puts: number): Promise<CpuShares> {
  const engine = await open(dir);
  const value = new Prng(1).bytes(100);
  await putSlice(engine, value, -2 * slicePuts, 0);
  const found = await cpuShares(
    (file) => bookkeeping.find(([, pattern]) => pattern.test(file))?.[0],
    async () => {
      for (let from = 0; from < puts; from += slicePuts)
        await putSlice(engine, value, from, Math.min(puts, from + slicePuts));
    },
  );
  await engine.close();
  return found;
}

async function medianMs(times: number, call: () => Promise<unknown>): Promise<number> {
  const all: number[] = [];
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await call();
    all.push(performance.now() - began);
  }
  return all.sort((a, b) => a - b)[times >> 1]!;
}

interface PastFigures {
  readonly loadSeconds: number;
  readonly commitMs: number;
  readonly snapshotMs: number;
  readonly diffMs: number;
  readonly versionsMs: number;
}

/** Snapshots and diffs in a store of that many keys. */
async function timePast(dir: string, keys: number): Promise<PastFigures> {
  const engine = await open(dir);
  const began = performance.now();
  const value = new Prng(2).bytes(100);
  for (let from = 0; from < keys; from += batchKeys) {
    const puts: BatchOperation[] = [];
    for (let i = from; i < Math.min(keys, from + batchKeys); i++)
      puts.push({ type: 'put', key: keyOf(i), value });
    await engine.batch(puts);
  }
  await engine.flush();
  await engine.compact();
  const loadSeconds = (performance.now() - began) / 1000;
  const commitMs = await medianMs(51, () => engine.put('one', 'x'));
  let made = 0;
  const snapshotMs = await medianMs(51, () => engine.snapshots.create(`n${made++}`));
  for (let i = 0; i < made; i++) await engine.snapshots.delete(`n${i}`);
  await engine.snapshots.create('before');
  for (let i = 0; i < changes; i++) await engine.put(keyOf(Math.floor((i * keys) / changes)), `changed ${i}`);
  await engine.snapshots.create('after');
  await engine.compact();
  const diffMs = await medianMs(5, async () => {
    let count = 0;
    for await (const _ of engine.diff({ snapshot: 'before' }, { snapshot: 'after' })) count++;
    if (count !== changes) throw new Error(`the diff has ${count} keys, ${changes} were changed`);
  });
  const versionsMs = await medianMs(101, async () => {
    for await (const _ of engine.versions(keyOf(0)));
  });
  await engine.close();
  return { loadSeconds, commitMs, snapshotMs, diffMs, versionsMs };
}

const usage = `What the past and indexes cost.

  --keys N         keys of the store that snapshots and diffs are made of (1000000)
  --puts N         puts to each store (100000)
  --dir DIRECTORY  where the stores are made
  --json           one line of JSON
  --help           this text`;

async function main(): Promise<void> {
  const { keys, puts, parent, json } = optionsOf(
    usage,
    {
      keys: { type: 'string', default: '1000000' },
      puts: { type: 'string', default: '100000' },
      dir: { type: 'string', default: tmpdir() },
      json: { type: 'boolean', default: false },
    },
    (values) => ({
      keys: countOf('keys', values.keys),
      puts: countOf('puts', values.puts),
      parent: values.dir,
      json: values.json,
    }),
  );
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, 'varve-time-'));
  try {
    const spent = await timePuts(join(dir, 'puts'), puts);
    const { samples, shares } = await bookkeepingOf(join(dir, 'profile'), puts);
    const past = await timePast(join(dir, 'past'), keys);
    if (json) {
      const bookkeepingShares = Object.fromEntries(shares);
      const figures = { keys, puts, microsecondsPerPut: Object.fromEntries(spent), bookkeepingShares };
      console.log(JSON.stringify({ ...figures, ...past }));
      return;
    }
    const plain = spent.get('plain')!;
    console.log(`${puts} puts of 100 bytes, CPU time`);
    for (const [kind, us] of spent) {
      console.log(`  ${kind.padEnd(22)} ${us.toFixed(1).padStart(7)} us  ${(us / plain).toFixed(2)}`);
    }
    const percent = (share: number): string => `${(share * 100).toFixed(1).padStart(5)} %`;
    const all = [...shares.values()].reduce((sum, share) => sum + share, 0);
    console.log(`bookkeeping in a plain put  ${percent(all)} of its CPU time (${samples} samples)`);
    for (const [kind, share] of shares) console.log(`  ${kind.padEnd(26)}${percent(share)}`);
    const { loadSeconds, commitMs, snapshotMs, diffMs, versionsMs } = past;
    console.log(`${keys} keys, loaded and compacted in ${loadSeconds.toFixed(1)} s`);
    console.log(`  a commit               ${commitMs.toFixed(2)} ms`);
    console.log(`  a snapshot             ${snapshotMs.toFixed(2)} ms`);
    console.log(`  diff, ${changes} changes    ${diffMs.toFixed(1)} ms`);
    console.log(`  versions of a key      ${versionsMs.toFixed(2)} ms`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

await main();
