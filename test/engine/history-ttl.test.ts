import { expect, test } from 'vitest';
import { keysOf, newStore, text } from './engine-kit.ts';

test('expiry is judged by the moment of the reader', async () => {
  const { engine, clock } = await newStore({ history: { versions: 3, ms: 100_000 } });
  const { seq } = await engine.put('k', 'short', { ttlMs: 1000 });
  await engine.put('stays', 'x');
  await engine.snapshots.create('alive');
  const view = engine.view();
  const before = new Date(clock.now() + 500);
  expect((await engine.stat('k'))?.expires).toEqual(new Date(clock.now() + 1000));
  await clock.advance(2000);
  expect([await engine.get('k'), engine.getSync('k'), await engine.has('k')]).toEqual([
    undefined,
    undefined,
    false,
  ]);
  expect(await engine.stat('k')).toBe(undefined);
  expect(await engine.getMany(['k'])).toEqual([undefined]);
  expect(await keysOf(engine)).toEqual(['stays']);
  expect(await keysOf(engine, { reverse: true })).toEqual(['stays']);
  for (let round = 0; round < 2; round++) {
    // A view and a snapshot go by their own moment, a number by commits alone.
    expect(text(await view.get('k'))).toBe('short');
    expect(text(await engine.get('k', { at: { snapshot: 'alive' } }))).toBe('short');
    expect(text(await engine.get('k', { at: seq }))).toBe('short');
    expect(text(await engine.get('k', { at: before }))).toBe('short');
    expect(await keysOf(engine, { at: before })).toEqual(['k', 'stays']);
    expect(await engine.get('k', { at: new Date(clock.now()) })).toBe(undefined);
    await engine.flush();
    await engine.compact();
  }
  view.close();
});
