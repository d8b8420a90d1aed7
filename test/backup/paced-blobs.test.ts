import { describe, expect, test } from 'vitest';
import type { BlobData } from '../../src/backup/blob-store.ts';
import { piecesOf } from '../../src/backup/blob-store.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { pacedEnv } from '../../src/backup/paced-blobs.ts';
import { bytesOf, codeOf, newStore, same, TestClock } from '../engine/engine-kit.ts';
import { vaultOn } from './backup-kit.ts';

/** Moves on whenever somebody sleeps, and keeps how long. */
class SleepingClock extends TestClock {
  slept = 0;

  override now(): number {
    return Math.floor(this.ms);
  }

  override async sleep(ms: number): Promise<void> {
    this.slept += ms;
    this.ms += ms;
  }
}

/** Notes when each byte came. */
class NotingBlobs extends MemoryBlobs {
  readonly #clock: TestClock;
  readonly came: { ms: number; bytes: number }[] = [];

  constructor(clock: TestClock) {
    super();
    this.#clock = clock;
  }

  override put(name: string, data: BlobData, options?: { readonly ifAbsent?: boolean }): Promise<boolean> {
    const { came } = this;
    const clock = this.#clock;
    async function* noted(): AsyncGenerator<Uint8Array> {
      for await (const piece of piecesOf(data)) {
        came.push({ ms: clock.ms, bytes: piece.length });
        yield piece;
      }
    }
    return super.put(name, noted(), options);
  }
}

const rate = 100_000;

describe('a bound on what is sent', () => {
  test('no moment is ahead of the bound, also where all of it is less than one pack', async () => {
    const clock = new SleepingClock();
    const target = new NotingBlobs(clock);
    const vault = await vaultOn(target, clock);
    const { engine } = await newStore();
    for (let i = 0; i < 100; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
    target.came.length = 0;
    const startMs = clock.ms;
    const report = await engine.backup(vault, { bytesPerSecond: rate });
    expect(report).toMatchObject({ ok: true, files: 1 });
    expect(report.newBytes).toBeGreaterThan(400_000);
    expect(clock.ms - startMs).toBeGreaterThan(3900);
    let sent = 0;
    for (const { ms, bytes } of target.came) {
      sent += bytes;
      expect(sent).toBeLessThanOrEqual(((ms - startMs) / 1000) * rate + 64 * 1024);
    }
    expect((await vault.verify()).damage).toEqual([]);
  });

  test('an archive keeps to it too', async () => {
    const clock = new SleepingClock();
    const vault = await vaultOn(new NotingBlobs(clock), clock);
    const { engine } = await newStore();
    await engine.backup(vault);
    for (let i = 0; i < 100; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
    const startMs = clock.ms;
    expect(await engine.archive(vault, { bytesPerSecond: rate })).toMatchObject({ ok: true });
    expect(clock.ms - startMs).toBeGreaterThan(3900);
  });

  test('objects are what they were, and what is small does not wait', async () => {
    const clock = new SleepingClock();
    const target = new MemoryBlobs();
    const { env } = await vaultOn(target, clock);
    const { store } = pacedEnv(env, { bytesPerSecond: 1 });
    const large = bytesOf(1, 200_000);
    await store.put('large', large);
    expect(same(await target.get('large', 200_000), large)).toBe(true);
    expect(clock.slept).toBeGreaterThan(150_000_000);
    const before = clock.slept;
    await store.put('small', large.subarray(0, 1000));
    expect(clock.slept).toBe(before);
    expect(await store.put('small', large, { ifAbsent: true })).toBe(false);
    expect(same(await store.getRange('large', 5, 9), large.subarray(5, 14))).toBe(true);
    expect(await store.size('small')).toBe(1000);
    expect(await store.delete('small')).toBe(true);
    expect(pacedEnv(env, {}).store).toBe(env.store);
  });

  test('waiting ends when the signal fires', async () => {
    const { engine } = await newStore();
    await engine.put('k', bytesOf(1, 200_000));
    const clock = new SleepingClock();
    const vault = await vaultOn(new MemoryBlobs(), clock);
    const stop = new AbortController();
    clock.sleep = async () => stop.abort();
    const call = engine.backup(vault, { bytesPerSecond: 1000, signal: stop.signal });
    expect(await codeOf(call)).toBe('VARVE_ABORTED');
    expect(await vault.list()).toEqual([]);
  });
});
