import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, openOn, TestClock } from '../engine/engine-kit.ts';

/** Moves on at once, and tells which sleeps would have let the process end. */
class RestingClock extends TestClock {
  readonly rests: boolean[] = [];

  override monotonic(): number {
    this.ms += 1;
    return this.ms;
  }

  override sleep(ms: number, _signal?: AbortSignal, isAwaited?: boolean): Promise<void> {
    if (isAwaited === undefined) return super.sleep(ms);
    this.rests.push(isAwaited);
    this.ms += ms;
    return this.turn();
  }
}

test('a process that waits for a paced check, scrub or compaction stays alive while it rests', async () => {
  const clock = new RestingClock();
  const engine = await openOn(new MemoryFileSystem(), { cleaning: { enabled: false } }, undefined, clock);
  for (let i = 0; i < 40; i++) await engine.put(`k${i}`, bytesOf(i, 4000));
  for (let i = 0; i < 40; i += 2) await engine.delete(`k${i}`);
  const restsOf = async (call: () => Promise<unknown>): Promise<Set<boolean>> => {
    clock.rests.length = 0;
    await call();
    return new Set(clock.rests);
  };
  expect(await restsOf(() => engine.verify({ share: 0.5 }))).toEqual(new Set([true]));
  expect(await restsOf(() => engine.scrub({ share: 0.5 }))).toEqual(new Set([true]));
  const paced = { share: 0.5, bytesPerSecond: 100_000 };
  expect(await restsOf(() => engine.compact(paced))).toEqual(new Set([true]));
  await engine.close();
});

test('a process that waits for a close, or for work in the background, stays alive', async () => {
  const clock = new TestClock();
  const engine = await openOn(new MemoryFileSystem(), {}, undefined, clock);
  await engine.put('key', 'value');
  expect(clock.awaiting).toBe(0);
  const closed = engine.close();
  expect(clock.awaiting).toBeGreaterThan(0);
  await closed;
  expect(clock.awaiting).toBe(0);

  const other = await openOn(new MemoryFileSystem(), {}, undefined, clock);
  const compacted = other.compact();
  expect(clock.awaiting).toBeGreaterThan(0);
  await compacted;
  expect(clock.awaiting).toBe(0);
  await other.close();
});
