/** Range deletes and dropped spaces, seen from outside. */
import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, codeOf, contents, keysOf, killed, newStore, openOn, text, turn } from './engine-kit.ts';

async function fill(engine: Engine, names: readonly string[], value = 'v'): Promise<void> {
  await engine.batch(names.map((key) => ({ type: 'put', key, value })));
}

/** Waits until every range is carried out. */
async function reaped(engine: Engine): Promise<void> {
  for (let i = 0; i < 10_000 && engine.stats().ranges.pending > 0; i++) await turn();
  expect(engine.stats().ranges).toMatchObject({ pending: 0, failures: 0 });
}

describe('deleteRange', () => {
  test('every read sees the range deleted at once, and keys put later', async () => {
    const { engine } = await newStore();
    await fill(engine, ['a', 'b1', 'b2', 'c']);
    const { seq } = await engine.deleteRange({ prefix: 'b' });
    expect(engine.stats().ranges.pending).toBe(1);
    expect(engine.getSync('b1')).toBeUndefined();
    expect(await engine.has('b2')).toBe(false);
    expect(await engine.stat('b1')).toBeUndefined();
    expect((await engine.getMany(['a', 'b1', 'c'])).map(text)).toEqual(['v', undefined, 'v']);
    expect(await keysOf(engine)).toEqual(['a', 'c']);
    expect(await keysOf(engine, { reverse: true })).toEqual(['c', 'a']);
    expect(await engine.delete('b2')).toBe(false);
    const put = await engine.put('b1', 'new', { ifSeq: 0 });
    expect(put.seq).toBeGreaterThan(seq);
    expect(await keysOf(engine)).toEqual(['a', 'b1', 'c']);
    await reaped(engine);
    expect(await keysOf(engine)).toEqual(['a', 'b1', 'c']);
    expect(text(engine.getSync('b1'))).toBe('new');
    expect(engine.getSync('b2')).toBeUndefined();
    expect(engine.stats().ranges).toMatchObject({ done: 1, deletes: 2 });
  });

  test('bounds are those of a scan, and stay within the space', async () => {
    const names = ['a', 'a\u0000', 'ab', 'b', 'b\u0000', 'c'];
    for (const bounds of [{ gt: 'a' }, { gte: 'ab', lt: 'b' }, { lte: 'b' }, { prefix: 'a', gt: 'a' }]) {
      const { engine } = await newStore();
      const other = engine.space('other');
      await fill(engine, names);
      await fill(other, names);
      const hit = await keysOf(engine, bounds);
      await engine.deleteRange(bounds);
      const left = names.filter((name) => !hit.includes(name));
      expect(await keysOf(engine)).toEqual(left);
      await reaped(engine);
      expect(await keysOf(engine)).toEqual(left);
      expect(await keysOf(other)).toEqual(names);
      await other.clear();
      expect(await keysOf(other)).toEqual([]);
      expect(await keysOf(engine)).toEqual(left);
    }
  });

  test('a range that nothing can match makes no commit', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.put('a', 'v');
    expect(await engine.deleteRange({ gt: 'a', lt: 'a' })).toEqual({ seq });
    expect(engine.stats().ranges.pending).toBe(0);
  });

  test('wrong arguments are refused before anything is written', async () => {
    const { engine } = await newStore();
    await engine.put('a', 'v');
    const call = (options: unknown) => codeOf(engine.deleteRange(options as { prefix: string }));
    for (const options of [undefined, null, {}, { prefix: undefined }, { prefix: 7 }, { from: 'a' }, 'a']) {
      expect(await call(options)).toBe('VARVE_INVALID_ARGUMENT');
    }
    expect(await call({ prefix: 'a', signal: AbortSignal.abort() })).toBe('VARVE_ABORTED');
    expect(await codeOf(engine.spaces.drop(''))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await keysOf(engine)).toEqual(['a']);
  });

  test('versions of before are found again neither by flush, merge nor reopening', async () => {
    const { engine, disk } = await newStore();
    const names = Array.from({ length: 3000 }, (_, i) => `k${String(i).padStart(5, '0')}`);
    await fill(engine, names);
    await engine.flush();
    await engine.put('k00007', bytesOf(1, 5000));
    await engine.deleteRange({ prefix: 'k0' });
    await engine.put('k00009', 'later');
    const killedNow = killed(disk);
    await reaped(engine);
    expect(await keysOf(engine)).toEqual(['k00009']);
    await engine.flush();
    expect(await keysOf(engine)).toEqual(['k00009']);
    await engine.close();
    for (const image of [disk, killedNow]) {
      const again = await openOn(image);
      expect(await keysOf(again)).toEqual(['k00009']);
      await reaped(again);
      expect(await keysOf(again)).toEqual(['k00009']);
      await again.close();
      const third = await openOn(image, { readOnly: true });
      expect(await keysOf(third)).toEqual(['k00009']);
      expect(third.health().ok).toBe(true);
      await third.close();
    }
  });

  test('scans and reads see the same while ranges are reaped under them', async () => {
    const { engine } = await newStore();
    const names = Array.from({ length: 2000 }, (_, i) => `k${String(i).padStart(5, '0')}`);
    await fill(engine, names);
    const before = engine.scan()[Symbol.asyncIterator]();
    expect((await before.next()).value?.key).toBe(names[0]);
    await engine.deleteRange({ gte: 'k00500' });
    const after = engine.scan()[Symbol.asyncIterator]();
    const seen: string[] = [];
    for (let entry = await after.next(); entry.done !== true; entry = await after.next()) {
      seen.push(entry.value.key);
      if (seen.length === 10) await reaped(engine);
      if (seen.length === 20) await engine.flush();
    }
    expect(seen).toEqual(names.slice(0, 500));
    let count = 1;
    for (let entry = await before.next(); entry.done !== true; entry = await before.next()) count++;
    expect(count).toBe(2000);
  });

  test('close ends the reaper, and the next open goes on', async () => {
    const { engine, disk } = await newStore();
    const names = Array.from({ length: 5000 }, (_, i) => `k${String(i).padStart(5, '0')}`);
    await fill(engine, names);
    await engine.clear();
    await engine.close();
    const again = await openOn(disk);
    expect(again.stats().ranges.pending).toBe(1);
    expect(await keysOf(again)).toEqual([]);
    await reaped(again);
    expect(await contents(again)).toEqual(new Map());
    await again.close();
  });
});

