import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import type { FsOp } from '../../src/fs/sim-machine.ts';
import { simulatedClock } from '../crash/machine.ts';
import { smallOptions, text } from './engine-kit.ts';

const compaction = {
  level0Tables: 2,
  tableBytes: 1024,
  level1Bytes: 2048,
  levelRatio: 2,
  tombstonesMin: 4,
};

function open(disk: MemoryFileSystem, seed: number): Promise<Engine> {
  const clock = simulatedClock();
  const prng = new Prng(seed);
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
  const bounds = { segmentBytes: 16 * 1024, compaction, flushMerges: true };
  return openWithEnv(env, { ...smallOptions, inlineMax: 100 }, bounds);
}

async function write(
  engine: Engine,
  model: Map<string, string>,
  prng: Prng,
  calls: number,
  keys = 60,
): Promise<void> {
  for (let i = 0; i < calls; i++) {
    const key = `key${prng.below(keys)}`;
    if (prng.chance(0.3)) {
      await engine.delete(key);
      model.delete(key);
    } else {
      const value = `${prng.below(1e9)}`.padEnd(prng.chance(0.2) ? 300 : 40, '.');
      await engine.put(key, value);
      model.set(key, value);
    }
  }
}

/** What is wrong with the store, or undefined. */
async function wrong(engine: Engine, model: ReadonlyMap<string, string>): Promise<string | undefined> {
  const { status, damage } = engine.health();
  if (status === 'degraded') return JSON.stringify(damage);
  const found = new Map<string, string>();
  for await (const { key, value } of engine.scan({})) found.set(key as string, text(value as Uint8Array)!);
  for (const [key, value] of model) {
    if (found.get(key) !== value) return `${key}: ${found.get(key)} instead of ${value}`;
    if (text(await engine.get(key)) !== value) return `${key} is not found`;
  }
  return found.size === model.size ? undefined : `${found.size} keys instead of ${model.size}`;
}

interface Point {
  readonly disk: MemoryFileSystem;
  readonly op: FsOp;
  readonly model: ReadonlyMap<string, string>;
}

/** Disks as a power cut leaves them at operations of flushes and the merges after them. */
async function points(seed: number, every: number): Promise<{ points: Point[]; merges: number }> {
  const disk = new MemoryFileSystem();
  const prng = new Prng(seed);
  const model = new Map<string, string>();
  const found: Point[] = [];
  const engine = await open(disk, seed);
  let merges = 0;
  for (let round = 0; round < 4; round++) {
    await write(engine, model, prng, 25);
    const now = new Map(model);
    let ops = seed;
    disk.faults = (op) => {
      if (!engine.stats().compaction.running || ++ops % every !== 0) return undefined;
      const mode = prng.pick(['none', 'all', 'mixed'] as const);
      found.push({ disk: mode === 'mixed' ? disk.crash(new Prng(ops)) : disk.crash(mode), op, model: now });
      return undefined;
    };
    await engine.flush();
    disk.faults = undefined;
    merges = engine.stats().compaction.merges;
  }
  await engine.close();
  return { points: found, merges };
}

const seeds = Number(process.env.VARVE_COUNT ?? 2);
const isShort = process.env.VARVE_COUNT === undefined;
const every = isShort ? 25 : 1;
const everyFault = isShort ? 20 : 1;
const firstSeed = Number(process.env.VARVE_SEED ?? 1);

describe('crashes of merges', () => {
  test('a crash at any operation of a merge loses nothing', async () => {
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      const run = await points(seed, every);
      expect(run.merges).toBeGreaterThan(1);
      for (const [i, { disk, op, model }] of run.points.entries()) {
        const where = `seed ${seed}, before ${op.kind} of ${op.path}`;
        const engine = await open(disk, seed + 1000);
        expect(await wrong(engine, model), where).toBe(undefined);
        if (i % 3 !== 0) continue;
        const after = new Map(model);
        await write(engine, after, new Prng(i), 10);
        await engine.flush();
        expect(await wrong(engine, after), where).toBe(undefined);
        await engine.close();
        const again = await open(disk, seed + 2000);
        expect(await wrong(again, after), where).toBe(undefined);
        await again.close();
      }
    }
  }, 600_000);

  test('an error at any operation of a merge loses nothing', async () => {
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      for (let at = seed % everyFault; at < 60; at += everyFault) {
        const disk = new MemoryFileSystem();
        const prng = new Prng(seed);
        const model = new Map<string, string>();
        const engine = await open(disk, seed);
        for (let round = 0; round < 2; round++) {
          await write(engine, model, prng, 25);
          let ops = 0;
          disk.faults = (op) => {
            if (!engine.stats().compaction.running || op.kind === 'stat' || op.kind === 'close')
              return undefined;
            return ops++ === at ? { errno: seed % 2 === 0 ? 'EIO' : 'ENOSPC' } : undefined;
          };
          await engine.flush();
          disk.faults = undefined;
          if (engine.stats().compaction.failures > 0) break;
        }
        // A failed install ends writing; reads go on, and the next open has everything.
        for (const [key, value] of model) expect(text(await engine.get(key))).toBe(value);
        await engine.close().catch(() => undefined);
        const again = await open(disk, seed + 1);
        expect(await wrong(again, model), `seed ${seed}, operation ${at}`).toBe(undefined);
        await again.close();
      }
    }
  }, 600_000);
});
