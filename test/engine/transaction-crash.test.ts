/** Power cuts while transactions, counters and a change feed are at work. */
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Change } from '../../src/engine/feed/change-types.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { simulatedClock } from '../crash/machine.ts';
import { bytesOf, smallOptions, text, turn } from './engine-kit.ts';

function open(disk: MemoryFileSystem, seed: number): Promise<Engine> {
  const clock = simulatedClock();
  const prng = new Prng(seed);
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
  return openWithEnv(
    env,
    { ...smallOptions, memory: { memtableBytes: 64 * 1024 } },
    { segmentBytes: 16 * 1024 },
  );
}

interface Image {
  readonly disk: MemoryFileSystem;
  readonly where: string;
  /** What had been acknowledged, and shown by the feed, when the power was cut. */
  readonly counter: number;
  readonly ids: number;
  readonly shown: number;
}

const lineOf = (change: Change): string =>
  change.type === 'deleteRange'
    ? `${change.seq} ${JSON.stringify(change.range)}`
    : `${change.seq} ${change.type} ${change.key} ${change.type === 'put' ? change.digest : ''}`;

async function history(engine: Engine): Promise<Change[]> {
  const all: Change[] = [];
  for await (const change of engine.changes({ since: 0, live: false })) all.push(change);
  return all;
}

/** The store as the feed tells it: key to digest. */
function replayed(changes: readonly Change[]): Map<string, string> {
  const keys = new Map<string, string>();
  for (const change of changes) {
    if (change.type === 'put') keys.set(change.key, change.digest);
    else if (change.type === 'delete') keys.delete(change.key);
    else for (const key of [...keys.keys()]) if (key >= change.range.gte!) keys.delete(key);
  }
  return keys;
}

test('transactions are whole, counters exact and feeds without a gap after a power cut', async () => {
  const disk = new MemoryFileSystem();
  const engine = await open(disk, 1);
  const images: Image[] = [];
  const feed = engine.changes({ since: 0 });
  const shown: string[] = [];
  const reading = (async () => {
    for await (const change of feed) shown.push(lineOf(change));
  })();
  let counter = 0;
  let ids = 0;
  let ops = 0;
  disk.faults = () => {
    ops++;
    if (ops % 4 !== 0) return undefined;
    const mode = (['none', 'all', 'mixed'] as const)[ops % 3]!;
    const image = mode === 'mixed' ? disk.crash(new Prng(ops)) : disk.crash(mode);
    images.push({ disk: image, where: `operation ${ops}, ${mode}`, counter, ids, shown: shown.length });
    return undefined;
  };
  for (let i = 0; i < 6; i++) {
    await engine.transaction(async (tx) => {
      const value = bytesOf(i, i % 2 === 0 ? 20 : 3000);
      await tx.put('left', value);
      await tx.put('right', value);
      if (i % 3 === 2) await tx.deleteRange({ gte: 'x' });
      else await tx.put(`x${i}`, value);
    });
    await Promise.all([1, 2, 3].map(() => engine.increment('n')));
    counter += 3;
    ids = await engine.sequence('ids', { cache: 2 });
    if (i === 2) await engine.flush();
    if (i === 4) await engine.deleteRange({ gte: 'x' });
  }
  for (let i = 0; i < 5; i++) await turn();
  await engine.close();
  await reading;
  disk.faults = undefined;
  expect(images.length).toBeGreaterThan(25);
  for (const [i, image] of images.entries()) {
    const again = await open(image.disk, 100 + i);
    const { where } = image;
    const [left, right] = [await again.stat('left'), await again.stat('right')];
    expect([left?.digest, left?.seq], where).toEqual([right?.digest, right?.seq]);
    expect(Number(text(await again.get('n')) ?? 0), where).toBeGreaterThanOrEqual(image.counter);
    expect(await again.sequence('ids'), where).toBeGreaterThan(image.ids);
    const changes = await history(again);
    const found = new Map<string, string>();
    for await (const { key, stat } of again.scan({ stats: true })) found.set(key, stat!.digest);
    expect(replayed(changes), where).toEqual(found);
    // What the feed had shown is what happened.
    expect(changes.slice(0, image.shown).map(lineOf), where).toEqual(shown.slice(0, image.shown));
    await again.close();
  }
}, 60_000);