describe('dropping a space', () => {
  test('the space is empty and its name free at once', async () => {
    const { engine, disk } = await newStore();
    const one = engine.space('one');
    await fill(one, ['a', 'b']);
    await engine.put('a', 'kept');
    expect(await engine.spaces.drop('one')).toBe(true);
    expect(await engine.spaces.drop('one')).toBe(false);
    expect(engine.spaces.list()).toEqual([]);
    expect(one.getSync('a')).toBeUndefined();
    expect(await keysOf(one)).toEqual([]);
    await one.put('c', 'again', { ifSeq: 0 });
    expect(engine.spaces.list()).toEqual(['one']);
    expect(await keysOf(engine.space('one'))).toEqual(['c']);
    await engine.spaces.drop('one');
    await engine.space('two').put('x', 'y');
    await reaped(engine);
    await engine.close();
    const again = await openOn(disk);
    expect(again.spaces.list()).toEqual(['two']);
    expect(await keysOf(again.space('two'))).toEqual(['x']);
    expect(await keysOf(again.space('one'))).toEqual([]);
    expect(text(again.getSync('a'))).toBe('kept');
    await again.close();
  });

  test('a write that began before its space was dropped is refused', async () => {
    const { engine } = await newStore();
    const one = engine.space('one');
    await one.put('a', 'v');
    let goOn = (): void => undefined;
    const waits = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield bytesOf(1, 3000);
      await waits;
      yield bytesOf(2, 3000);
    }
    const put = codeOf(one.put('b', slow()));
    await turn();
    await engine.spaces.drop('one');
    goOn();
    expect(await put).toBe('VARVE_CONFLICT');
    expect(await keysOf(one)).toEqual([]);
    await one.put('b', 'v');
    expect(await keysOf(one)).toEqual(['b']);
  });
});
