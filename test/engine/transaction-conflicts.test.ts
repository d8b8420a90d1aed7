import { describe, expect, test } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import type { Transaction } from '../../src/engine/transactions/transaction.ts';
import type { Entry } from '../../src/engine/types.ts';
import { codeOf, failure, newStore, text, turn } from './engine-kit.ts';

const serializable = { isolation: 'serializable' } as const;

async function entriesOf(scan: AsyncIterable<Entry>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const entry of scan) {
    found.push(entry.key === undefined ? `${entry.prefix}*` : [entry.key, text(entry.value), entry.size]);
  }
  return found;
}

describe('conflicts', () => {
  test('first committer wins on a written key, also one on its way to the disk', async () => {
    const { engine } = await newStore();
    const error = await failure(
      engine.transaction(async (tx) => {
        await tx.put('k', 'mine');
        void engine.put('k', 'other');
      }),
    );
    expect([error.code, error.retryable]).toEqual(['VARVE_CONFLICT', true]);
    expect(text(await engine.get('k'))).toBe('other');
  });

  test.each([
    ['a put', (tx: Transaction) => tx.put('k', 'x')],
    ['a delete', (tx: Transaction) => tx.delete('k')],
    ['a range', (tx: Transaction) => tx.deleteRange({ gte: 'j', lt: 'l' })],
  ])('%s meets a range delete of its key', async (_name, write) => {
    const { engine } = await newStore();
    await engine.put('k', 'old');
    const call = engine.transaction(async (tx) => {
      await write(tx);
      await engine.deleteRange({ prefix: 'k' });
    });
    expect(await codeOf(call)).toBe('VARVE_CONFLICT');
    const dropped = engine.space('s').transaction(async (tx) => {
      await tx.put('k', 'x');
      await engine.space('s').put('other', 'x');
      await engine.spaces.drop('s');
    });
    expect(await codeOf(dropped)).toBe('VARVE_CONFLICT');
  });

  test('write skew goes through under snapshot and is refused under serializable', async () => {
    const { engine } = await newStore();
    for (const options of [{}, serializable]) {
      await engine.put('a', '1');
      await engine.put('b', '1');
      const gate = deferred<void>();
      const take = (from: string, to: string) =>
        engine.transaction(async (tx) => {
          await tx.get(from);
          await gate.promise;
          await tx.put(to, '0');
        }, options);
      const both = Promise.allSettled([take('a', 'b'), take('b', 'a')]);
      gate.resolve();
      const ends = (await both).map(({ status }) => status).sort();
      expect(ends).toEqual(options === serializable ? ['fulfilled', 'rejected'] : ['fulfilled', 'fulfilled']);
    }
  });

  test('serializable checks what was read absent, scanned, or seen as the end of a scan', async () => {
    const { engine } = await newStore();
    for (let i = 0; i < 5; i++) await engine.put(`k${i}`, 'x');
    const reads: [string, (tx: Transaction) => Promise<unknown>, string][] = [
      ['absent key', (tx) => tx.get('absent'), 'absent'],
      ['has', (tx) => tx.has('k9'), 'k9'],
      ['a whole scan', (tx) => entriesOf(tx.scan({ prefix: 'k' })), 'k99'],
      ['an empty scan', (tx) => entriesOf(tx.scan({ prefix: 'q' })), 'q'],
      ['a limited scan', (tx) => entriesOf(tx.scan({ limit: 2 })), 'k00'],
      ['backwards', (tx) => entriesOf(tx.scan({ limit: 2, reverse: true })), 'k33'],
      ['folded', (tx) => entriesOf(tx.scan({ delimiter: 'k', limit: 1 })), 'k99'],
    ];
    for (const [name, read, key] of reads) {
      const run = (others: string): Promise<string | undefined> =>
        engine
          .transaction(async (tx) => {
            await read(tx);
            await tx.put('mine', name);
            await engine.put(others, name);
          }, serializable)
          .then(
            () => undefined,
            (error) => error.code,
          );
      expect([name, await run(key)]).toEqual([name, 'VARVE_CONFLICT']);
      await engine.delete(key);
      const unread = name === 'backwards' ? 'a' : 'zzz';
      expect([name, await run(unread)]).toEqual([name, undefined]);
      await engine.delete(unread);
      await engine.delete('mine');
    }
    // Behind where a scan ended nothing was read.
    await engine.transaction(async (tx) => {
      await entriesOf(tx.scan({ limit: 2 }));
      await tx.put('mine', 'x');
      await engine.put('k3', 'changed');
      await engine.flush();
    }, serializable);
  });

  test('a table written meanwhile is looked into, and old ones are skipped', async () => {
    const { engine } = await newStore();
    for (let i = 0; i < 200; i++) await engine.put(`k${i}`, 'x'.repeat(30));
    await engine.flush();
    const call = engine.transaction(async (tx) => {
      await entriesOf(tx.scan({ prefix: 'k1' }));
      await tx.put('mine', 'x');
      await engine.put('k150', 'changed');
      await engine.flush();
      await engine.put('unrelated', 'x');
    }, serializable);
    expect(await codeOf(call)).toBe('VARVE_CONFLICT');
  });

  test('retries run the function again until it commits, each time over a newer view', async () => {
    const { engine, clock } = await newStore();
    await engine.put('n', '0');
    let tries = 0;
    const add = (): Promise<void> =>
      engine.transaction(
        async (tx) => {
          tries++;
          const n = Number(text(await tx.get('n')));
          await turn();
          await tx.put('n', String(n + 1));
        },
        { retries: 1000 },
      );
    let left = 20;
    const all = Promise.all(Array.from({ length: 20 }, () => add().then(() => left--)));
    while (left > 0) await clock.advance(64);
    await all;
    expect(text(await engine.get('n'))).toBe('20');
    expect(tries).toBeGreaterThan(20);
    expect(
      await codeOf(
        engine.transaction(
          async (tx) => {
            await tx.put('n', 'x');
            await engine.increment('n');
          },
          { retries: 0 },
        ),
      ),
    ).toBe('VARVE_CONFLICT');
  });

  test('ifSeq is judged on what the transaction sees', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.put('k', 'x');
    await engine.transaction((tx) => tx.put('k', 'y', { ifSeq: seq }));
    expect(await codeOf(engine.transaction((tx) => tx.put('k', 'z', { ifSeq: seq })))).toBe('VARVE_CONFLICT');
    expect(await codeOf(engine.transaction((tx) => tx.put('k', 'z', { ifSeq: 0 })))).toBe('VARVE_CONFLICT');
    await engine.transaction(async (tx) => {
      await tx.put('new', 'x', { ifSeq: 0 });
      expect(await codeOf(tx.put('new', 'x', { ifSeq: 0 }))).toBe('VARVE_CONFLICT');
      await tx.delete('new');
      await tx.put('new', 'x', { ifSeq: 0 });
    });
  });
});
