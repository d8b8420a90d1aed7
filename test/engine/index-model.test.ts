/**
 * Indexes against an oracle that filters and sorts: writes of every kind, flushes, merges, kills, power cuts.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { QueryOptions } from '../../src/engine/queries/query-types.ts';
import type { PutOptions } from '../../src/engine/types.ts';
import type { IndexValue } from '../../src/format/index-key.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { sha256Hex } from '../../src/kernels/hash/sha256.ts';
import type { IndexDefinition } from '../../src/secondary/definition.ts';
import { histories, historiesMs } from './histories.ts';
import {
  compareTuples,
  compareValues,
  entriesOf,
  entryText,
  type Model,
  type ModelEntry,
  type ModelRow,
  openSmall,
  valuesOf,
} from './index-kit.ts';

const definitions: readonly IndexDefinition[] = [
  { name: 'n', kind: 'range', on: { metadata: 'n' } },
  { name: 'tags', kind: 'range', on: 'tags' },
  { name: 'digest', kind: 'hash', on: 'digest' },
  { name: 'pair', kind: 'range', on: ['contentType', { metadata: 'deep.x' }] },
  { name: 'size', kind: 'range', on: 'size' },
  { name: 'u', kind: 'range', unique: true, on: { metadata: 'u' } },
  { name: 'hashed', kind: 'hash', on: ['tags', { metadata: 'n' }] },
];
const [, byTags, byDigest, byPair, , byU, byHashed] = definitions as [
  IndexDefinition,
  IndexDefinition,
  IndexDefinition,
  IndexDefinition,
  IndexDefinition,
  IndexDefinition,
  IndexDefinition,
];

const value: fc.Arbitrary<IndexValue> = fc.oneof(
  fc.constantFrom<IndexValue>(null, true, false, 0, -0, 1, -1.5, 1e300, Number.NaN, Number.NEGATIVE_INFINITY),
  fc.constantFrom<IndexValue>('', 'a', 'a\u0000', 'ab', 'é', '\u{10000}', '\uffff'),
  fc.constantFrom<IndexValue>(new Date(0), new Date(-5), new Date(1_700_000_000_123)),
  fc.constantFrom<IndexValue>(Uint8Array.of(), Uint8Array.of(0), Uint8Array.of(0, 255), Uint8Array.of(1)),
);
const tags = fc.array(fc.constantFrom('red', 'green', 'blue', 'r'), { maxLength: 3 });
const row = fc.record(
  {
    text: fc.constantFrom('', 'one', 'two', 'x'.repeat(50), 'y'.repeat(3000)),
    n: fc.oneof(value, fc.array(fc.oneof(value, fc.constant([1]), fc.constant({ a: 1 })), { maxLength: 3 })),
    deep: fc.oneof(fc.record({ x: value }), fc.constantFrom(3, {}, [1])),
    u: fc.nat(5),
    tags,
    contentType: fc.constantFrom('text/a', 'text/b'),
  },
  { requiredKeys: ['text'] },
);
type Row = typeof row extends fc.Arbitrary<infer R> ? R : never;

const key = fc.nat(11).map((n) => `k${n.toString(4).padStart(2, '0')}`);
const name = fc.constantFrom(...definitions.map((definition) => definition.name));
const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('put' as const), key, row }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('batch' as const),
      rows: fc.array(fc.record({ key, row: fc.option(row, { nil: undefined }) }), { maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('range' as const),
      prefix: fc.constantFrom('k', 'k0', 'k1', 'k20'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('define' as const), name, wait: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), name }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rebuild' as const), name }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('query' as const), a: value, b: value, reverse: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.nat(6) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('reopen' as const),
      how: fc.constantFrom('close' as const, 'kill' as const, 'power' as const),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function optionsOf({ n, deep, u, tags: some, contentType }: Row): PutOptions {
  const metadata = Object.fromEntries(
    Object.entries({ n, deep, u }).filter(([, item]) => item !== undefined),
  );
  return {
    ...(Object.keys(metadata).length === 0
      ? {}
      : { metadata: metadata as NonNullable<PutOptions['metadata']> }),
    ...(some === undefined ? {} : { tags: some }),
    ...(contentType === undefined ? {} : { contentType }),
  };
}

class Run {
  disk = new MemoryFileSystem();
  engine!: Engine;
  model: Model = new Map();
  /** Names that must be ready, and those that must have failed or be building. */
  readonly defined = new Set<string>();

  async open(): Promise<void> {
    this.engine = await openSmall(this.disk);
  }

  /** A unique index that is kept up refuses this model. */
  refuses(model: Model): boolean {
    if (!this.engine.indexes.list().some(({ name: other, state }) => other === 'u' && state === 'ready'))
      return false;
    const entries = entriesOf(model, byU);
    return entries.some(({ tuple }, i) => i > 0 && compareTuples(tuple, entries[i - 1]!.tuple) === 0);
  }

  async write(
    rows: readonly { key: string; row: Row | undefined }[],
    act: () => Promise<{ digest?: string }>,
  ) {
    const next: Model = new Map(this.model);
    for (const item of rows) {
      if (item.row === undefined) next.delete(item.key);
      else next.set(item.key, { ...optionsOf(item.row), size: item.row.text.length, digest: '' } as ModelRow);
    }
    const mayRefuse = this.engine.indexes
      .list()
      .some(({ name: other, state }) => other === 'u' && state !== 'failed');
    const isRefused = this.refuses(next);
    try {
      await act();
    } catch (error) {
      if (!mayRefuse || !isVarveError(error, 'VARVE_CONFLICT')) throw error;
      const entries = entriesOf(next, byU);
      const hasTwo = entries.some(
        ({ tuple }, i) => i > 0 && compareTuples(tuple, entries[i - 1]!.tuple) === 0,
      );
      expect(hasTwo, 'a unique index refuses what has two of a value').toBe(true);
      return;
    }
    expect(isRefused, 'a ready unique index lets two of a value in').toBe(false);
    for (const item of rows) {
      const made = next.get(item.key);
      if (made === undefined || item.row === undefined) continue;
      next.set(item.key, { ...made, digest: (await this.engine.stat(item.key))!.digest });
    }
    this.model = next;
  }

  async step(step: Step): Promise<void> {
    const { engine } = this;
    switch (step.do) {
      case 'put':
        return await this.write([step], () => engine.put(step.key, step.row.text, optionsOf(step.row)));
      case 'delete':
        return await this.write([{ key: step.key, row: undefined }], async () => {
          await engine.delete(step.key);
          return {};
        });
      case 'batch': {
        const rows = step.rows.filter(
          (item, i) => step.rows.findLastIndex((other) => other.key === item.key) === i,
        );
        return await this.write(rows, async () => {
          await engine.batch(
            rows.map((item) =>
              item.row === undefined
                ? { type: 'delete', key: item.key }
                : { type: 'put', key: item.key, value: item.row.text, ...optionsOf(item.row) },
            ),
          );
          return {};
        });
      }
      case 'range':
        await engine.deleteRange({ prefix: step.prefix });
        for (const other of [...this.model.keys()])
          if (other.startsWith(step.prefix)) this.model.delete(other);
        return;
      case 'define':
        return await this.build(step.name, () =>
          engine.indexes.define(definitions.find((definition) => definition.name === step.name)!, {
            wait: step.wait,
          }),
        );
      case 'rebuild':
        if (this.defined.has(step.name)) await this.build(step.name, () => engine.indexes.rebuild(step.name));
        return;
      case 'drop':
        expect(await engine.indexes.drop(step.name)).toBe(this.defined.delete(step.name));
        return;
      case 'query':
        return await this.check(step.a, step.b, step.reverse);
      case 'turns':
        for (let i = 0; i < step.count; i++) await new Promise((resolve) => setImmediate(resolve));
        return;
      case 'flush':
        return await engine.flush();
      default:
        return await this.reopen(step.how);
    }
  }

  async build(name: string, act: () => Promise<unknown>): Promise<void> {
    this.defined.add(name);
    try {
      await act();
    } catch (error) {
      if (name !== 'u' || !isVarveError(error, 'VARVE_CONFLICT')) throw error;
    }
  }

  async reopen(how: 'close' | 'kill' | 'power'): Promise<void> {
    if (how === 'close') await this.engine.close();
    else {
      const left = how === 'kill' ? this.disk.fork() : this.disk.crash(new Prng(1));
      await this.engine.close().catch(() => undefined);
      this.disk = left;
    }
    await this.open();
  }

  /** Every index that is ready, whole and in parts. */
  async check(a: IndexValue, b: IndexValue, reverse: boolean): Promise<void> {
    const { engine, model } = this;
    const list = engine.indexes.list();
    expect(list.map((info) => info.name)).toEqual([...this.defined].sort());
    for (const { name: index, state } of list) {
      if (state !== 'ready') {
        const error = await this.entries({ index, eq: a }).catch((thrown: unknown) => thrown);
        // It may have become ready in this turn.
        expect(
          Array.isArray(error) ||
            isVarveError(error, 'VARVE_NOT_READY', 'VARVE_CONFLICT', 'VARVE_INVALID_ARGUMENT'),
        ).toBe(true);
        continue;
      }
      const definition = definitions.find((other) => other.name === index)!;
      const all = entriesOf(model, definition);
      if (definition === byDigest) {
        for (const digest of ['', 'one', 'x'.repeat(50)].map((text) => sha256Hex(Buffer.from(text)))) {
          await this.same(
            { index, eq: digest, reverse },
            all.filter(({ tuple }) => tuple[0] === digest),
            reverse,
          );
        }
      } else if (definition === byHashed) {
        await this.same(
          { index, eq: ['red', a], reverse },
          all.filter(({ tuple }) => compareTuples(tuple, ['red', a]) === 0),
          reverse,
        );
      } else {
        await this.ranges(index, definition, all, a, b, reverse);
      }
    }
    await this.where(a, reverse);
  }

  async ranges(
    index: string,
    definition: IndexDefinition,
    all: readonly ModelEntry[],
    a: IndexValue,
    b: IndexValue,
    reverse: boolean,
  ): Promise<void> {
    await this.same({ index, reverse }, all, reverse);
    const first = (entry: ModelEntry): IndexValue => entry.tuple[0]!;
    await this.same(
      { index, eq: a, reverse },
      all.filter((entry) => compareValues(first(entry), a) === 0),
      reverse,
    );
    const within = all.filter(
      (entry) => compareValues(first(entry), a) > 0 && compareValues(first(entry), b) <= 0,
    );
    await this.same({ index, gt: a, lte: b, reverse }, within, reverse);
    const half = all.filter(
      (entry) => compareValues(first(entry), a) >= 0 && compareValues(first(entry), b) < 0,
    );
    await this.same({ index, gte: a, lt: b, reverse }, half, reverse);
    if (definition === byTags) {
      const red = all.filter((entry) => (first(entry) as string).startsWith('r'));
      await this.same({ index, prefix: 'r', reverse }, red, reverse);
    }
    if (definition === byPair) {
      const tuple = ['text/a', a] as const;
      await this.same(
        { index, eq: [...tuple], reverse },
        all.filter((e) => compareTuples(e.tuple, tuple) === 0),
        reverse,
      );
      const above = all.filter((e) => first(e) === 'text/a' && compareTuples(e.tuple, tuple) > 0);
      await this.same({ index, eq: ['text/a'], gt: [...tuple], reverse }, above, reverse);
    }
    await this.paged(index, all, reverse);
  }

  async entries(options: QueryOptions): Promise<string[]> {
    const found: string[] = [];
    for await (const entry of this.engine.query({ ...options, explain: false })) {
      found.push(entryText(entry.key, entry.indexKey));
      const row = this.model.get(entry.key);
      expect(row?.size, `${entry.key} has its value`).toBe(entry.value!.length);
    }
    return found;
  }

  async same(options: QueryOptions, expected: readonly ModelEntry[], reverse: boolean): Promise<void> {
    const texts = expected.map(({ tuple, key: other }) => entryText(other, tuple));
    if (reverse) texts.reverse();
    expect(await this.entries(options)).toEqual(texts);
  }

  /** Three at a time, going on by cursor. */
  async paged(index: string, all: readonly ModelEntry[], reverse: boolean): Promise<void> {
    const texts: string[] = [];
    let after: string | undefined;
    for (;;) {
      let count = 0;
      const page = { index, limit: 3, reverse, values: false, ...(after === undefined ? {} : { after }) };
      for await (const entry of this.engine.query(page)) {
        texts.push(entryText(entry.key, entry.indexKey));
        after = entry.cursor!;
        count++;
      }
      if (count < 3) break;
    }
    const expected = all.map(({ tuple, key: other }) => entryText(other, tuple));
    expect(texts).toEqual(reverse ? expected.reverse() : expected);
  }

  /** The same question with whatever indexes there are. */
  async where(a: IndexValue, reverse: boolean): Promise<void> {
    const matching = Array.from(this.model).filter(([key, row]) => {
      const meets = valuesOf(row, { metadata: 'n' }).some((other) => compareValues(other, a) >= 0);
      return meets && key.startsWith('k') && (row.tags ?? []).includes('red');
    });
    const found: string[] = [];
    const where = { prefix: 'k', tags: ['red'], metadata: { n: { gte: a } } };
    for await (const { key } of this.engine.query({ where, reverse })) found.push(key);
    expect(found.sort()).toEqual(matching.map(([key]) => key).sort());
    const bySize = matching.map(([, { size }]) => size).sort((x, y) => (reverse ? y - x : x - y));
    const sizes: number[] = [];
    for await (const { size } of this.engine.query({ where, orderBy: 'size', limit: 4, reverse }))
      sizes.push(size);
    expect(sizes).toEqual(bySize.slice(0, 4));
  }
}

test('queries equal a filter over all keys', { timeout: historiesMs() }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
      const run = new Run();
      await run.open();
      try {
        for (const one of steps) await run.step(one);
        await run.check(1, 'a', false);
        await run.reopen('kill');
        await run.check('a', Uint8Array.of(1), true);
      } finally {
        await run.engine.close();
      }
    }),
    histories(25),
  );
});
