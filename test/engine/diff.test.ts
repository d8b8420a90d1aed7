import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { At } from '../../src/engine/history/point.ts';
import { codeOf, newStore } from './engine-kit.ts';

async function changes(engine: Engine, from: At, to: At, prefix?: string): Promise<string[]> {
  const out: string[] = [];
  for await (const { key, change, before, after } of engine.diff(
    from,
    to,
    prefix === undefined ? {} : { prefix },
  )) {
    out.push(`${change} ${key} ${before?.size ?? '-'} ${after?.size ?? '-'}`);
  }
  return out;
}

describe('diff', () => {
  test('a diff equals that of the two maps, both ways, with a prefix, against the newest', async () => {
    const { engine } = await newStore();
    await engine.batch(['a', 'b', 'p/1', 'p/2'].map((key) => ({ type: 'put', key, value: 'x' })));
    await engine.snapshots.create('one');
    await engine.put('b', 'yy');
    await engine.delete('p/1');
    await engine.put('p/3', 'zzz');
    await engine.snapshots.create('two');
    const [one, two] = [{ snapshot: 'one' }, { snapshot: 'two' }];
    expect(await changes(engine, one, two)).toEqual(['changed b 1 2', 'removed p/1 1 -', 'added p/3 - 3']);
    expect(await changes(engine, two, one)).toEqual(['changed b 2 1', 'added p/1 - 1', 'removed p/3 3 -']);
    expect(await changes(engine, one, two, 'p/')).toEqual(['removed p/1 1 -', 'added p/3 - 3']);
    expect(await changes(engine, two, engine.stats().seq)).toEqual([]);
    await engine.clear();
    expect(await changes(engine, two, engine.stats().seq)).toHaveLength(4);
  });

  test('a space that was dropped and made again is another one', async () => {
    const { engine } = await newStore();
    await engine.space('s').put('a', '1');
    await engine.space('s').put('b', '1');
    await engine.snapshots.create('one');
    await engine.spaces.drop('s');
    await engine.snapshots.create('none');
    await engine.space('s').put('b', '22');
    const space = engine.space('s');
    const now = engine.stats().seq;
    expect(await changes(space, { snapshot: 'one' }, now)).toEqual(['removed a 1 -', 'changed b 1 2']);
    expect(await changes(space, { snapshot: 'none' }, now)).toEqual(['added b - 2']);
    expect(await changes(space, { snapshot: 'one' }, { snapshot: 'none' })).toHaveLength(2);
  });

  test('after merges the blocks without a change are not read', async () => {
    const { engine } = await newStore();
    const ops = Array.from(
      { length: 3000 },
      (_, i) => ({ type: 'put', key: `k${i}`, value: 'v'.repeat(40) }) as const,
    );
    await engine.batch(ops);
    await engine.flush();
    await engine.snapshots.create('one');
    await engine.put('k77', 'x');
    await engine.put('k2000', 'y');
    await engine.snapshots.create('two');
    await engine.flush();
    await engine.compact();
    const reads = async (from: At, to: At): Promise<[number, number]> => {
      engine.dropCaches();
      const before = engine.stats().memory.blockCache.misses;
      const found = await changes(engine, from, to);
      return [found.length, engine.stats().memory.blockCache.misses - before];
    };
    const [found, misses] = await reads({ snapshot: 'one' }, { snapshot: 'two' });
    expect(found).toBe(2);
    engine.dropCaches();
    const all = engine.stats().memory.blockCache.misses;
    // Backwards: a long scan forwards reads ahead, past the cache.
    for await (const _ of engine.scan({ reverse: true, values: false }));
    expect(misses).toBeLessThan((engine.stats().memory.blockCache.misses - all) / 2);
  });

  test('a point that is not kept is refused, and arguments are checked at the call', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.put('a', '1');
    await engine.put('a', '2');
    const now = engine.stats().seq;
    expect(await codeOf(() => engine.diff(seq, now))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(() => engine.diff(now + 1, now))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(() => engine.diff(now, { snapshot: 'no' }))).toBe('VARVE_NOT_FOUND');
    expect(await codeOf(() => engine.diff(now, now, { limit: 1 } as object))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('a second loop asks for both states again', async () => {
    const { engine } = await newStore();
    await engine.put('a', '1');
    await engine.snapshots.create('one');
    const then = engine.stats().seq;
    await engine.put('a', '22');
    const found = async (diff: ReturnType<Engine['diff']>): Promise<unknown[]> => {
      const sizes: unknown[] = [];
      for await (const { before, after } of diff) sizes.push([before?.size, after?.size]);
      return sizes;
    };
    const now = engine.stats().seq;
    const diff = engine.diff({ snapshot: 'one' }, now);
    const view = engine.view({ at: then });
    const gone = engine.diff(then, now);
    view.close();
    await engine.put('a', '333');
    await engine.snapshots.delete('one');
    await engine.compact();
    expect(await found(gone)).toEqual([[1, 2]]);
    expect(await found(diff)).toEqual([[1, 2]]);
    await engine.compact();
    expect(await codeOf(found(gone))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(found(diff))).toBe('VARVE_NOT_FOUND');
  });
});
