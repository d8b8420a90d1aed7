import { describe, expect, test } from 'vitest';
import { codeOf, keysOf, killed, newStore, openOn, text } from './engine-kit.ts';

describe('history', () => {
  test('what is kept can be read, by number and by date, after a new open too', async () => {
    const { engine, disk, clock } = await newStore({ history: { ms: 10_000 } });
    const points: { seq: number; ms: number; value: string }[] = [];
    for (let i = 0; i < 6; i++) {
      const { seq } = await engine.put('k', `v${i}`);
      points.push({ seq, ms: clock.now(), value: `v${i}` });
      await engine.put('other', `${i}`);
      if (i === 3) await engine.flush();
      await clock.advance(100);
    }
    await engine.flush();
    await engine.compact();
    await engine.close();
    const again = await openOn(disk, {}, undefined, clock);
    for (const { seq, ms, value } of points) {
      expect(text(await again.get('k', { at: seq }))).toBe(value);
      expect(text(await again.get('k', { at: new Date(ms) }))).toBe(value);
      expect(text(await again.get('k', { at: new Date(ms + 99) }))).toBe(value);
      expect(await keysOf(again, { at: seq })).toEqual(seq === points[0]!.seq ? ['k'] : ['k', 'other']);
    }
    const [first] = points;
    expect(await codeOf(again.get('k', { at: new Date(first!.ms - 1) }))).toBe('VARVE_HISTORY_GONE');
    expect(text(await again.get('k', { at: new Date(clock.now() + 5000) }))).toBe('v5');
    await again.close();
  });

  test('without a policy only the newest state is there', async () => {
    const { engine, clock } = await newStore();
    const { seq } = await engine.put('k', 'one');
    const ms = clock.now();
    await clock.advance(10);
    await engine.put('k', 'two');
    const { seq: other } = await engine.put('l', 'x');
    expect(text(await engine.get('k', { at: other }))).toBe('two');
    expect(text(await engine.get('k', { at: new Date() }))).toBe('two');
    await engine.put('l', 'y');
    expect(await codeOf(engine.get('k', { at: other }))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(engine.get('k', { at: new Date(ms) }))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(engine.get('l', { at: seq }))).toBe('VARVE_HISTORY_GONE');
  });

  test('what is no point in time is refused', async () => {
    const { engine } = await newStore();
    await engine.put('k', 'one');
    const newest = engine.stats().seq;
    for (const at of [
      newest + 1,
      -1,
      1.5,
      Number.NaN,
      new Date(Number.NaN),
      'monday',
      {},
      { name: 'a' },
      null,
    ]) {
      expect(await codeOf(engine.get('k', { at: at as never }))).toBe('VARVE_INVALID_ARGUMENT');
    }
  });

  test('a clock that steps back brings nothing back', async () => {
    const { engine, disk, clock } = await newStore({ history: { ms: 1000 } });
    const { seq } = await engine.put('k', 'one');
    await clock.advance(100);
    await engine.put('k', 'two');
    await engine.flush();
    await clock.advance(5000);
    // Keys around the others: their tables are merged, not moved.
    await engine.put('a', 'x');
    await engine.put('z', 'x');
    await engine.flush();
    await engine.compact();
    expect(await codeOf(engine.get('k', { at: seq }))).toBe('VARVE_HISTORY_GONE');
    const disk2 = killed(disk);
    clock.ms -= 5000;
    const again = await openOn(disk2, {}, undefined, clock);
    expect(await codeOf(again.get('k', { at: seq }))).toBe('VARVE_HISTORY_GONE');
    expect(await codeOf(again.view.bind(again, { at: new Date(clock.now() - 50) }))).toBe(
      'VARVE_HISTORY_GONE',
    );
    expect(text(await again.get('k'))).toBe('two');
    await again.close();
  });

  test('the policy stays in the store until another one is asked for', async () => {
    const { engine, disk, clock } = await newStore({ history: { versions: 2 } });
    await engine.space('s', { history: { versions: 0 } }).put('k', '0');
    await engine.close();
    const again = await openOn(disk, {}, undefined, clock);
    for (let i = 0; i < 5; i++) {
      await again.put('k', `${i}`);
      await again.space('s').put('k', `${i}`);
    }
    await again.flush();
    await again.compact();
    const count = async (space: string): Promise<number> => {
      let n = 0;
      for await (const _ of (space === '' ? again : again.space(space)).versions('k')) n++;
      return n;
    };
    expect([await count(''), await count('s')]).toEqual([3, 1]);
    await again.close();
    expect(await codeOf(openOn(disk, { readOnly: true, history: { versions: 1 } }, undefined, clock))).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
    const reader = await openOn(disk, { readOnly: true, history: { versions: 2 } }, undefined, clock);
    expect(await codeOf(() => reader.space('s', { history: { versions: 7 } }))).toBe('VARVE_READ_ONLY');
    reader.space('s', { history: { versions: 0 } });
    await reader.close();
  });

  test('a policy of a space holds from the call on, and in it alone', async () => {
    const { engine } = await newStore();
    const space = engine.space('docs', { history: { versions: 3 } });
    const seqs: number[] = [];
    for (let i = 0; i < 3; i++) seqs.push((await space.put('k', `${i}`.repeat(300))).seq);
    await engine.flush();
    await engine.compact();
    expect((await Promise.all(seqs.map((at) => space.get('k', { at })))).map((v) => text(v)![0])).toEqual([
      '0',
      '1',
      '2',
    ]);
    await engine.spaces.drop('docs');
    await engine.flush();
    await engine.compact();
    expect(engine.health().ok).toBe(true);
  });
});

test('commit times never fall, also behind a clean close', async () => {
  const { engine, disk, clock } = await newStore({ history: { ms: 100_000 } });
  const { seq } = await engine.put('k', 'one');
  await engine.close();
  const closedMs = clock.ms;
  clock.ms -= 50_000;
  const again = await openOn(disk, {}, undefined, clock);
  await again.put('k', 'two');
  expect((await again.stat('k'))?.modified.getTime()).toBeGreaterThanOrEqual(closedMs);
  expect(text(await again.get('k', { at: seq }))).toBe('one');
  await again.close();
  const reader = await openOn(disk, { readOnly: true }, undefined, clock);
  expect(await codeOf(reader.get('k', { at: new Date(clock.ms - 100_000) }))).toBe('VARVE_HISTORY_GONE');
  expect(text(await reader.get('k', { at: new Date(closedMs) }))).toBe('two');
  await reader.close();
});
