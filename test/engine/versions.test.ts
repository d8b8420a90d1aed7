import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import { codeOf, newStore, text } from './engine-kit.ts';

async function listed(engine: Engine, key: string): Promise<[number | 'deleted', string][]> {
  const out: [number | 'deleted', string][] = [];
  for await (const { deleted, size, keptBy } of engine.versions(key)) {
    out.push([deleted ? 'deleted' : size, keptBy.join(' ')]);
  }
  return out;
}

describe('versions', () => {
  test('each version says why it is kept', async () => {
    const { engine, clock } = await newStore({ history: { versions: 1, ms: 1000 } });
    const { seq } = await engine.put('k', '1', { tags: ['t'], metadata: { n: 1 } });
    await engine.snapshots.create('first');
    await engine.put('k', '22');
    const view = engine.view();
    await engine.delete('k');
    await engine.put('k', '4444');
    expect(await listed(engine, 'k')).toEqual([
      [4, 'current'],
      ['deleted', 'history.versions history.ms'],
      [2, 'history.ms view'],
      [1, 'history.ms snapshot:first'],
    ]);
    await clock.advance(2000);
    await engine.flush();
    await engine.put('other', 'x');
    await engine.flush();
    await engine.compact();
    expect(await listed(engine, 'k')).toEqual([
      [4, 'current'],
      ['deleted', 'history.versions'],
      [2, 'view'],
      [1, 'snapshot:first'],
    ]);
    expect(text(await engine.get('k', { at: seq }))).toBe('1');
    expect(await engine.stat('k', { at: seq })).toMatchObject({ tags: ['t'], metadata: { n: 1 } });
    view.close();
    await engine.snapshots.delete('first');
    await engine.put('k', '55555');
    await engine.flush();
    await engine.compact();
    expect(await listed(engine, 'k')).toEqual([
      [5, 'current'],
      [4, 'history.versions history.ms'],
    ]);
    expect(await listed(engine, 'none')).toEqual([]);
  });

  test('a range delete is a deletion of each key', async () => {
    const { engine } = await newStore({ history: { versions: 5 } });
    await engine.put('a', '1');
    await engine.put('b', '1');
    await engine.delete('b');
    const { seq } = await engine.deleteRange({ gte: 'a' });
    await engine.put('a', '22');
    for (let round = 0; round < 2; round++) {
      expect((await listed(engine, 'a')).map(([size]) => size)).toEqual([2, 'deleted', 1]);
      expect((await listed(engine, 'b')).map(([size]) => size)).toEqual(['deleted', 1]);
      expect(await engine.has('a', { at: seq })).toBe(false);
      await engine.flush();
      await engine.compact();
    }
  });

  test('a deletion can be read, and other numbers cannot', async () => {
    const { engine } = await newStore({ history: { versions: 5 } });
    const { seq } = await engine.put('k', '1');
    await engine.delete('k');
    const deletedAt = engine.stats().seq;
    await engine.put('l', '1');
    const between = engine.stats().seq;
    await engine.put('k', '2');
    expect(text(await engine.get('k', { at: seq }))).toBe('1');
    expect(await engine.get('k', { at: deletedAt })).toBe(undefined);
    expect(await engine.has('k', { at: deletedAt })).toBe(false);
    for (const call of [
      engine.get('k', { at: between }),
      engine.stat('k', { at: between }),
      engine.getMany(['l', 'k'], { at: between }),
      engine.stream('k', { at: between }).getReader().read(),
    ]) {
      expect(await codeOf(call)).toBe('VARVE_HISTORY_GONE');
    }
    expect(await codeOf(() => engine.scan({ at: between }))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(() => engine.versions('k', { limit: 1 } as object))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('what only a loop under way keeps is not told to be on its way out', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.put('k', '1');
    const scan = engine.scan()[Symbol.asyncIterator]();
    await engine.put('k', '2');
    await engine.compact();
    const kept: unknown[] = [];
    for await (const version of engine.versions('k')) kept.push([version.seq, version.keptBy]);
    expect(kept.at(-1)).toEqual([seq, ['view']]);
    expect(text((await scan.next()).value!.value)).toBe('1');
    await scan.return?.();
    await engine.compact();
    const left: number[] = [];
    for await (const version of engine.versions('k')) left.push(version.seq);
    expect(left).not.toContain(seq);
  });
});
