/** Values with a time to live: when they are absent, when they are deleted, and who hears of it. */
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { Store } from '../../src/engine/store.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { codeOf, killed, newStore, openOn, TestClock, text } from './engine-kit.ts';
import { histories, historiesMs } from './histories.ts';

async function deleted(engine: Engine, count: number): Promise<void> {
  for (let i = 0; i < 400 && engine.stats().purge.expired < count; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(engine.stats().purge.expired).toBe(count);
}

describe('values with a time to live', () => {
  test('a value is absent when its time is over, is deleted then, and a listener hears of it', async () => {
    const { engine, clock } = await newStore();
    const heard: unknown[] = [];
    const listener = (event: unknown): void => void heard.push(event);
    engine.on('expired', listener);
    await engine.put('a', 'short', { ttlMs: 1000 });
    await engine.space('s').put('b', 'x'.repeat(500), { ttlMs: 1000 });
    await engine.put('c', 'stays');
    await engine.batch([{ type: 'put', key: 'd', value: 'batch', ttlMs: 5000 }]);
    await engine.transaction(async (tx) => {
      await tx.put('e', 'transaction', { ttlMs: 5000 });
    });
    expect((await engine.stat('a'))!.expires).toEqual(new Date(clock.ms + 1000));
    await clock.advance(999);
    expect(text(await engine.get('a'))).toBe('short');
    await clock.advance(1);
    expect(await engine.get('a')).toBeUndefined();
    await deleted(engine, 2);
    expect(heard).toEqual([
      { key: 'a', space: undefined },
      { key: 'b', space: 's' },
    ]);
    expect(await engine.delete('a')).toBe(false);
    engine.off('expired', listener);
    await clock.advance(4000);
    await deleted(engine, 4);
    expect(heard).toHaveLength(2);
    expect(text(await engine.get('c'))).toBe('stays');
  });

  test('a step that waits for others is not looked after again and again', async () => {
    let sleeps = 0;
    class CountingClock extends TestClock {
      override sleep(ms: number): Promise<void> {
        sleeps++;
        return super.sleep(ms);
      }
    }
    const clock = new CountingClock();
    const disk = new MemoryFileSystem();
    const stores: Store[] = [];
    const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => new Uint8Array(n) };
    const engine = await openWithEnv(env, {}, { onOpen: (store) => stores.push(store) });
    await engine.put('a', 'short', { ttlMs: 1000 });
    const room = deferred<void>();
    const { pacer } = stores[0]!.parts.write!;
    const wait = vi.spyOn(pacer, 'wait').mockReturnValue(room.promise);
    await clock.advance(1000);
    const before = sleeps;
    for (let i = 0; i < 30; i++) await clock.advance(1);
    expect(wait).toHaveBeenCalled();
    expect(sleeps - before).toBeLessThan(3);
    room.resolve();
    await deleted(engine, 1);
    await engine.close();
  });

  test('a key that was put again stays', async () => {
    const { engine, clock } = await newStore();
    await engine.put('a', '1', { ttlMs: 1000 });
    await engine.put('a', '2');
    await engine.put('b', '1', { ttlMs: 1000 });
    await engine.put('b', '2', { ttlMs: 9000 });
    await clock.advance(1000);
    await clock.advance(1000);
    expect([text(await engine.get('a')), text(await engine.get('b'))]).toEqual(['2', '2']);
    expect(engine.stats().purge.expired).toBe(0);
  });

  test('an expired key is absent for ifSeq 0, also before it is deleted', async () => {
    const { engine, clock } = await newStore();
    const { seq } = await engine.put('a', '1', { ttlMs: 1000 });
    expect(await codeOf(engine.put('a', '2', { ifSeq: 0 }))).toBe('VARVE_CONFLICT');
    clock.ms += 1000;
    expect(await codeOf(engine.put('a', '2', { ifSeq: seq }))).toBe('VARVE_CONFLICT');
    await engine.put('a', '2', { ifSeq: 0 });
    expect(text(await engine.get('a'))).toBe('2');
    await clock.advance(60_000);
    expect(text(await engine.get('a'))).toBe('2');
  });

  test('a clock that steps back revives nothing, one that steps forward is followed', async () => {
    const { engine, clock } = await newStore();
    await engine.put('a', '1', { ttlMs: 10_000 });
    clock.ms += 20_000;
    await engine.put('other', 'x');
    clock.ms -= 15_000;
    expect(await engine.get('a')).toBeUndefined();
    await clock.advance(60_000);
    await deleted(engine, 1);
  });

  test('a time to live out of bounds, or an event there is not, is refused', async () => {
    const { engine } = await newStore();
    for (const ttlMs of [0, -1, 1.5, 2 ** 45 + 1, Number.NaN]) {
      expect(await codeOf(engine.put('a', '1', { ttlMs }))).toBe('VARVE_INVALID_ARGUMENT');
    }
    await engine.put('a', '1', { ttlMs: 2 ** 45 });
    expect(await codeOf(() => engine.on('gone' as never, () => undefined))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test(
    'expired keys go, whatever happens in between',
    async () => {
      const step = fc.oneof(
        fc.record({ do: fc.constant('put' as const), key: fc.nat(4), ttl: fc.constantFrom(0, 10, 50, 200) }),
        fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(5, 20, 100) }),
        fc.record({ do: fc.constantFrom('delete' as const, 'range' as const), key: fc.nat(4) }),
        fc.record({ do: fc.constantFrom('flush' as const, 'close' as const, 'kill' as const) }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
          let disk = new MemoryFileSystem();
          const clock = new TestClock();
          let engine = await openOn(disk, {}, undefined, clock);
          const model = new Map<string, { value: string; until: number }>();
          let puts = 0;
          for (const one of steps) {
            if (one.do === 'put') {
              const value = `${++puts}`.padEnd(puts % 2 === 0 ? 5 : 300, '.');
              await engine.put(`k${one.key}`, value, one.ttl === 0 ? {} : { ttlMs: one.ttl });
              model.set(`k${one.key}`, { value, until: one.ttl === 0 ? Infinity : clock.ms + one.ttl });
            } else if (one.do === 'wait') await clock.advance(one.ms);
            else if (one.do === 'delete') {
              await engine.delete(`k${one.key}`);
              model.delete(`k${one.key}`);
            } else if (one.do === 'range') {
              await engine.deleteRange({ gte: `k${one.key}` });
              for (const key of Array.from(model.keys())) if (key >= `k${one.key}`) model.delete(key);
            } else if (one.do === 'flush') await engine.flush();
            else {
              const image = killed(disk);
              await engine.close();
              if (one.do === 'kill') disk = image;
              engine = await openOn(disk, {}, undefined, clock);
            }
            for (let key = 0; key < 5; key++) {
              const live = model.get(`k${key}`);
              const expected = live !== undefined && live.until > clock.ms ? live.value : undefined;
              expect(text(await engine.get(`k${key}`))).toBe(expected);
            }
          }
          await clock.advance(1000);
          await clock.advance(60_000);
          for (let i = 0; i < 20; i++) await clock.turn();
          const rows: string[] = [];
          for (const key of model.keys()) {
            // Not a deletion of readers but of the row: what is deleted has no number to be put under.
            if (model.get(key)!.until === Infinity) rows.push(key);
          }
          const left: string[] = [];
          for await (const entry of engine.scan({ values: false })) left.push(entry.key!);
          expect(left).toEqual(rows.sort());
          expect(engine.stats().purge.failures).toBe(0);
          await engine.close();
        }),
        histories(25),
      );
    },
    historiesMs(120_000),
  );
});
