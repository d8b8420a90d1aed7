import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadFlock } from '../../src/fs/flock.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { ownIdentity, processLives } from '../../src/fs/process-identity.ts';
import { systemClock } from '../../src/fs/system-clock.ts';
import { LockClock } from './lock-clock.ts';
import { tempDir } from './temp-dir.ts';

// Without fs-ext (install scripts blocked, no compiler) there is no flock to test.
const hasFlock = !('unavailable' in (await loadFlock()));

describe('flock', () => {
  test.skipIf(!hasFlock)(
    'the add-on loads and its lock excludes another descriptor until it is closed',
    async () => {
      const flock = await loadFlock();
      if ('unavailable' in flock) throw new Error(flock.unavailable);
      const file = path.join(await tempDir(), 'l');
      const [a, b] = [openSync(file, 'w'), openSync(file, 'r+')];
      expect(flock.tryLock(a)).toBe(true);
      expect(flock.tryLock(a)).toBe(true);
      expect(flock.tryLock(b)).toBe(false);
      closeSync(a);
      expect(flock.tryLock(b)).toBe(true);
      closeSync(b);
      expect(() => flock.tryLock(b)).toThrow(expect.objectContaining({ code: 'VARVE_IO', errno: 'EBADF' }));
    },
  );

  test('an add-on that is missing or was not built says what to do', async () => {
    const failing = (message: string) => () => {
      throw new Error(message);
    };
    expect(await loadFlock(failing("Cannot find module 'fs-ext'\nRequire stack:"))).toEqual({
      unavailable: 'fs-ext is not installed',
    });
    const unbuilt = await loadFlock(failing("Cannot find module './build/Release/fs_ext.node'"));
    expect(unbuilt).toEqual({ unavailable: expect.stringContaining('npm install-scripts approve fs-ext') });
    expect(await loadFlock(() => ({}))).toEqual({ unavailable: 'fs-ext has no flockSync' });
    expect(await loadFlock(() => undefined)).toEqual({ unavailable: 'fs-ext has no flockSync' });
  });
});

describe('process identity', () => {
  test('this process lives, with its own start time only', () => {
    const me = ownIdentity();
    expect(me.pid).toBe(process.pid);
    expect(processLives(me.pid, me.processStart)).toBe(true);
    expect(processLives(me.pid, '')).toBe(true);
    expect(processLives(me.pid, '1')).toBe(false);
    expect(processLives(2 ** 30, '')).toBe(false);
    expect(processLives(0, '')).toBe(false);
  });
});

describe('memory lock', () => {
  test('one writer per disk, and a crash or fork starts unlocked', async () => {
    const disk = new MemoryFileSystem();
    const clock = new LockClock();
    const provider = memoryLock(disk, clock);
    expect(await provider.describe()).toBe(null);
    const lock = await provider.acquire({ waitMs: 0 });
    expect(lock.providers).toEqual(['memory']);
    await lock.setEpoch(4);
    await lock.touch();
    const twice = memoryLock(disk, clock).acquire({ waitMs: 0 });
    await expect(twice).rejects.toMatchObject({ code: 'VARVE_LOCKED', actual: { pid: 1, writerEpoch: 4 } });
    await (await memoryLock(disk.fork(), clock).acquire({ waitMs: 0 })).release();
    await (await memoryLock(disk.crash('all'), clock).acquire({ waitMs: 0 })).release();
    expect(await provider.describe()).toMatchObject({ held: true, alive: true, touches: 1 });
    clock.onWait = () => lock.release();
    const next = await provider.acquire({ waitMs: 100 });
    expect(next.owner.writerEpoch).toBe(4);
    await lock.release();
    expect(await provider.describe()).toMatchObject({ held: true, nonce: next.owner.nonce });
    await expect(lock.touch()).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
    clock.onWait = undefined;
    const start = clock.time;
    await expect(provider.acquire({ waitMs: 42 })).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    expect(clock.time - start).toBe(42);
    const gone = AbortSignal.abort();
    await expect(provider.acquire({ waitMs: 42, signal: gone })).rejects.toMatchObject({
      code: 'VARVE_ABORTED',
    });
  });
});

describe('system clock', () => {
  test('a sleep ends by itself, or with VARVE_ABORTED by its signal', async () => {
    const start = systemClock.monotonic();
    const hold = setInterval(() => undefined, 1_000);
    try {
      await systemClock.sleep(2);
      await systemClock.sleep(0);
      await systemClock.turn();
      expect(systemClock.monotonic()).toBeGreaterThan(start);
      expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1_000);
      const stop = new AbortController();
      const forever = systemClock.sleep(2 ** 40, stop.signal);
      stop.abort();
      await expect(forever).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
      await expect(systemClock.sleep(5, stop.signal)).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    } finally {
      clearInterval(hold);
    }
  });
});
