import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { deferred } from '../../src/base/sync.ts';
import { GroupCommit } from '../../src/log/group-commit.ts';
import type { LogSink, Waiter } from '../../src/log/group-end.ts';
import { Wakes, wakeSliceMs } from '../../src/log/wakes.ts';
import { turn } from '../engine/engine-kit.ts';

/** A machine with one thread and one disk, whose time is what they do. */
class Machine implements Clock {
  ms = 0;
  #wasBusy = false;
  #syncs: { readonly at: number; readonly done: () => void }[] = [];
  #turns: (() => void)[] = [];
  #isOn = true;

  constructor() {
    this.#run();
  }

  now(): number {
    return 0;
  }

  monotonic(): number {
    return this.ms;
  }

  sleep(): Promise<void> {
    throw new Error('nothing sleeps here');
  }

  keepAlive(): () => void {
    return () => undefined;
  }

  turn(): Promise<void> {
    const { promise, resolve } = deferred<void>();
    this.#turns.push(resolve);
    return promise;
  }

  /** The thread computes. */
  work(ms: number): void {
    this.ms += ms;
    this.#wasBusy = true;
  }

  /** The disk works. */
  sync(ms: number): Promise<void> {
    const { promise, resolve } = deferred<void>();
    this.#syncs.push({ at: this.ms + ms, done: resolve });
    return promise;
  }

  off(): void {
    this.#isOn = false;
  }

  async #run(): Promise<void> {
    while (this.#isOn) {
      await turn();
      const turns = this.#turns;
      this.#turns = [];
      const next = this.#syncs[0];
      if (next !== undefined && turns.length === 0 && !this.#wasBusy) this.ms = Math.max(this.ms, next.at);
      this.#wasBusy = false;
      while (this.#syncs.length > 0 && this.#syncs[0]!.at <= this.ms) this.#syncs.shift()!.done();
      for (const go of turns) go();
    }
  }
}

/** Commits a ms of `writers` that each take `cost` ms for one, with a disk that takes `syncMs`. */
async function rate(writers: number, cost: number, syncMs: number): Promise<number> {
  const machine = new Machine();
  const sink: LogSink = { end: 0, append: () => undefined, dataSync: () => machine.sync(syncMs) };
  const log = new GroupCommit({
    ...{ log: sink, durability: 'full', clock: machine, lastSeq: 0, lastTimeMs: 0 },
    onFailed: (error) => {
      throw error;
    },
  });
  const commit = (): Promise<void> => {
    machine.work(cost);
    const group = log.group(8);
    group.writer.zeros(8);
    log.take(group);
    return new Promise((resolve, reject) => group.done.tell({ done: resolve, failed: reject }));
  };
  const each = 40;
  const writer = async (): Promise<void> => {
    for (let i = 0; i < each; i++) await commit();
  };
  await Promise.all(Array.from({ length: writers }, writer));
  machine.off();
  return (writers * each) / machine.ms;
}

describe('rounds of the log', () => {
  test('go on while callers compute, where that is what they wait for', async () => {
    // One after the other it would be 64 / (19.2 + 5); the thread alone gives 3.33.
    expect(await rate(64, 0.3, 5)).toBeGreaterThan(3.1);
    // A commit that has to wait for the round before its own is bound by two of them: 64 / 10.
    expect(await rate(64, 0.1, 5)).toBeGreaterThan(64 / (6.4 + 5));
    expect(await rate(400, 0.1, 5)).toBeGreaterThan(9);
  });

  test('wait for all callers where the disk is what takes long', async () => {
    expect(await rate(64, 0.1, 20)).toBeGreaterThan((0.95 * 64) / (6.4 + 20));
    expect(await rate(64, 0.005, 0.4)).toBeGreaterThan((0.95 * 64) / (0.32 + 0.4));
    expect(await rate(1, 0.1, 1)).toBeGreaterThan(0.95 / 1.1);
  });
});

describe('telling callers', () => {
  test('all are told at once where that is quick', () => {
    const machine = new Machine();
    const told: number[] = [];
    const wakes = new Wakes(machine);
    wakes.add(Array.from({ length: 500 }, (_, i) => ({ done: () => told.push(i), failed: () => undefined })));
    expect(told.length).toBe(500);
    machine.off();
  });

  test('slow callers are told in slices', async () => {
    const machine = new Machine();
    const wakes = new Wakes(machine);
    let told = 0;
    const slow: Waiter = {
      done: () => {
        told++;
        machine.work(wakeSliceMs / 4);
      },
      failed: () => undefined,
    };
    wakes.add([slow]);
    wakes.add(new Array<Waiter>(100).fill(slow));
    while (told < 101) await turn();
    const before = told;
    wakes.add([slow]);
    while (wakes.isRunning) await turn();
    wakes.add(new Array<Waiter>(100).fill(slow));
    expect(told - before).toBeLessThanOrEqual(10);
    while (wakes.isRunning) await turn();
    expect(told - before).toBe(101);
    machine.off();
  });

  test('everybody is told once and in order', async () => {
    const groups = fc.array(fc.tuple(fc.nat(30), fc.nat(3), fc.nat(20)), { maxLength: 20 });
    const run = fc.asyncProperty(groups, async (steps) => {
      const machine = new Machine();
      const wakes = new Wakes(machine);
      const told: number[] = [];
      let count = 0;
      for (const [waiters, turns, cost] of steps) {
        const from = count;
        count += waiters;
        wakes.add(
          Array.from({ length: waiters }, (_, i) => ({
            done: () => {
              told.push(from + i);
              machine.work(cost / 10);
            },
            failed: () => undefined,
          })),
        );
        for (let i = 0; i < turns; i++) await turn();
      }
      while (wakes.isRunning) await turn();
      machine.off();
      expect(told).toEqual(Array.from({ length: count }, (_, i) => i));
    });
    await fc.assert(run, { numRuns: 50 });
  });
});
