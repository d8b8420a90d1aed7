import { expect, test } from 'vitest';
import type { ScanOptions } from '../../src/engine/types.ts';
import { bytesOf, codeOf, keysOf, newStore, openOn, text } from './engine-kit.ts';

test('a scan returns what was there at the call, whatever is written meanwhile', async () => {
  const { engine } = await newStore();
  for (const key of ['a', 'b', 'c', 'd']) await engine.put(key, key);
  for (const reverse of [false, true]) {
    const scan = engine.scan({ reverse });
    await engine.put('a', 'changed');
    await engine.delete('b');
    await engine.put('bb', 'new');
    const found: string[] = [];
    for await (const entry of scan) {
      if (entry.key === undefined) continue;
      found.push(`${entry.key}=${text(entry.value)}`);
      if (entry.key === 'c') {
        await engine.put('d', 'changed');
        await engine.put('e', 'new');
        await engine.flush();
      }
    }
    const expected = ['a=a', 'b=b', 'c=c', 'd=d'];
    expect(found).toEqual(reverse ? expected.reverse() : expected);
    await engine.batch([
      ...['a', 'b', 'c', 'd'].map((key) => ({ type: 'put', key, value: key }) as const),
      { type: 'delete', key: 'bb' },
      { type: 'delete', key: 'e' },
    ]);
  }
});

test('after continues exactly behind a key or a folded prefix, in both directions', async () => {
  const { engine } = await newStore();
  const keys = ['', 'a', 'a/', 'a/1', 'a/2', 'a0', 'b/x', 'b/y/z', 'c'];
  for (const key of keys) await engine.put(key, key);
  for (const options of [
    {},
    { delimiter: '/' },
    { delimiter: '/', prefix: 'a' },
    { prefix: 'b/', delimiter: '/' },
  ]) {
    for (const reverse of [false, true]) {
      const whole = await keysOf(engine, { ...options, reverse });
      const paged: string[] = [];
      let after: string | undefined;
      for (;;) {
        const page = await keysOf(engine, {
          ...options,
          reverse,
          limit: 2,
          ...(after === undefined ? {} : { after }),
        });
        if (page.length === 0) break;
        paged.push(...page);
        after = page.at(-1)!.replace('*', '');
      }
      expect(paged).toEqual(whole);
    }
  }
  expect(await keysOf(engine, { delimiter: '/' })).toEqual(['', 'a', 'a/*', 'a0', 'b/*', 'c']);
});

test('a key overwritten many times is passed over, forward and backward', async () => {
  const { engine } = await newStore();
  for (let i = 0; i < 50; i++) await engine.put('b', `${i}`);
  await engine.put('a', 'x');
  await engine.put('c', 'x');
  for (let i = 0; i < 30; i++) {
    await engine.put('gone', `${i}`);
    await engine.delete('gone');
  }
  expect(await keysOf(engine)).toEqual(['a', 'b', 'c']);
  expect(await keysOf(engine, { reverse: true })).toEqual(['c', 'b', 'a']);
  await engine.flush();
  expect(await keysOf(engine, { reverse: true, limit: 2 })).toEqual(['c', 'b']);
});

test('values and stats are given as asked', async () => {
  const { engine } = await newStore();
  const { seq } = await engine.put('k', bytesOf(1, 3000), { tags: ['t'] });
  const entries = async (options: ScanOptions) => {
    const found: object[] = [];
    for await (const entry of engine.scan(options)) found.push(entry);
    return found;
  };
  expect(await entries({ values: false })).toEqual([{ key: 'k', seq, size: 3000 }]);
  const [entry] = await entries({ stats: true });
  expect(entry).toMatchObject({ key: 'k', seq, size: 3000, stat: { seq, tags: ['t'], size: 3000 } });
  expect(await entries({ limit: 0 })).toEqual([]);
});

test('keyEncoding decides what keys come back as, and never loses one', async () => {
  const { engine, disk } = await newStore();
  await engine.put('text', '1');
  await engine.put(Uint8Array.of(0xff), '2');
  expect(await codeOf(keysOf(engine))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await keysOf(engine, { lt: Uint8Array.of(0xff) })).toEqual(['text']);
  await engine.close();
  const bytes = await openOn(disk, { keyEncoding: 'bytes' });
  const keys: Uint8Array[] = [];
  for await (const entry of bytes.scan<Uint8Array>()) if (entry.key !== undefined) keys.push(entry.key);
  expect(keys.map((key) => Array.from(key))).toEqual([Array.from(Buffer.from('text')), [0xff]]);
  await bytes.close();
});

test('bad options are refused at the call', async () => {
  const { engine } = await newStore();
  const bad = [
    { limt: 1 },
    { limit: -1 },
    { limit: 1.5 },
    { reverse: 1 },
    { delimiter: '' },
    { delimiter: 5 },
    { gt: 5 },
  ];
  for (const options of [...bad, { values: 'no' }, { after: '\ud800' }]) {
    expect(await codeOf(() => engine.scan(options as ScanOptions))).toBe('VARVE_INVALID_ARGUMENT');
  }
});

test('a scan that breaks, fails, is aborted or is left releases its tables', async () => {
  const { engine, disk } = await newStore();
  for (let i = 0; i < 20; i++) await engine.put(`k${i}`, bytesOf(i, 100));
  await engine.flush();
  for await (const _ of engine.scan()) break;
  const abort = new AbortController();
  const aborted = async (): Promise<void> => {
    for await (const _ of engine.scan({ signal: abort.signal })) abort.abort();
  };
  expect(await codeOf(aborted())).toBe('VARVE_ABORTED');
  const failed = async (): Promise<void> => {
    for await (const _ of engine.scan()) throw new RangeError('mine');
  };
  await expect(failed()).rejects.toThrow('mine');
  const left = engine.scan()[Symbol.asyncIterator]();
  await left.next();
  await engine.close();
  expect(await codeOf(left.next())).toBe('VARVE_CLOSED');
  await left.return?.();
  const again = await openOn(disk);
  expect((await keysOf(again)).length).toBe(20);
  await again.close();
});

test('every order of bytes is the order of the scan', async () => {
  const { engine } = await newStore({ keyEncoding: 'bytes' });
  const keys = [[], [0], [0, 0], [0, 1], [0, 255], [1], [1, 0], [127], [128], [255], [255, 255]];
  for (const key of [...keys].reverse()) await engine.put(Uint8Array.from(key), 'x');
  for (const flush of [false, true]) {
    if (flush) await engine.flush();
    const found: number[][] = [];
    for await (const entry of engine.scan<Uint8Array>())
      if (entry.key !== undefined) found.push(Array.from(entry.key));
    expect(found).toEqual(keys);
  }
});
