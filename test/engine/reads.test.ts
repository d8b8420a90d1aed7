import { describe, expect, test } from 'vitest';
import { bytesOf, codeOf, collect, failure, newStore, openOn, same, text } from './engine-kit.ts';

describe('one state', () => {
  test('a read begun before a commit is visible does not see it', async () => {
    const { engine } = await newStore();
    await engine.put('a', '1');
    await engine.put('b', '1');
    const write = engine.batch([
      { type: 'put', key: 'a', value: '2' },
      { type: 'put', key: 'b', value: '2' },
    ]);
    expect(text(engine.getSync('a'))).toBe('1');
    const many = engine.getMany(['a', 'b']);
    const stream = engine.stream('a');
    await write;
    expect((await many).map(text)).toEqual(['1', '1']);
    expect(text(await collect(stream))).toBe('1');
    expect((await engine.getMany(['b', 'a', 'x', 'a'])).map(text)).toEqual(['2', '2', undefined, '2']);
  });

  test('a stream goes on with its version while the key is overwritten, deleted and flushed', async () => {
    const { engine } = await newStore();
    const value = bytesOf(1, 400_000);
    await engine.put('k', value);
    const reader = engine.stream('k').getReader();
    const parts = [(await reader.read()).value!];
    await engine.put('k', bytesOf(2, 400_000));
    await engine.delete('k');
    await engine.flush();
    for (let next = await reader.read(); !next.done; next = await reader.read()) parts.push(next.value);
    expect(same(Buffer.concat(parts), value)).toBe(true);
  });
});

