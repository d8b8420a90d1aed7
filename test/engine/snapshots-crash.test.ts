import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { smallOptions, TestClock, text } from './engine-kit.ts';

const bounds = {
  segmentBytes: 8 * 1024,
  compaction: { level0Tables: 2, tableBytes: 400, level1Bytes: 800, levelRatio: 2, tombstonesMin: 1 },
  flushMerges: true,
};

function open(disk: MemoryFileSystem, clock: TestClock, seed: number) {
  const prng = new Prng(seed);
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
  return openWithEnv(env, smallOptions, bounds);
}

/** What was acknowledged when the power went. */
interface Promised {
  readonly kept: ReadonlyMap<string, string>;
  /** Names whose making or deletion was under way. */
  readonly open: ReadonlySet<string>;
}

test('a snapshot acknowledged is there after a crash at any operation', async () => {
  const disk = new MemoryFileSystem();
  const clock = new TestClock();
  const engine = await open(disk, clock, 1);
  const kept = new Map<string, string>();
  const under = new Set<string>();
  const points: { disk: MemoryFileSystem; promised: Promised }[] = [];
  const prng = new Prng(5);
  let ops = 0;
  disk.faults = () => {
    if (++ops % 7 !== 0) return undefined;
    const mode = prng.pick(['none', 'all', 'mixed'] as const);
    const left = mode === 'mixed' ? disk.crash(new Prng(ops)) : disk.crash(mode);
    points.push({ disk: left, promised: { kept: new Map(kept), open: new Set(under) } });
    return undefined;
  };
  let value = '';
  for (let i = 0; i < 14; i++) {
    value = `${i}`.repeat(i % 3 === 0 ? 200 : 10);
    await engine.put('k', value);
    const name = `n${i}`;
    under.add(name);
    await engine.snapshots.create(name);
    under.delete(name);
    kept.set(name, value);
    if (i % 4 === 3) await engine.flush();
    if (i % 3 !== 2) continue;
    const old = `n${i - 2}`;
    under.add(old);
    kept.delete(old);
    await engine.snapshots.delete(old);
    under.delete(old);
  }
  disk.faults = undefined;
  await engine.close();
  expect(points.length).toBeGreaterThan(20);
  for (const [i, { disk: left, promised }] of points.entries()) {
    const again = await open(left, clock, 100 + i);
    // A torn slot of SUPER is told of.
    expect(again.health().readOnly).toBe(false);
    const found = new Set(again.snapshots.list().map(({ name }) => name));
    for (const [name, was] of promised.kept) {
      expect(text(await again.get('k', { at: { snapshot: name } }))).toBe(was);
    }
    for (const name of found) expect(promised.kept.has(name) || promised.open.has(name)).toBe(true);
    // One that was being deleted is whole as long as it is there.
    for (const name of promised.open) if (found.has(name)) await again.get('k', { at: { snapshot: name } });
    await again.close();
  }
});
