import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, codeOf, collect, newStore, same, text, turn } from './engine-kit.ts';

describe('read views', () => {
  test('a view gives the same bytes as long as it lives', async () => {
    const { engine } = await newStore();
    const value = bytesOf(1, 50_000);
    await engine.put('big', value, { tags: ['t'] });
    await engine.put('small', 'one');
    const view = engine.view();
    for (let round = 0; round < 3; round++) {
      await engine.put('big', bytesOf(round + 2, 40_000));
      await engine.put('small', `${round}`);
      await engine.put(`new${round}`, 'x');
      await engine.deleteRange({ gte: 'new' });
      await engine.flush();
      await engine.compact();
      expect(same(await view.get('big'), value)).toBe(true);
      expect(same(view.getSync('big'), value)).toBe(true);
      expect(
        same(await collect(view.stream('big', { start: 100, end: 30_000 })), value.subarray(100, 30_000)),
      ).toBe(true);
      expect((await view.getMany(['small', 'new0'])).map(text)).toEqual(['one', undefined]);
      expect([await view.has('big'), await view.has('new0')]).toEqual([true, false]);
      expect(await view.stat('big')).toMatchObject({ size: 50_000, tags: ['t'] });
      const keys: string[] = [];
      for await (const { key } of view.scan({ values: false })) keys.push(key);
      expect(keys).toEqual(['big', 'small']);
      expect(text(await engine.get('small', { at: view.seq }))).toBe('one');
    }
    expect(engine.stats().history).toMatchObject({ views: 1 });
    view.close();
    view.close();
    expect(await codeOf(view.get('big'))).toBe('VARVE_CLOSED');
    expect(await codeOf(() => view.getSync('big'))).toBe('VARVE_CLOSED');
    expect(await codeOf(() => view.scan())).toBe('VARVE_CLOSED');
    expect(await codeOf(() => view.space('s'))).toBe('VARVE_CLOSED');
    expect(engine.stats().history).toMatchObject({ views: 0 });
  });

  test('a view that is too old is refused', async () => {
    const { engine, clock } = await newStore({ maxViewAgeMs: 1000 });
    const { seq } = await engine.put('k', 'one');
    const view = engine.view();
    await engine.put('k', 'two');
    await engine.put('l', 'three');
    const left = view.scan()[Symbol.asyncIterator]();
    await clock.advance(1000);
    expect(text(await view.get('k'))).toBe('one');
    await clock.advance(1);
    expect(await codeOf(view.get('k'))).toBe('VARVE_SNAPSHOT_EXPIRED');
    expect(await codeOf(left.next())).toBe('VARVE_SNAPSHOT_EXPIRED');
    await left.return?.();
    await engine.flush();
    await engine.put('m', 'four');
    await engine.flush();
    await engine.compact();
    expect(await codeOf(engine.get('k', { at: seq }))).toBe('VARVE_HISTORY_GONE');
  });

  test('a view that is forgotten is released and reported', async () => {
    const warnings: { message: string; fields: object | undefined }[] = [];
    const logger = { warn: (message: string, fields?: object) => warnings.push({ message, fields }) };
    const { engine } = await newStore({ logger });
    await engine.put('k', 'one');
    const face = openAndForget(engine);
    setFlagsFromString('--expose-gc');
    const collectNow = runInNewContext('gc') as () => void;
    for (let i = 0; i < 5; i++) {
      collectNow();
      await turn();
    }
    // A face for another space is as good as the first one.
    expect([warnings.length, engine.stats().history.views]).toEqual([1, 1]);
    expect(warnings[0]).toMatchObject({ message: expect.stringContaining('forgotten'), fields: { seq: 2 } });
    expect((warnings[0]!.fields as { openedAt: string }).openedAt).toContain('openAndForget');
    expect(await face.get('k')).toBe(undefined);
    face.close();
  });

  test('options and the engine are checked', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.put('k', 'one');
    await engine.put('k', 'two');
    expect(await codeOf(() => engine.view({ at: seq }))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(() => engine.view({ at: 1, snapshot: 'a' }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(() => engine.view({ seq } as object))).toBe('VARVE_INVALID_ARGUMENT');
    const view = engine.view();
    expect(await codeOf(view.get('k', { at: seq } as object))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(() => view.scan({ at: seq } as object))).toBe('VARVE_INVALID_ARGUMENT');
    const scan = view.scan()[Symbol.asyncIterator]();
    view.close();
    expect(await codeOf(scan.next())).toBe('VARVE_CLOSED');
    await engine.close();
    expect(await codeOf(() => engine.view())).toBe('VARVE_CLOSED');
  });

  test('what is no key is refused also where the space was not there', async () => {
    const { engine } = await newStore();
    await engine.snapshots.create('before');
    await engine.space('s').put('k', 'v');
    const at = { snapshot: 'before' };
    const view = engine.view(at).space('s');
    expect(await view.getMany(['k'])).toEqual([undefined]);
    const space = engine.space('s');
    for (const call of [
      () => view.get(5 as never),
      () => view.getSync(5 as never),
      () => view.has(null as never),
      () => view.stat('x'.repeat(65_536)),
      () => view.getMany(null as never),
      () => view.getMany(['k', 5 as never]),
      () => view.scan(null as never),
      () => view.query(null as never),
      () => space.get(5 as never, { at }),
      () => space.stat(5 as never, { at }),
      () => engine.scan(null as never),
    ]) {
      expect(await codeOf(call as () => unknown)).toBe('VARVE_INVALID_ARGUMENT');
    }
  });
});

/** One view whose only face goes, and one that lives on in a face for another space. */
function openAndForget(engine: Engine) {
  engine.view();
  return engine.view().space('s');
}
