/**
 * Small durable puts, and reads of them:
 *
 *     node dist/bench/kv-durable.js [--rounds 5] [--puts 200000] [--json]
 *
 * Values of 100 B under random keys of 20 B into a new store each round, durability 'full': by 64 writers
 * that each wait for their put, and by one. Then gets and getSyncs of random keys from memory. Rounds of the
 * scenarios alternate; syncs per commit show how many commits one fsync serves.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Prng } from '../src/base/prng.ts';
import { type Engine, openEngine } from '../src/index.ts';
import { report, show, spreadOf } from './tools/rounds.ts';

const valueBytes = 100;

interface Round {
  readonly puts64: number;
  readonly syncs64: number;
  readonly puts1: number;
  readonly syncs1: number;
  readonly gets: number;
  readonly getSyncs: number;
}

const keyOf = (n: number): string => `k${Math.imul(n + 1, 0x9e3779b1) >>> 0}`.padEnd(20, '.');

/** Puts per second and syncs of the log per put. */
async function write(engine: Engine, writers: number, puts: number, from: number): Promise<[number, number]> {
  const value = new Prng(puts).bytes(valueBytes);
  const before = engine.stats().commits.syncs;
  let next = from;
  const one = async (): Promise<void> => {
    while (next < from + puts) await engine.put(keyOf(next++), value);
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: writers }, one));
  const seconds = (performance.now() - began) / 1000;
  return [puts / seconds, (engine.stats().commits.syncs - before) / puts];
}

async function measure(puts: number): Promise<Round> {
  const dir = mkdtempSync(join(tmpdir(), 'varve-kv-'));
  try {
    const engine = await openEngine(dir);
    const [puts64, syncs64] = await write(engine, 64, puts, 0);
    const few = Math.max(1000, Math.floor(puts / 100));
    const [puts1, syncs1] = await write(engine, 1, few, puts);
    const prng = new Prng(7);
    const reads = Math.floor(puts / 2);
    let began = performance.now();
    for (let i = 0; i < reads; i++) await engine.get(keyOf(prng.below(puts)));
    const gets = (reads / (performance.now() - began)) * 1000;
    began = performance.now();
    for (let i = 0; i < reads; i++) engine.getSync(keyOf(prng.below(puts)));
    const getSyncs = (reads / (performance.now() - began)) * 1000;
    await engine.close();
    return { puts64, syncs64, puts1, syncs1, gets, getSyncs };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      puts: { type: 'string', default: '200000' },
      json: { type: 'boolean', default: false },
    },
  });
  const puts = Number(values.puts);
  await measure(Math.min(puts, 20_000));
  const rounds: Round[] = [];
  for (let round = 0; round < Number(values.rounds); round++) rounds.push(await measure(puts));
  const of = (name: keyof Round) => spreadOf(rounds.map((round) => round[name]));
  report(
    values.json,
    { puts, ...Object.fromEntries(Object.keys(rounds[0]!).map((name) => [name, of(name as keyof Round)])) },
    [
      `64 writers: ${show(of('puts64'))} puts/s, ${show(of('syncs64'), 4)} syncs per put`,
      `1 writer: ${show(of('puts1'))} puts/s, ${show(of('syncs1'), 4)} syncs per put`,
      `get: ${show(of('gets'))} /s, getSync: ${show(of('getSyncs'))} /s`,
    ],
  );
}

await main();
