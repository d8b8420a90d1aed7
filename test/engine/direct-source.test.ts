import { describe, expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Env } from '../../src/engine/env.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { DirectSource } from '../../src/value/direct-source.ts';
import { FakePool } from '../pool/fake-pool.ts';
import { bytesOf, codeOf, same, smallChunks, TestClock, turn } from './engine-kit.ts';

async function open(pool: FakePool | undefined): Promise<Engine> {
  const disk = new MemoryFileSystem();
  const clock = new TestClock();
  const prng = new Prng(1);
  const env: Env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n) => prng.bytes(n) };
  const given = pool === undefined ? env : { ...env, pool: { cores: 2, open: () => pool } };
  const options = { chunking: smallChunks, inlineMax: 100 };
  const bounds = { threads: { bytesMin: 1000, bufferBytes: 20_000, buffers: 4 } };
  const engine = await openWithEnv(given, options, bounds);
  onTestFinished(() => engine.close());
  return engine;
}

/** `size` is what the source says, which may not be so. */
function sourceOf(value: Uint8Array, prng: Prng, size = value.length, failsAt = Infinity): DirectSource {
  let at = 0;
  return new DirectSource(size, async (into) => {
    if (prng.chance(0.5)) await turn();
    if (at >= failsAt) throw new Error('unreadable');
    const got = Math.min(into.length, value.length - at, 1 + prng.below(9000));
    into.set(value.subarray(at, at + got));
    at += got;
    return got;
  });
}

describe.each(['here', 'threads'])('values read into place (%s)', (where) => {
  const poolOf = (seed: number): FakePool | undefined =>
    where === 'here' ? undefined : new FakePool(2, new Prng(seed), { dies: 10 });

  test('are stored as those that are given', async () => {
    const engine = await open(poolOf(1));
    const plain = await open(undefined);
    const prng = new Prng(5);
    for (const length of [0, 1, 100, 101, 999, 5000, 20_000, 20_001, 150_000]) {
      const value = bytesOf(length, length);
      for (const size of [length, 0, 200_000]) {
        const put = await engine.put('k', sourceOf(value, prng, size), { sha256: true });
        const given = await plain.put('k', value, { sha256: true });
        // A source that says it is long has chunks, however short it is.
        const isSame = length > 100 || size <= 100;
        if (isSame)
          expect([length, size, put.digest, put.chunks]).toEqual([length, size, given.digest, given.chunks]);
        expect(same(await engine.get('k'), value)).toBe(true);
        const [ours, theirs] = [await engine.stat('k'), await plain.stat('k')];
        expect([ours?.size, ours?.sha256]).toEqual([length, theirs?.sha256]);
      }
    }
  });

  test('that cannot be read to their end are not stored', async () => {
    const engine = await open(poolOf(2));
    const source = sourceOf(bytesOf(1, 100_000), new Prng(1), 100_000, 60_000);
    await expect(engine.put('k', source)).rejects.toThrow('unreadable');
    expect(await engine.has('k')).toBe(false);
    const stop = new AbortController();
    const value = bytesOf(2, 100_000);
    let reads = 0;
    const aborted = new DirectSource(value.length, async (into) => {
      if (++reads === 2) stop.abort();
      into.fill(7);
      return into.length;
    });
    expect(await codeOf(engine.put('k', aborted, { signal: stop.signal }))).toBe('VARVE_ABORTED');
    expect(await engine.has('k')).toBe(false);
    await engine.put('k', sourceOf(value, new Prng(3)));
    expect(same(await engine.get('k'), value)).toBe(true);
  });
});
