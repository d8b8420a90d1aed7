import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deferred } from '../../src/base/sync.ts';
import type { Transaction } from '../../src/engine/transactions/transaction.ts';
import type { Entry, ScanOptions } from '../../src/engine/types.ts';
import {
  bytesOf,
  codeOf,
  contents,
  inPieces,
  killed,
  newStore,
  openOn,
  same,
  text,
  turn,
} from './engine-kit.ts';

const serializable = { isolation: 'serializable' } as const;

async function entriesOf(scan: AsyncIterable<Entry>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const entry of scan) {
    found.push(entry.key === undefined ? `${entry.prefix}*` : [entry.key, text(entry.value), entry.size]);
  }
  return found;
}

describe('what a transaction sees', () => {
  test('reads repeat, whatever others commit, and own writes lie over them', async () => {
    const { engine } = await newStore();
    const large = bytesOf(1, 6000);
    await engine.put('a', 'old');
    await engine.put('b', large);
    await engine.transaction(async (tx) => {
      expect(text(await tx.get('a'))).toBe('old');
      await engine.put('a', 'other');
      await engine.delete('b');
      await engine.put('c', 'new');
      await engine.flush();
      expect(text(await tx.get('a'))).toBe('old');
      expect(same(await tx.get('b'), large)).toBe(true);
      expect(await tx.has('c')).toBe(false);
      expect(await tx.stat('c')).toBeUndefined();
      expect((await tx.getMany(['a', 'c'])).map((value) => text(value))).toEqual(['old', undefined]);
      await tx.put('mine', 'x', { tags: ['t'] });
      expect(text(await tx.get('mine'))).toBe('x');
      expect((await tx.stat('mine'))!).toMatchObject({ seq: 0, size: 1, tags: ['t'] });
      expect(await tx.delete('mine')).toBe(true);
      expect(await tx.delete('mine')).toBe(false);
      expect(await tx.get('mine')).toBeUndefined();
      expect(await engine.has('mine')).toBe(false);
    });
    expect(text(await engine.get('a'))).toBe('other');
  });

  test('large values and streams can be read before they are committed, by others only after', async () => {
    const { engine } = await newStore({}, 64 * 1024);
    const values = [bytesOf(1, 3000), bytesOf(2, 30_000), bytesOf(3, 60_000)];
    let tx1: Transaction | undefined;
    const seq = await engine.transaction(async (tx) => {
      tx1 = tx;
      expect(tx.seq).toBeUndefined();
      await Promise.all(values.map((value, i) => tx.put(`v${i}`, inPieces(value, 700))));
      for (const [i, value] of values.entries()) expect(same(await tx.get(`v${i}`), value)).toBe(true);
      const stat = await tx.stat('v2');
      expect(stat!.size).toBe(60_000);
      expect(await engine.has('v0')).toBe(false);
      return stat!.digest;
    });
    expect((await engine.stat('v2'))!.digest).toBe(seq);
    const stats = await Promise.all(values.map((_, i) => engine.stat(`v${i}`)));
    expect(stats.map((stat) => stat!.seq)).toEqual(stats.map(() => tx1!.seq));
    for (const [i, value] of values.entries()) expect(same(await engine.get(`v${i}`), value)).toBe(true);
  });

  test('what it has put tells when it will expire', async () => {
    const { engine, clock } = await newStore();
    const hour = 3_600_000;
    await engine.space('brief').setPolicy({ ttlMs: hour });
    const told = await engine.transaction(async (tx) => {
      await tx.put('a', 'x', { ttlMs: 5000 });
      await tx.put('b', 'x');
      const brief = tx.space('brief');
      await brief.put('a', 'x');
      await brief.put('b', 'x', { ttlMs: Number.POSITIVE_INFINITY });
      const stats = [await tx.stat('a'), await tx.stat('b'), await brief.stat('a'), await brief.stat('b')];
      return stats.map((stat) => stat!.expires?.getTime());
    });
    expect(told).toEqual([clock.ms + 5000, undefined, clock.ms + hour, undefined]);
    expect((await engine.stat('a'))!.expires!.getTime()).toBe(told[0]);
  });

  test('scans equal what the store holds after the commit', async () => {
    const key = fc.constantFrom('', 'a', 'a/', 'a/b', 'a/b/c', 'a\u0000', 'b', 'b/x', 'c', 'é');
    const bound = fc.option(key, { nil: undefined, freq: 2 });
    const options = fc.record({
      prefix: fc.option(fc.constantFrom('', 'a', 'a/', 'b'), { nil: undefined }),
      gt: bound,
      gte: bound,
      lt: bound,
      lte: bound,
      reverse: fc.boolean(),
      limit: fc.option(fc.nat(5), { nil: undefined }),
      delimiter: fc.option(fc.constantFrom('/', 'b'), { nil: undefined }),
      after: bound,
    });
    const write = fc.record({ key, value: fc.option(fc.nat(200), { nil: undefined }) });
    const run = fc.asyncProperty(
      fc.array(write, { maxLength: 8 }),
      fc.array(write, { maxLength: 8 }),
      options,
      async (before, inside, given) => {
        const { engine } = await newStore();
        const wanted = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
        const value = (length: number): string => 'v'.repeat(length);
        for (const { key, value: length } of before) {
          await (length === undefined ? engine.delete(key) : engine.put(key, value(length)));
        }
        const seen = await engine.transaction(async (tx) => {
          for (const { key, value: length } of inside) {
            await (length === undefined ? tx.delete(key) : tx.put(key, value(length)));
          }
          return await entriesOf(tx.scan(wanted as ScanOptions));
        });
        expect(seen).toEqual(await entriesOf(engine.scan(wanted as ScanOptions)));
      },
    );
    await fc.assert(run, { numRuns: 60 });
  });

  test('spaces are written together, and a space of its own view stays what it was', async () => {
    const { engine } = await newStore();
    const other = engine.space('other');
    await other.put('k', 'old');
    await engine.transaction(async (tx) => {
      const space = tx.space('other');
      await engine.spaces.drop('other');
      expect(text(await space.get('k'))).toBe('old');
      expect(text(await tx.space('other').get('k'))).toBe('old');
    });
    await other.transaction(async (tx) => {
      await tx.put('k', 'there');
      await tx.space('third').put('k', 'and there');
    });
    expect([text(await other.get('k')), text(await engine.space('third').get('k'))]).toEqual([
      'there',
      'and there',
    ]);
    expect((await other.stat('k'))!.seq).toBe((await engine.space('third').stat('k'))!.seq);
  });

  test('deleteRange removes what the transaction sees', async () => {
    const { engine } = await newStore();
    for (const key of ['a', 'b', 'c', 'd']) await engine.put(key, key);
    await engine.transaction(async (tx) => {
      await tx.put('bb', 'x');
      expect(await tx.deleteRange({ gte: 'b', lt: 'd' })).toEqual({ deleted: 3 });
      await tx.put('c', 'again');
      expect(await tx.has('b')).toBe(false);
      expect(await codeOf(tx.deleteRange({}))).toBe('VARVE_INVALID_ARGUMENT');
    });
    expect(await entriesOf(engine.scan())).toEqual([
      ['a', 'a', 1],
      ['c', 'again', 5],
      ['d', 'd', 1],
    ]);
  });
});

