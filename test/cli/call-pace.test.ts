import { describe, expect, test } from 'vitest';
import { CallPace } from '../../src/cli/tree/call-pace.ts';

/** Calls that take `ms` of a clock of their own. */
class Calls {
  ms = 0;
  now = 0;
  here = 0;
  there = 0;
  readonly pace = new CallPace(() => this.now);

  async make(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.pace.run(
        () => {
          this.here++;
          this.now += this.ms;
        },
        async () => {
          this.there++;
        },
      );
    }
  }
}

describe('call pace', () => {
  test('slow calls go to the background, and come back when they are quick again', async () => {
    const calls = new Calls();
    calls.ms = 0.02;
    await calls.make(100);
    expect(calls).toMatchObject({ here: 100, there: 0 });
    calls.ms = 9;
    await calls.make(100);
    expect(calls.here).toBeLessThan(110);
    expect(calls.pace.isQuick).toBe(false);
    await calls.make(1000);
    expect(calls.here).toBeLessThan(140);
    calls.ms = 0.02;
    await calls.make(600);
    expect(calls.pace.isQuick).toBe(true);
  });

  test('a call that is held up now and then changes nothing', async () => {
    const calls = new Calls();
    for (let i = 0; i < 50; i++) {
      calls.ms = 30;
      await calls.make(1);
      calls.ms = 0.02;
      await calls.make(9);
    }
    expect(calls).toMatchObject({ here: 500, there: 0 });
  });

  test('others have their turn', async () => {
    const calls = new Calls();
    calls.ms = 0.1;
    let ended = false;
    const made = calls.make(2000).then(() => {
      ended = true;
    });
    const seen: boolean[] = [];
    const look = (): void => {
      seen.push(ended);
      if (!ended) setImmediate(look);
    };
    setImmediate(look);
    await made;
    // 2000 calls of 0.1 ms in turns of 8 ms.
    expect(seen.length).toBeGreaterThan(20);
  });

  test('what a call throws is thrown, wherever it was made', async () => {
    const calls = new Calls();
    const fail = (): never => {
      calls.now += 9;
      throw new Error('no');
    };
    for (let i = 0; i < 20; i++)
      await expect(
        (async () => await calls.pace.run(fail, () => Promise.reject(new Error('no'))))(),
      ).rejects.toThrow('no');
    expect(calls.pace.isQuick).toBe(false);
  });
});
