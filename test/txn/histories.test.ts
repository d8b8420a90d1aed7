import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { OpenBounds } from '../../src/engine/open-bounds.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { smallOptions, TestClock } from '../engine/engine-kit.ts';
import { historiesMs, historySeeds } from '../engine/histories.ts';
import { cycle, type Observed, snapshotFaults, type Version } from './history-checker.ts';
import { makeHistory } from './history-maker.ts';

async function open(seed: number, bounds: OpenBounds = {}): Promise<Engine> {
  const prng = new Prng(seed);
  const fs = new MemoryFileSystem();
  const clock = new TestClock();
  const env = { fs, lock: memoryLock(fs, clock), clock, random: (n: number) => prng.bytes(n) };
  const memory = { ...smallOptions.memory!, blockCacheBytes: 0 };
  return await openWithEnv(env, { ...smallOptions, memory }, bounds);
}

const serializable = { isolation: 'serializable' } as const;

/** Faults of the histories of some seeds, as the checkers see them. */
async function faultsOf(
  seeds: readonly number[],
  weakened?: OpenBounds['weakenedValidation'],
): Promise<string[]> {
  const faults: string[] = [];
  for (const seed of seeds) {
    const engine = await open(seed, weakened === undefined ? {} : { weakenedValidation: weakened });
    const { observed, versions } = await makeHistory(engine, seed, serializable);
    const circle = cycle(observed, versions);
    if (circle !== undefined) faults.push(`seed ${seed}: ${circle.join(' ')}`);
    faults.push(...snapshotFaults(observed, versions).map((fault) => `seed ${seed}: ${fault}`));
    await engine.close();
    if (weakened !== undefined && faults.length > 0) break;
  }
  return faults;
}

const firstSeeds = Array.from({ length: 60 }, (_, i) => i + 1);

describe('histories', () => {
  test(
    'under snapshot isolation reads are those of one moment and no update is lost',
    async () => {
      let conflicts = 0;
      let committed = 0;
      for (const seed of historySeeds(10)) {
        const engine = await open(seed);
        const history = await makeHistory(engine, seed, {});
        expect(snapshotFaults(history.observed, history.versions)).toEqual([]);
        conflicts += history.conflicts;
        committed += history.observed.length;
        await engine.close();
      }
      expect(conflicts).toBeGreaterThan(10);
      expect(committed).toBeGreaterThan(80);
    },
    historiesMs(30_000),
  );

  test(
    'histories of serializable transactions have no cycle',
    async () => {
      expect(await faultsOf(historySeeds(10))).toEqual([]);
    },
    historiesMs(30_000),
  );

  test.each(['in flight ignored', 'no second look', 'ranges ignored'] as const)(
    'the checkers notice a validation with %s',
    async (weakened) => {
      expect((await faultsOf(firstSeeds, weakened)).length).toBeGreaterThan(0);
    },
    30_000,
  );
});

describe('the checkers', () => {
  const version = (seq: number, writer: number, value?: string): Version => ({ seq, writer, value });
  const seen = (id: number, view: number, reads: [string, string | undefined][], seq?: number): Observed => ({
    id,
    view,
    reads: new Map(reads),
    seq,
  });

  test('a stale read, a lost update and a write skew are each found', () => {
    const versions = new Map([['a', [version(1, -1, 'x'), version(5, 1, 'y'), version(6, 2, 'z')]]]);
    expect(snapshotFaults([seen(2, 5, [['a', 'x']], 6)], versions)).toHaveLength(1);
    expect(snapshotFaults([seen(2, 1, [['a', 'x']], 6)], versions)).toHaveLength(1);
    expect(snapshotFaults([seen(2, 5, [['a', 'y']], 6)], versions)).toEqual([]);
    const skewed = new Map([
      ['a', [version(1, -1, '1'), version(5, 1, '0')]],
      ['b', [version(1, -1, '1'), version(6, 2, '0')]],
    ]);
    const both = [seen(1, 1, [['b', '1']], 5), seen(2, 1, [['a', '1']], 6)];
    expect(snapshotFaults(both, skewed)).toEqual([]);
    expect(cycle(both, skewed)?.sort()).toEqual([1, 2]);
    expect(cycle([both[0]!, seen(2, 5, [['a', '0']], 6)], skewed)).toBeUndefined();
  });
});
