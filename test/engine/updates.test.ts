import { describe, expect, test } from 'vitest';
import type { UpdateFunction } from '../../src/engine/types.ts';
import { bytesOf, codeOf, inPieces, killed, newStore, openOn, same, text } from './engine-kit.ts';

const plusOne: UpdateFunction = (old) => String(Number(text(old) ?? '0') + 1);

describe('update', () => {
  test('no update is lost, inline or in chunks, beside puts and other updates', async () => {
    for (const pad of [0, 5000]) {
      const { engine } = await newStore();
      const grow: UpdateFunction = (old) => {
        const count = old === undefined ? 0 : Number(text(old)!.slice(0, 8));
        return `${String(count + 1).padStart(8, '0')}${'x'.repeat(pad)}`;
      };
      await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          i % 2 === 0 ? engine.update('k', grow) : engine.update('k', async (old) => grow(old, undefined)),
        ),
      );
      expect(Number(text(await engine.get('k'))!.slice(0, 8))).toBe(40);
    }
  });

  test('undefined deletes, and does nothing where there is nothing', async () => {
    const { engine } = await newStore();
    const before = engine.stats().commits.count;
    expect(await engine.update('k', () => undefined)).toBeUndefined();
    expect(engine.stats().commits.count).toBe(before);
    await engine.put('k', 'x');
    expect(await engine.update('k', () => undefined)).toBeUndefined();
    expect(await engine.has('k')).toBe(false);
  });

  test('the function sees the newest value, also one on its way to the disk, and its stat', async () => {
    const { engine } = await newStore();
    const put = engine.put('k', 'first', { contentType: 'text/plain', tags: ['a'], metadata: { n: 1 } });
    const result = await engine.update('k', (old, stat) => {
      expect(text(old)).toBe('first');
      expect(stat?.contentType).toBe('text/plain');
      return 'second';
    });
    await put;
    expect(result!.seq).toBe((await engine.stat('k'))!.seq);
    const stat = (await engine.stat('k'))!;
    expect([stat.contentType, stat.tags, stat.metadata]).toEqual(['text/plain', ['a'], { n: 1 }]);
    await engine.update('k', () => 'third', { tags: ['b'], sha256: true });
    const later = (await engine.stat('k'))!;
    expect([later.contentType, later.tags, later.sha256?.length]).toEqual(['text/plain', ['b'], 64]);
    await engine.update('k', () => 'fourth');
    expect((await engine.stat('k'))!.sha256).toBeUndefined();
  });

  test('the function is called once when all is in memory, again when the key changes under it', async () => {
    const { engine } = await newStore();
    let calls = 0;
    await engine.update('k', () => {
      calls++;
      return 'x';
    });
    expect(calls).toBe(1);
    calls = 0;
    const value = bytesOf(1, 4000);
    await engine.update('k', async (old) => {
      calls++;
      if (calls === 1) await engine.put('k', 'between');
      else expect(text(old)).toBe('between');
      return value;
    });
    expect(calls).toBe(2);
    expect(same(await engine.get('k'), value)).toBe(true);
  });

  test('a function that writes to its own key is asked again', async () => {
    const { engine } = await newStore();
    let calls = 0;
    await engine.update('k', (old) => {
      calls++;
      if (calls === 1) void engine.put('k', 'mine');
      return `${text(old) ?? ''}+`;
    });
    expect(calls).toBe(2);
    expect(text(await engine.get('k'))).toBe('mine+');
  });

  test('a function that throws, or rejects, changes nothing', async () => {
    const { engine } = await newStore();
    await engine.put('k', 'kept');
    await expect(
      engine.update('k', () => {
        throw new Error('mine');
      }),
    ).rejects.toThrow('mine');
    await expect(engine.update('k', () => Promise.reject(new Error('later')))).rejects.toThrow('later');
    expect(text(await engine.get('k'))).toBe('kept');
    await engine.update('k', () => 'goes on');
  });

  test('a stream is a result like any other', async () => {
    const { engine } = await newStore();
    const value = bytesOf(3, 30_000);
    const result = await engine.update('k', () => inPieces(value, 999));
    expect(result!.size).toBe(30_000);
    expect(same(await engine.get('k'), value)).toBe(true);
    await engine.update('k', (old) => old!.subarray(0, 10_000));
    expect(same(await engine.get('k'), value.subarray(0, 10_000))).toBe(true);
  });

  test('wrong arguments are refused', async () => {
    const { engine } = await newStore();
    for (const call of [
      () => engine.update('k', 'x' as never),
      () => engine.update('k', () => 'x', { ifSeq: 0 } as never),
      () => engine.update('k', () => 7 as never),
      () => engine.increment('k', 0.5),
      () => engine.increment('k', 1, { by: 1 } as never),
      () => engine.sequence('k', { cache: 0 }),
    ]) {
      expect(await codeOf(call)).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(await codeOf(engine.update('k', () => 'x', { signal: AbortSignal.abort() }))).toBe(
      'VARVE_ABORTED',
    );
    expect(await engine.has('k')).toBe(false);
  });
});

