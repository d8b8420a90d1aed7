import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { QueryOptions } from '../../src/engine/queries/query-types.ts';
import type { Transaction } from '../../src/engine/transactions/transaction.ts';
import { bytesOf, codeOf, newStore, text } from './engine-kit.ts';
import { histories, historiesMs } from './histories.ts';

const asked = (name: string, n: number): QueryOptions =>
  [
    { index: 'n' },
    { index: 'n', gte: n, lt: n + 3 },
    { index: 'n', reverse: true, limit: 4 },
    { index: 'h', eq: n },
    { index: 'tags', prefix: 't' },
    { index: 'pair', eq: ['a'] },
    { where: { metadata: { n: { lte: n } } } },
    { where: { tags: 't1' }, orderBy: { metadata: 'n' }, limit: 3, reverse: true },
    { where: { prefix: name } },
    { where: { prefix: name, size: { gt: 3 } }, orderBy: 'key', reverse: true },
    { where: { metadata: { n } }, orderBy: 'size', limit: 5 },
  ][n % 11] as QueryOptions;

async function define(engine: Engine): Promise<void> {
  await engine.indexes.define({ name: 'n', kind: 'range', on: { metadata: 'n' } });
  await engine.indexes.define({ name: 'h', on: { metadata: 'n' }, kind: 'hash' });
  await engine.indexes.define({ name: 'tags', kind: 'range', on: 'tags' });
  await engine.indexes.define({ name: 'pair', kind: 'range', on: [{ metadata: 'g' }, { metadata: 'n' }] });
}

/** What a query gives, without numbers of commits and times. */
async function given(
  from: { query: Engine['query'] } | Transaction,
  options: QueryOptions,
): Promise<string[]> {
  const found: string[] = [];
  for await (const { key, value, indexKey, size } of (from as Engine).query({ ...options, explain: false })) {
    const of = 'index' in options ? indexKey : undefined;
    found.push(JSON.stringify([key, text(value), of, size]));
  }
  // Which index `where` goes by is not a part of the answer, and an order is one where it is asked for.
  return 'index' in options || options.orderBy !== undefined ? found : found.sort();
}

type Write = { key: number; n: number; tag: number; large: boolean; what: 'put' | 'delete' };
const write = fc.record({
  key: fc.nat(7),
  n: fc.nat(8),
  tag: fc.nat(2),
  large: fc.boolean(),
  what: fc.constantFrom('put', 'put', 'put', 'delete'),
});

async function apply(to: Engine | Transaction, { key, n, tag, large, what }: Write): Promise<void> {
  const name = `k${key}`;
  if (what === 'delete') await to.delete(name);
  else {
    const metadata = { n: tag === 0 ? n : [n, n + 1], g: n % 2 === 0 ? 'a' : 'b' };
    const value = large ? bytesOf(n, 300) : `v${n}`;
    await to.put(name, value, { metadata, tags: Array.from({ length: tag }, (_, i) => `t${i}`) });
  }
}

test(
  'a query in a transaction gives what the same query gives once it is committed',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(write, { maxLength: 12 }),
        fc.array(write, { maxLength: 6 }),
        fc.array(fc.nat(10), { minLength: 3, maxLength: 6 }),
        async (before, within, queries) => {
          const { engine } = await newStore();
          await define(engine);
          for (const one of before) await apply(engine, one);
          const inside = await engine.transaction(
            async (tx) => {
              const all: string[][] = [];
              for (const one of within) await apply(tx, one);
              for (const n of queries) all.push(await given(tx, asked('k', n)));
              return all;
            },
            { isolation: 'serializable' },
          );
          for (const [i, n] of queries.entries()) {
            expect(inside[i], JSON.stringify(asked('k', n))).toEqual(await given(engine, asked('k', n)));
          }
          await engine.close();
        },
      ),
      histories(60),
    );
  },
  historiesMs(),
);