describe('how it ends', () => {
  test('a function that throws leaves nothing, streams under way included', async () => {
    const { engine } = await newStore();
    let ended = false;
    async function* endless() {
      try {
        for (;;) {
          yield bytesOf(1, 500);
          await turn();
        }
      } finally {
        ended = true;
      }
    }
    const call = engine.transaction(async (tx) => {
      await tx.put('a', 'x');
      void tx.put('b', endless()).catch(() => undefined);
      await turn();
      throw new Error('mine');
    });
    await expect(call).rejects.toThrow('mine');
    for (let i = 0; i < 5 && !ended; i++) await turn();
    expect(ended).toBe(true);
    expect((await contents(engine)).size).toBe(0);
  });

  test('calls nobody awaits belong to it; when one of them fails nothing is committed', async () => {
    const { engine } = await newStore();
    await engine.transaction((tx) => {
      void tx.put('a', inPieces(bytesOf(1, 20_000), 100));
      void tx.delete('x');
    });
    expect((await engine.stat('a'))!.size).toBe(20_000);
    async function* broken() {
      yield bytesOf(1, 100);
      throw new Error('source');
    }
    const call = engine.transaction((tx) => {
      void tx.put('b', 'x');
      void tx.put('c', broken()).catch(() => undefined);
    });
    await expect(call).rejects.toThrow('source');
    expect(await engine.has('b')).toBe(false);
  });

  test('of two writes to one key the one called last counts', async () => {
    const { engine } = await newStore();
    await engine.transaction(async (tx) => {
      await Promise.all([tx.put('k', inPieces(bytesOf(1, 50_000), 100)), tx.put('k', 'last')]);
      expect(text(await tx.get('k'))).toBe('last');
    });
    expect(text(await engine.get('k'))).toBe('last');
  });

  test('every call after the end is refused', async () => {
    const { engine } = await newStore();
    let kept: Transaction | undefined;
    let scan: AsyncIterable<Entry> | undefined;
    await engine.transaction((tx) => {
      kept = tx;
      scan = tx.scan();
    });
    for (const call of [
      () => kept!.get('a'),
      () => kept!.put('a', 'x'),
      () => kept!.delete('a'),
      () => kept!.scan(),
      () => kept!.space('s'),
      () => entriesOf(scan!),
    ]) {
      expect(await codeOf(async () => call())).toBe('VARVE_CLOSED');
    }
  });

  test('an empty transaction, or one that only reads, commits nothing', async () => {
    const { engine } = await newStore();
    await engine.put('a', 'x');
    const { count } = engine.stats().commits;
    expect(await engine.transaction(() => 5)).toBe(5);
    await engine
      .transaction(async (tx) => {
        await tx.get('a');
        await tx.delete('absent');
        await engine.put('a', 'y');
      }, serializable)
      .catch(() => undefined);
    expect(engine.stats().commits.count).toBe(count + 1);
  });

  test('close waits for it, and its next call is refused', async () => {
    const { engine } = await newStore();
    const gate = deferred<void>();
    const call = engine.transaction(async (tx) => {
      await tx.put('a', 'x');
      await gate.promise;
      await tx.put('b', 'x');
    });
    const closed = engine.close();
    gate.resolve();
    expect(await codeOf(call)).toBe('VARVE_CLOSED');
    await closed;
  });

  test('it is there whole after a crash, or not at all', async () => {
    const { disk, engine } = await newStore();
    await engine.transaction(async (tx) => {
      for (let i = 0; i < 20; i++) await tx.put(`k${i}`, bytesOf(i, 100 * i));
    });
    const again = await openOn(killed(disk));
    expect((await contents(again)).size).toBe(20);
    await again.close();
  });

  test('wrong arguments are refused', async () => {
    const { engine } = await newStore();
    for (const call of [
      () => engine.transaction('x' as never),
      () => engine.transaction(() => 1, { isolation: 'dirty' } as never),
      () => engine.transaction(() => 1, { retries: -1 }),
      () => engine.transaction(() => 1, { retry: 1 } as never),
      () => engine.transaction((tx) => tx.put('a', 7 as never)),
      () => engine.transaction((tx) => tx.put('a', 'x', { when: 1 } as never)),
      () => engine.transaction((tx) => tx.get('a', { at: 1 } as never)),
      () => engine.transaction((tx) => tx.getMany('a' as never)),
    ]) {
      expect(await codeOf(call)).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(await codeOf(engine.transaction(() => 1, { signal: AbortSignal.abort() }))).toBe('VARVE_ABORTED');
  });

  test('one above the bound of a commit is refused and nothing is written', async () => {
    const { engine } = await newStore({ inlineMax: 65_536 });
    const piece = bytesOf(1, 60_000);
    const call = engine.transaction(async (tx) => {
      for (let i = 0; i < 600; i++) await tx.put(`k${i}`, piece);
    });
    expect(await codeOf(call)).toBe('VARVE_INVALID_ARGUMENT');
    expect(await engine.has('k0')).toBe(false);
  });

  test('a write that was refused is not committed where the function goes on', async () => {
    const { engine } = await newStore({ inlineMax: 65_536 });
    await engine.batch(Array.from({ length: 20 }, (_, i) => ({ type: 'put', key: `d${i}`, value: 'x' })));
    const piece = bytesOf(1, 60_000);
    let refused = '';
    await engine.transaction(async (tx) => {
      const fill = async (name: string, value: Uint8Array): Promise<string> => {
        for (let i = 0; ; i++) {
          try {
            await tx.put(`${name}${i}`, value);
          } catch (error) {
            expect(error).toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' });
            return `${name}${i}`;
          }
        }
      };
      refused = await fill('k', piece);
      await fill('small', piece.subarray(0, 100));
      expect(await codeOf(tx.deleteRange({ prefix: 'd' }))).toBe('VARVE_INVALID_ARGUMENT');
    });
    expect(await engine.has('k0')).toBe(true);
    expect(await engine.has(refused)).toBe(false);
    expect(await engine.has('d0')).toBe(true);
    expect(await engine.has('d19')).toBe(true);
  });
});
