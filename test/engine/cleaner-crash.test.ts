import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsOp } from '../../src/fs/sim-machine.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { abandon, openParts } from './cleaner-kit.ts';

const isShort = process.env.VARVE_COUNT === undefined;
const every = isShort ? 25 : 1;
const seed = Number(process.env.VARVE_SEED ?? 1);
const keys = 14;

/** A store with garbage of every kind, and what it holds. */
async function prepared(): Promise<{ disk: MemoryFileSystem; model: Map<string, string> }> {
  const disk = new MemoryFileSystem();
  const { engine } = await openParts(disk, { segmentBytes: 8 * 1024 });
  const model = new Map<string, string>();
  const prng = new Prng(seed);
  for (let i = 0; i < 30; i++) await write(engine, model, prng);
  await abandon(engine, 0, 3, 5000);
  await engine.flush();
  for (let i = 0; i < 8; i++) await write(engine, model, prng);
  await engine.close();
  return { disk, model };
}

async function write(engine: Engine, model: Map<string, string>, prng: Prng): Promise<void> {
  const key = `k${prng.below(keys)}`;
  if (prng.chance(0.25)) {
    await engine.delete(key);
    model.delete(key);
    return;
  }
  const value = prng.bytes(100 + prng.below(4000));
  await engine.put(key, value);
  model.set(key, Buffer.from(value).toString('hex'));
}

/** What is wrong with the answers, or undefined. */
async function wrong(engine: Engine, model: ReadonlyMap<string, string>): Promise<string | undefined> {
  const { status, damage } = engine.health();
  if (status === 'degraded') return JSON.stringify(damage);
  for (let i = 0; i < keys; i++) {
    const value = await engine.get(`k${i}`);
    const found = value === undefined ? undefined : Buffer.from(value).toString('hex');
    if (found !== model.get(`k${i}`)) return `k${i} differs`;
  }
  return undefined;
}

async function checked(
  disk: MemoryFileSystem,
  model: ReadonlyMap<string, string>,
  where: string,
): Promise<void> {
  const { engine } = await openParts(disk, { segmentBytes: 8 * 1024 });
  expect(await wrong(engine, model), where).toBe(undefined);
  expect((await engine.compact()).damage, where).toEqual([]);
  expect(await wrong(engine, model), where).toBe(undefined);
  await engine.close();
  expect((await auditDisk(disk)).problems, where).toEqual([]);
  expect(await strayFiles(disk), where).toEqual([]);
}

describe('crashes of a compaction', () => {
  test('a crash at any operation of a compaction loses nothing', async () => {
    const { disk, model } = await prepared();
    const { engine } = await openParts(disk, { segmentBytes: 8 * 1024 });
    const points: { disk: MemoryFileSystem; op: FsOp }[] = [];
    let ops = seed % every;
    const prng = new Prng(seed);
    disk.faults = (op) => {
      if (++ops % every !== 0) return undefined;
      const mode = prng.pick(['none', 'all', 'mixed'] as const);
      points.push({ disk: mode === 'mixed' ? disk.crash(new Prng(ops)) : disk.crash(mode), op });
      return undefined;
    };
    const report = await engine.compact();
    disk.faults = undefined;
    expect(report.ok).toBe(true);
    expect(report.copiedBytes).toBeGreaterThan(0);
    await engine.close();
    expect(points.length).toBeGreaterThan(10);
    for (const point of points)
      await checked(point.disk, model, `before ${point.op.kind} of ${point.op.path}`);
  }, 600_000);

  test('an error at any operation of a compaction loses nothing', async () => {
    const base = await prepared();
    let failed = 0;
    for (let at = seed % every; ; at += every) {
      const disk = base.disk.fork();
      const { engine } = await openParts(disk, { segmentBytes: 8 * 1024 });
      let ops = 0;
      disk.faults = (op) => {
        if (op.kind === 'stat' || op.kind === 'close' || op.kind === 'free') return undefined;
        return ops++ === at ? { errno: at % 2 === 0 ? 'EIO' : 'ENOSPC' } : undefined;
      };
      const outcome = await engine.compact().then(
        () => 'done',
        () => 'failed',
      );
      disk.faults = undefined;
      if (outcome === 'failed') failed++;
      expect((await wrong(engine, base.model)) ?? '', `operation ${at}`).not.toMatch(/differs/);
      await engine.close().catch(() => undefined);
      // A read that failed once leaves its mark in health, and not on the disk.
      await checked(disk, base.model, `operation ${at}`);
      if (ops <= at) break;
    }
    expect(failed).toBeGreaterThan(2);
  }, 600_000);
});

describe('random histories', () => {
  test('puts, deletes, compactions and crashes equal a map, with exact counts and no file over', async () => {
    for (let n = seed; n < seed + (isShort ? 3 : 60); n++) {
      const prng = new Prng(n);
      let disk = new MemoryFileSystem();
      let { engine } = await openParts(disk, { segmentBytes: 8 * 1024 });
      const model = new Map<string, string>();
      for (let step = 0; step < 40; step++) {
        const dice = prng.below(20);
        if (dice < 12) await write(engine, model, prng);
        else if (dice < 14) await abandon(engine, step, 1, 3000);
        else if (dice < 16) await engine.flush();
        else if (dice < 18) await engine.compact();
        else {
          if (dice === 18) await engine.close();
          else disk = disk.crash('all');
          ({ engine } = await openParts(disk, { segmentBytes: 8 * 1024 }));
        }
        expect(await wrong(engine, model), `seed ${n}, step ${step}`).toBe(undefined);
      }
      await engine.close();
      await checked(disk, model, `seed ${n}`);
    }
  }, 600_000);
});
