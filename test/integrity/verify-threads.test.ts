import { expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { writeChecksum } from '../../src/codec/checksum.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Env } from '../../src/engine/env.ts';
import { repairWithEnv } from '../../src/engine/health/repairing.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { ChunkFrame, checkChunkFrame, chunkFrame } from '../../src/format/chunk-frame.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import type { VerifyReport } from '../../src/integrity/verify-types.ts';
import { bytesOf, smallChunks, TestClock } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';

function envWith(disk: MemoryFileSystem, pool: FakePool | undefined): Env {
  const clock = new TestClock();
  const prng = new Prng(1);
  const env: Env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n) => prng.bytes(n) };
  return pool === undefined ? env : { ...env, pool: { cores: 2, open: () => pool } };
}

async function open(disk: MemoryFileSystem, pool: FakePool | undefined): Promise<Engine> {
  const given = envWith(disk, pool);
  const options = { chunking: smallChunks };
  const threads = { bytesMin: 1, bufferBytes: 20_000, buffers: 6 };
  const engine = await openWithEnv(given, options, { threads });
  onTestFinished(() => engine.close());
  return engine;
}

/** Changes the bytes of every `step`-th data chunk, with checksums that fit; returns how many. */
function forge(disk: MemoryFileSystem, step: number): number {
  let frames = 0;
  let forged = 0;
  for (const file of disk.files().filter((name) => name.startsWith('seg/'))) {
    const bytes = disk.bytesOf(file);
    const frame = new ChunkFrame();
    for (let at = 64; checkChunkFrame(bytes, at, bytes.length, frame) === 'ok'; at = frame.next) {
      if (frame.kind !== chunkKinds.data || frames++ % step !== 0) continue;
      const copy = bytes.slice(at, frame.next);
      copy[chunkFrame.size]! ^= 255;
      const { checksum, version } = chunkFrame.at;
      writeChecksum(copy, checksum, version, chunkFrame.size + frame.storedLen);
      for (const [i, byte] of copy.entries()) {
        for (let bit = 0; bit < 8; bit++) {
          if (((byte ^ bytes[at + i]!) >> bit) & 1) disk.flipBit(file, (at + i) * 8 + bit);
        }
      }
      forged++;
    }
  }
  return forged;
}

async function report(disk: MemoryFileSystem, pool: FakePool | undefined): Promise<VerifyReport> {
  const engine = await open(disk, pool);
  const found = await engine.verify({ level: 'full' });
  await engine.close();
  return found;
}

test('a check on threads finds what one thread finds, whatever becomes of them', async () => {
  const disk = new MemoryFileSystem();
  const engine = await open(disk, undefined);
  for (let i = 0; i < 6; i++) await engine.put(`k${i}`, bytesOf(i, 60_000));
  await engine.close();
  const sound = await report(disk.fork(), new FakePool(2, new Prng(1)));
  expect([sound.ok, sound.damage]).toEqual([true, []]);
  const forged = forge(disk, 9);
  expect(forged).toBeGreaterThan(5);
  const alone = await report(disk.fork(), undefined);
  expect(alone.damage.length).toBe(forged);
  expect(alone.damage.every(({ kind, keys }) => kind === 'chunk' && keys?.length === 1)).toBe(true);
  for (const faults of [{}, { dies: 30 }, { lies: 30 }] satisfies Faults[]) {
    const pool = new FakePool(2, new Prng(3), faults);
    const found = await report(disk.fork(), pool);
    expect(pool.runs).toBeGreaterThan(1);
    expect([found.damage, found.checked]).toEqual([alone.damage, alone.checked]);
  }
});

test('an aborted check gives its buffers back, one that takes a share of the time takes none', async () => {
  const pool = new FakePool(2, new Prng(1));
  const engine = await open(new MemoryFileSystem(), pool);
  for (let i = 0; i < 6; i++) await engine.put(`k${i}`, bytesOf(i, 60_000));
  await engine.flush();
  const stop = new AbortController();
  const before = pool.runs;
  const checked = engine.verify({ level: 'full', signal: stop.signal, onProgress: () => stop.abort() });
  await expect(checked).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
  const again = await engine.verify({ level: 'full' });
  expect([again.ok, pool.runs > before]).toEqual([true, true]);
  const runs = pool.runs;
  const slowly = await engine.verify({ level: 'full', share: 0.999 });
  expect([slowly.ok, slowly.checked.chunks > 100, pool.runs]).toEqual([true, true, runs]);
});

test('a repair on threads finds and mends what one thread does, and ends them', async () => {
  const disk = new MemoryFileSystem();
  const engine = await open(disk, undefined);
  for (let i = 0; i < 6; i++) await engine.put(`k${i}`, bytesOf(i, 60_000));
  await engine.close();
  expect(forge(disk, 9)).toBeGreaterThan(5);
  const options = { chunking: smallChunks };
  const { ms: _, ...alone } = await repairWithEnv(envWith(disk.fork(), undefined), options);
  expect(alone.lost.keys.length).toBeGreaterThan(0);
  for (const faults of [{}, { dies: 30 }, { lies: 30 }] satisfies Faults[]) {
    const pool = new FakePool(2, new Prng(3), faults);
    const mended = disk.fork();
    const found = await repairWithEnv(envWith(mended, pool), options);
    expect(pool.runs).toBeGreaterThan(0);
    expect(pool.closed).toBe(true);
    expect(found).toMatchObject(alone);
    expect((await report(mended, undefined)).damage.every(({ kind }) => kind === 'chunk')).toBe(true);
  }
});