/** A serializable transaction that queries, while `meanwhile` is committed beside it. */
async function against(
  engine: Engine,
  options: QueryOptions,
  meanwhile: () => Promise<unknown>,
): Promise<string | undefined> {
  const call = engine.transaction(
    async (tx) => {
      await given(tx, options);
      await meanwhile();
      await tx.put('result', 'x');
    },
    { isolation: 'serializable' },
  );
  return await call.then(
    () => undefined,
    (error: { code: string }) => error.code,
  );
}

test('a serializable transaction sees phantoms in what it asked for, and nothing beside it', async () => {
  const { engine } = await newStore();
  await define(engine);
  for (let n = 0; n < 10; n++) await engine.put(`k${n}`, 'v', { metadata: { n, g: 'a' }, tags: ['t0'] });
  const range: QueryOptions = { index: 'n', gte: 3, lt: 6 };
  const put = (key: string, n: number) => () => engine.put(key, 'w', { metadata: { n } });
  expect(await against(engine, range, put('new', 4))).toBe('VARVE_CONFLICT');
  expect(await against(engine, range, put('k8', 3.5))).toBe('VARVE_CONFLICT');
  expect(await against(engine, range, put('k3', 3))).toBe('VARVE_CONFLICT');
  expect(await against(engine, range, () => engine.delete('k4'))).toBe('VARVE_CONFLICT');
  expect(await against(engine, range, () => engine.deleteRange({ gte: 'k5', lt: 'k6' }))).toBe(
    'VARVE_CONFLICT',
  );
  expect(await against(engine, range, put('k9', 9))).toBe(undefined);
  expect(await against(engine, range, put('other', 7))).toBe(undefined);
  expect(await against(engine, range, () => engine.space('s').put('k4', 'v'))).toBe(undefined);
  // What a limit left unread is not claimed.
  const first: QueryOptions = { index: 'n', limit: 1 };
  expect(await against(engine, first, put('behind', 5))).toBe(undefined);
  expect(await against(engine, first, put('before', -1))).toBe('VARVE_CONFLICT');
  const last: QueryOptions = { index: 'n', lte: 100, reverse: true, limit: 1 };
  expect(await against(engine, last, put('behind', 50))).toBe('VARVE_CONFLICT');
  expect(await against(engine, last, put('low', 2))).toBe(undefined);
  const hash: QueryOptions = { index: 'h', eq: 77 };
  expect(await against(engine, hash, put('late', 78))).toBe(undefined);
  expect(await against(engine, hash, put('late', 77))).toBe('VARVE_CONFLICT');
  const where: QueryOptions = { where: { prefix: 'k', size: { gt: 100 } } };
  expect(await against(engine, where, put('kk', 1))).toBe('VARVE_CONFLICT');
  expect(await against(engine, where, put('m', 1))).toBe(undefined);
  // Snapshot isolation claims nothing that was read.
  await engine.transaction(async (tx) => {
    await given(tx, range);
    await put('more', 4)();
    await tx.put('result', 'y');
  });
});

test('a query in a view gives its state, and ends with it', async () => {
  const { engine } = await newStore();
  await define(engine);
  await apply(engine, { key: 1, n: 4, tag: 0, large: false, what: 'put' });
  const view = engine.view();
  await engine.put('k2', 'later', { metadata: { n: 4 } });
  await engine.delete('k1');
  const found: string[] = [];
  const loop = view.query({ index: 'n', eq: 4 });
  for await (const { key, value } of loop) found.push(`${key}=${text(value)}`);
  expect(found).toEqual(['k1=v4']);
  expect(await view.query({ where: { metadata: { n: 4 } }, explain: true })).toMatchObject({
    order: 'any',
  });
  expect(
    await codeOf(() => view.query({ index: 'n', at: 1 } as object as QueryOptions & { explain?: false })),
  ).toBe('VARVE_INVALID_ARGUMENT');
  await engine.indexes.define({ name: 'late', kind: 'range', on: 'size' });
  expect(await codeOf(() => view.query({ index: 'late' }))).toBe('VARVE_HISTORY_GONE');
  view.close();
  expect(await codeOf(() => view.query({ index: 'n' }))).toBe('VARVE_CLOSED');
});