describe('increment', () => {
  test('a thousand at once are exact and share their commits', async () => {
    const { engine } = await newStore({ inlineMax: 1024 });
    const before = engine.stats().commits;
    const sums = await Promise.all(Array.from({ length: 1000 }, () => engine.increment('n')));
    expect(sums).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
    expect(text(await engine.get('n'))).toBe('1000');
    expect(engine.stats().commits.syncs - before.syncs).toBeLessThan(10);
  });

  test('it counts down, from what is there, and keeps metadata', async () => {
    const { engine } = await newStore();
    await engine.put('n', '-5', { tags: ['t'] });
    expect(await engine.increment('n', -2)).toBe(-7);
    expect((await engine.stat('n'))!.tags).toEqual(['t']);
    expect(await engine.increment('n', 0)).toBe(-7);
  });

  test('what is no integer, or too large, is refused and stays', async () => {
    const { engine } = await newStore();
    for (const wrong of ['x', '', '1.5', '1e3', ' 1', '9'.repeat(17), '99999999999999999', '0x10']) {
      await engine.put('n', wrong);
      expect(await codeOf(engine.increment('n'))).toBe('VARVE_INVALID_ARGUMENT');
      expect(text(await engine.get('n'))).toBe(wrong);
    }
    await engine.put('n', String(Number.MAX_SAFE_INTEGER));
    expect(await codeOf(engine.increment('n'))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await engine.increment('n', -1)).toBe(Number.MAX_SAFE_INTEGER - 1);
  });

  test('it reads what is only on the disk', async () => {
    const { disk, engine } = await newStore();
    await engine.put('n', '41');
    await engine.flush();
    await engine.close();
    const again = await openOn(disk, { memory: { blockCacheBytes: 0 } });
    expect(await Promise.all([again.increment('n'), again.increment('n'), again.increment('n')])).toEqual([
      42, 43, 44,
    ]);
    await again.close();
  });

  test('updates wait for each other where a value is large, and the queue is empty afterwards', async () => {
    const { engine } = await newStore({ inlineMax: 0 });
    const sums = await Promise.all(Array.from({ length: 20 }, () => engine.increment('n')));
    expect(sums).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    await engine.update('n', plusOne);
    expect(text(await engine.get('n'))).toBe('21');
  });
});

describe('sequence', () => {
  test('numbers are unique, also over crashes, and blocks take one commit', async () => {
    const { disk, engine } = await newStore();
    const before = engine.stats().commits.count;
    const first = await Promise.all(Array.from({ length: 95 }, () => engine.sequence('ids', { cache: 100 })));
    expect(first).toEqual(Array.from({ length: 95 }, (_, i) => i + 1));
    for (let i = 96; i <= 100; i++) expect(await engine.sequence('ids', { cache: 100 })).toBe(i);
    expect(engine.stats().commits.count - before).toBeLessThanOrEqual(2);
    const crashed = await openOn(killed(disk));
    expect(await crashed.sequence('ids')).toBeGreaterThan(100);
    await crashed.close();
  });

  test('without a cache calls at the same time share a commit and no number is skipped', async () => {
    const { engine } = await newStore();
    const before = engine.stats().commits.count;
    const numbers = await Promise.all(Array.from({ length: 200 }, () => engine.sequence('ids')));
    expect(new Set(numbers).size).toBe(200);
    expect(Math.max(...numbers)).toBe(200);
    expect(engine.stats().commits.count - before).toBeLessThanOrEqual(3);
    expect(text(await engine.get('ids'))).toBe('200');
  });

  test('sequences of spaces are their own; a key that is no number is refused for all who wait', async () => {
    const { engine } = await newStore();
    expect(await engine.sequence('a')).toBe(1);
    expect(await engine.space('s').sequence('a')).toBe(1);
    await engine.put('b', 'no number');
    const calls = [engine.sequence('b'), engine.sequence('b')];
    for (const call of calls) expect(await codeOf(call)).toBe('VARVE_INVALID_ARGUMENT');
    await engine.delete('b');
    expect(await engine.sequence('b')).toBe(1);
  });

  test('numbers beyond 2^53 - 1 are never given out, and nothing is changed by trying', async () => {
    const { engine } = await newStore();
    const most = Number.MAX_SAFE_INTEGER;
    await engine.put('n', String(most - 1));
    expect(await engine.sequence('n')).toBe(most);
    for (const call of [
      () => engine.sequence('n'),
      () => engine.increment('n'),
      () => engine.increment('n', most),
      () => engine.increment('n', 2 ** 53),
      () => engine.sequence('n', { cache: null as never }),
      () => engine.sequence('n', { cache: 0 }),
    ]) {
      expect(await codeOf(call)).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(text(await engine.get('n'))).toBe(String(most));
    expect(await engine.increment('n', -most)).toBe(0);
    expect(await engine.increment('n', -most)).toBe(-most);
    expect(await codeOf(engine.increment('n', -1))).toBe('VARVE_INVALID_ARGUMENT');
  });
});
