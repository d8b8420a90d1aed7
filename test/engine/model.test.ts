/** The whole engine against a map, over a disk in memory. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { ScanOptions } from '../../src/engine/types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, collect, killed, openOn, same, text } from './engine-kit.ts';

interface Row {
  readonly value: Uint8Array;
  readonly seq: number;
}
type Model = Map<string, Map<string, Row>>;

const keys = [
  '',
  'a',
  'a/',
  'a/b',
  'a/b/c',
  'a/c',
  'a\u0000',
  'a\u0000b',
  'b',
  'b//x',
  'é',
  '\uffff',
  '\u{10000}',
  'z'.repeat(300),
];
const spaces = ['', 'one', 'two'];
const key = fc.constantFrom(...keys);
const space = fc.constantFrom('', '', '', ...spaces);
/** A value by its recipe, so that a counterexample can be read. */
const value = fc.record({
  seed: fc.nat(12),
  length: fc.constantFrom(0, 1, 39, 40, 41, 64, 300, 1024, 1025, 5000, 20_000),
});
type Recipe = typeof value extends fc.Arbitrary<infer R> ? R : never;
const made = ({ seed, length }: Recipe): Uint8Array => bytesOf(seed, length);
const change = fc.record({ key, value: fc.option(value, { nil: undefined }) });
const bound = fc.option(key, { nil: undefined, freq: 2 });