describe('pieces', () => {
  /** Copies of what was borrowed. */
  async function copies(pieces: AsyncIterable<readonly Uint8Array[]>): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const some of pieces) parts.push(...some.map((piece) => piece.slice()));
    return Buffer.concat(parts);
  }

  test('are what a stream gives, of any range and any state', async () => {
    const { engine } = await newStore();
    const value = bytesOf(1, 400_000);
    const { seq } = await engine.put('k', value);
    const begun = engine.pieces('k');
    await engine.put('k', 'small');
    await engine.flush();
    expect(same(await copies(begun), value)).toBe(true);
    const old = { at: seq, start: 777, end: 300_001 };
    for (const verify of [false, true])
      expect(same(await copies(engine.pieces('k', { ...old, verify })), value.subarray(777, 300_001))).toBe(
        true,
      );
    expect(text(await copies(engine.pieces('k')))).toBe('small');
    expect(await codeOf(copies(engine.pieces('absent')))).toBe('VARVE_NOT_FOUND');
    expect(await codeOf(() => engine.pieces('k', { start: 2, end: 1 }))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('end where their reader leaves, and keep nothing', async () => {
    const { engine } = await newStore();
    await engine.put('k', bytesOf(1, 600_000));
    for await (const some of engine.pieces('k')) if (some.length > 0) break;
    const left = engine.pieces('k');
    await left.next();
    expect(await left.return?.()).toMatchObject({ done: true });
    expect(await left.next()).toMatchObject({ done: true });
    const early = engine.pieces('k', { verify: true });
    const first = early.next();
    await early.return?.();
    expect(await first).toMatchObject({ done: true });
    const abort = new AbortController();
    const aborted = engine.pieces('k', { signal: abort.signal });
    await aborted.next();
    abort.abort();
    expect(await codeOf(aborted.next())).toBe('VARVE_ABORTED');
    expect(await aborted.next()).toMatchObject({ done: true });
    await engine.close();
  });
});

describe('streams', () => {
  test('every range is the slice of the value', async () => {
    const { engine } = await newStore();
    for (const length of [0, 1, 40, 41, 5000, 100_000]) {
      const value = bytesOf(length, length);
      await engine.put('k', value);
      const points = [0, 1, 39, 40, 2048, 4999, 99_999, length - 1, length, length + 10].filter(
        (p) => p >= 0,
      );
      for (const start of points) {
        for (const end of [...points, undefined]) {
          if (end !== undefined && end < start) continue;
          const range = end === undefined ? { start } : { start, end };
          const got = await collect(engine.stream('k', range));
          expect(same(got, value.subarray(start, end)), `${length}: ${start}..${end}`).toBe(true);
        }
      }
    }
  });

  test('a reader with a buffer of its own gets the same bytes, and the end', async () => {
    const { engine } = await newStore();
    const value = bytesOf(1, 20_000);
    await engine.put('k', value);
    const reader = engine.stream('k').getReader({ mode: 'byob' });
    const parts: Uint8Array[] = [];
    for (;;) {
      const { value: part, done } = await reader.read(new Uint8Array(777));
      if (part !== undefined && part.length > 0) parts.push(part);
      if (done) break;
    }
    expect(same(Buffer.concat(parts), value)).toBe(true);
  });

  test('what is not there is VARVE_NOT_FOUND at the first read', async () => {
    const { engine } = await newStore();
    expect(await codeOf(collect(engine.stream('absent')))).toBe('VARVE_NOT_FOUND');
  });

  test('bad ranges and options are refused at the call', async () => {
    const { engine } = await newStore();
    for (const range of [{ start: -1 }, { start: 2, end: 1 }, { start: 1.5 }, { end: -1 }, { from: 1 }]) {
      expect(await codeOf(() => engine.stream('k', range as object))).toBe('VARVE_INVALID_ARGUMENT');
    }
  });

  test('cancelling and aborting end the read', async () => {
    const { engine } = await newStore();
    await engine.put('k', bytesOf(1, 300_000));
    const reader = engine.stream('k').getReader();
    await reader.read();
    await reader.cancel();
    const abort = new AbortController();
    const aborted = engine.stream('k', { signal: abort.signal }).getReader();
    await aborted.read();
    abort.abort();
    expect(
      await codeOf(async () => {
        for (let step = await aborted.read(); !step.done; ) step = await aborted.read();
      }),
    ).toBe('VARVE_ABORTED');
  });
});

test('stat tells everything about a version without reading its value', async () => {
  const { engine, clock } = await newStore();
  const metadata = { n: 1, s: 'x', b: Uint8Array.of(1, 2), d: new Date(5), nested: { list: [null, true] } };
  const value = bytesOf(3, 5000);
  const put = await engine.put('k', value, {
    metadata,
    contentType: 'a/b',
    tags: ['z', 'a', 'z'],
    sha256: true,
  });
  const { createHash } = await import('node:crypto');
  expect(await engine.stat('k')).toEqual({
    seq: put.seq,
    size: 5000,
    digest: put.digest,
    sha256: createHash('sha256').update(value).digest('hex'),
    created: new Date(clock.ms),
    modified: new Date(clock.ms),
    chunks: put.chunks,
    metadata,
    contentType: 'a/b',
    tags: ['a', 'z'],
  });
  const inline = await engine.put('i', 'abc');
  expect(inline.digest).toBe(createHash('sha256').update('abc').digest('hex'));
  expect(await engine.stat('i')).toEqual({
    seq: inline.seq,
    size: 3,
    digest: inline.digest,
    created: new Date(clock.ms),
    modified: new Date(clock.ms),
    chunks: 0,
  });
  expect(await engine.stat('absent')).toBeUndefined();
});

test('reads take a signal, know their options, and check their keys', async () => {
  const { engine } = await newStore();
  await engine.put('k', 'v');
  const abort = new AbortController();
  abort.abort();
  const { signal } = abort;
  for (const call of [
    () => engine.get('k', { signal }),
    () => engine.has('k', { signal }),
    () => engine.stat('k', { signal }),
    () => engine.getMany(['k'], { signal }),
  ]) {
    expect(await codeOf(call)).toBe('VARVE_ABORTED');
  }
  for (const call of [
    () => engine.get('k', { when: 1 } as object),
    () => engine.getMany('k' as never),
    () => engine.getMany([7 as never]),
    () => engine.getSync('\ud800'),
    () => engine.has('x'.repeat(65_536)),
  ]) {
    expect(await codeOf(call)).toBe('VARVE_INVALID_ARGUMENT');
  }
});

test('getSync makes no promise and reads the disk where memory has nothing', async () => {
  const { engine, disk } = await newStore();
  const value = bytesOf(1, 50_000);
  await engine.put('k', value);
  await engine.put('i', 'inline');
  await engine.close();
  const again = await openOn(disk, { memory: { blockCacheBytes: 0, trailerCacheBytes: 0 } });
  expect(same(again.getSync('k'), value)).toBe(true);
  expect(text(again.getSync('i'))).toBe('inline');
  expect(again.getSync('absent')).toBeUndefined();
  expect((await again.getMany(['i', 'k', 'i'])).map((v) => v?.length)).toEqual([6, 50_000, 6]);
  await again.close();
});

test('damage is thrown with file and offset and listed by health, never served', async () => {
  const { engine, disk } = await newStore();
  await engine.put('k', bytesOf(1, 1500));
  await engine.put('other', bytesOf(2, 1500));
  await engine.close();
  const segment = disk.files().find((file) => file.startsWith('seg/'))!;
  disk.flipBit(segment, (64 + 200) * 8);
  const again = await openOn(disk);
  for (const call of [
    () => again.get('k'),
    () => again.getSync('k'),
    () => again.getMany(['other', 'k']),
    () => collect(again.stream('k')),
    async () => {
      for await (const _ of again.scan());
    },
  ]) {
    const error = await failure(call);
    expect([error.code, error.file, error.offset]).toEqual(['VARVE_CORRUPT', segment, 64]);
  }
  expect(same(await again.get('other'), bytesOf(2, 1500))).toBe(true);
  expect(again.health()).toMatchObject({
    ok: false,
    status: 'warning',
    damage: [{ file: segment, offset: 64 }],
  });
  await again.close();
});