const scanOptions = fc.record({
  prefix: fc.option(fc.constantFrom('', 'a', 'a/', 'b', 'q'), { nil: undefined }),
  gt: bound,
  gte: bound,
  lt: bound,
  lte: bound,
  reverse: fc.boolean(),
  limit: fc.option(fc.nat(6), { nil: undefined }),
  delimiter: fc.option(fc.constantFrom('/', '//', 'b'), { nil: undefined }),
  after: bound,
});

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), space, key, value, how: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), space, key }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('batch' as const),
      space,
      changes: fc.array(change, { maxLength: 5 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('scan' as const), space, options: scanOptions }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('range' as const),
      space,
      key,
      start: fc.nat(6000),
      length: fc.nat(6000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('reopen' as const), how: fc.constantFrom('close', 'kill') }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reader' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** What a scan of the model yields: keys, and folded prefixes marked with '*'. */
function expectedScan(rows: ReadonlyMap<string, Row>, options: ScanOptions): string[] {
  const { prefix = '', delimiter, reverse, limit, after } = options;
  const of = (bound: unknown): string => bound as string;
  let names = Array.from(rows.keys())
    .sort(order)
    .filter((name) => name.startsWith(of(prefix)));
  if (options.gt !== undefined) names = names.filter((name) => order(name, of(options.gt)) > 0);
  if (options.gte !== undefined) names = names.filter((name) => order(name, of(options.gte)) >= 0);
  if (options.lt !== undefined) names = names.filter((name) => order(name, of(options.lt)) < 0);
  if (options.lte !== undefined) names = names.filter((name) => order(name, of(options.lte)) <= 0);
  if (reverse === true) names.reverse();
  const fold = (name: string): string | undefined => {
    if (delimiter === undefined) return undefined;
    const at = Buffer.from(name).indexOf(Buffer.from(delimiter), Buffer.from(of(prefix)).length);
    if (at < 0) return undefined;
    return Buffer.from(name)
      .subarray(0, at + Buffer.from(delimiter).length)
      .toString();
  };
  if (after !== undefined) {
    const last = of(after);
    const folded = fold(last);
    names = names.filter((name) => {
      if (folded === last && name.startsWith(last)) return false;
      return reverse === true ? order(name, last) < 0 : order(name, last) > 0;
    });
  }
  const found: string[] = [];
  for (const name of names) {
    const folded = fold(name);
    const shown = folded === undefined ? name : `${folded}*`;
    if (found.at(-1) !== shown) found.push(shown);
  }
  return found.slice(0, limit ?? found.length);
}

class Run {
  disk = new MemoryFileSystem();
  engine!: Engine;
  readonly model: Model = new Map();
  lastSeq = 0;

  async open(): Promise<void> {
    this.engine = await openOn(this.disk, {}, 8192);
  }

  space(name: string): Engine {
    return name === '' ? this.engine : this.engine.space(name);
  }

  rows(name: string): Map<string, Row> {
    let rows = this.model.get(name);
    if (rows === undefined) {
      rows = new Map();
      this.model.set(name, rows);
    }
    return rows;
  }

  took(seq: number): number {
    expect(seq).toBeGreaterThan(this.lastSeq);
    this.lastSeq = seq;
    return seq;
  }

  async step(step: Step): Promise<void> {
    if (step.do === 'put') await this.put(step);
    else if (step.do === 'delete') {
      const had = this.rows(step.space).delete(step.key);
      expect(await this.space(step.space).delete(step.key)).toBe(had);
    } else if (step.do === 'batch') await this.batch(step);
    else if (step.do === 'scan') await this.scan(step);
    else if (step.do === 'range') await this.range(step);
    else if (step.do === 'flush') await this.engine.flush();
    else if (step.do === 'reader') await this.reader();
    else {
      const disk = killed(this.disk);
      await this.engine.close();
      if (step.how === 'kill') this.disk = disk;
      await this.open();
      await this.check(this.engine);
    }
  }

  async put({ space, key, value: recipe, how }: Extract<Step, { do: 'put' }>): Promise<void> {
    const value = made(recipe);
    const rows = this.rows(space);
    const ifSeq = how === 1 ? { ifSeq: rows.get(key)?.seq ?? 0 } : {};
    const given = how === 2 ? pieces(value) : value.slice();
    const put = this.space(space).put(key, given, ifSeq);
    if (given instanceof Uint8Array) given.fill(0xee);
    const { seq, size } = await put;
    expect(size).toBe(value.length);
    rows.set(key, { value, seq: this.took(seq) });
  }

  async batch({ space, changes }: Extract<Step, { do: 'batch' }>): Promise<void> {
    const rows = this.rows(space);
    const last = new Map(changes.map(({ key, value }) => [key, value]));
    const effect = Array.from(last).some(([key, value]) => value !== undefined || rows.has(key));
    const { seq } = await this.space(space).batch(
      changes.map(({ key, value }) =>
        value === undefined ? { type: 'delete', key } : { type: 'put', key, value: made(value) },
      ),
    );
    if (!effect) return;
    this.took(seq);
    for (const [key, value] of last) {
      if (value === undefined) rows.delete(key);
      else rows.set(key, { value: made(value), seq });
    }
  }

  async scan({ space, options }: Extract<Step, { do: 'scan' }>): Promise<void> {
    const rows = this.rows(space);
    const found: string[] = [];
    for await (const entry of this.space(space).scan({ ...options, stats: true })) {
      if (entry.key === undefined) {
        found.push(`${entry.prefix}*`);
        continue;
      }
      found.push(entry.key);
      const row = rows.get(entry.key)!;
      expect([entry.seq, entry.size, entry.stat!.seq]).toEqual([row.seq, row.value.length, row.seq]);
      expect(same(entry.value, row.value)).toBe(true);
    }
    expect(found).toEqual(expectedScan(rows, options));
  }

  async range({ space, key, start, length }: Extract<Step, { do: 'range' }>): Promise<void> {
    const row = this.rows(space).get(key);
    if (row === undefined) return;
    const end = start + length;
    const got = await collect(
      this.space(space).stream(key, { start: Math.min(start, row.value.length), end: Math.max(end, start) }),
    );
    expect(same(got, row.value.subarray(Math.min(start, row.value.length), end))).toBe(true);
  }

  async reader(): Promise<void> {
    const reader = await openOn(this.disk, { readOnly: true });
    expect(reader.health()).toMatchObject({ ok: true, damage: [], readOnly: true });
    await this.check(reader);
    await reader.close();
  }

  async check(engine: Engine): Promise<void> {
    expect(engine.health().damage).toEqual([]);
    const named = spaces.filter((name) => name !== '' && (this.model.get(name)?.size ?? 0) > 0);
    for (const name of named) expect(engine.spaces.list()).toContain(name);
    for (const name of spaces) {
      const rows = this.rows(name);
      const one = name === '' ? engine : engine.space(name);
      const values = await one.getMany(keys);
      for (const [i, key] of keys.entries()) {
        expect(same(values[i], rows.get(key)?.value), `${name}/${key}`).toBe(true);
        expect(same(one.getSync(key), rows.get(key)?.value)).toBe(true);
        expect((await one.stat(key))?.seq).toBe(rows.get(key)?.seq);
      }
    }
  }
}

async function* pieces(value: Uint8Array): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(0);
  for (let at = 0; at < value.length; at += 777) yield value.subarray(at, at + 777);
}

test('the engine equals a map per space under any calls, checkpoints, closes and kills', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      const run = new Run();
      await run.open();
      for (const step of steps) await run.step(step);
      await run.check(run.engine);
      await run.engine.close();
      await run.open();
      await run.check(run.engine);
      await run.engine.close();
    }),
    { numRuns: 40 },
  );
});

test('values of every form come back through get, getSync, getMany and stream', async () => {
  const run = new Run();
  await run.open();
  for (const length of [0, 1, 40, 41, 1024, 16_000, 200_000, 1_500_000]) {
    const value = bytesOf(length, length);
    await run.engine.put('k', value);
    expect(same(await run.engine.get('k'), value)).toBe(true);
    expect(same(run.engine.getSync('k'), value)).toBe(true);
    expect(same((await run.engine.getMany(['k']))[0], value)).toBe(true);
    expect(same(await collect(run.engine.stream('k')), value)).toBe(true);
  }
  expect(text(await run.engine.get('absent'))).toBeUndefined();
  await run.engine.close();
});
