import { describe, expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { BatchOperation, Bytes, Key, PutOptions } from '../../src/engine/types.ts';
import {
  bytesOf,
  codeOf,
  failure,
  filesIn,
  inPieces,
  killed,
  newStore,
  openOn,
  same,
  text,
} from './engine-kit.ts';

describe('arguments', () => {
  const bad: [string, (engine: Engine) => unknown][] = [
    ['a key that is no key', (engine) => engine.put(7 as unknown as Key, 'x')],
    ['a key above 65,535 bytes', (engine) => engine.put('k'.repeat(65_536), 'x')],
    ['a key with a lone surrogate', (engine) => engine.put('\ud800', 'x')],
    ['a value with a lone surrogate', (engine) => engine.put('k', 'a\udc00')],
    ['a value that is no value', (engine) => engine.put('k', 7 as unknown as Bytes)],
    ['a null value', (engine) => engine.put('k', null as unknown as Bytes)],
    ['an unknown option', (engine) => engine.put('k', 'x', { ttl: 5 } as PutOptions)],
    ['options that are no object', (engine) => engine.put('k', 'x', 5 as unknown as PutOptions)],
    ['a negative ifSeq', (engine) => engine.put('k', 'x', { ifSeq: -1 })],
    ['a broken ifSeq', (engine) => engine.put('k', 'x', { ifSeq: 1.5 })],
    ['a sha256 that is no flag', (engine) => engine.put('k', 'x', { sha256: 1 as unknown as boolean })],
    ['metadata above its bound', (engine) => engine.put('k', 'x', { metadata: { a: 'x'.repeat(70_000) } })],
    ['metadata of a class', (engine) => engine.put('k', 'x', { metadata: { a: new Map() as never } })],
    ['tags that are no strings', (engine) => engine.put('k', 'x', { tags: [5] as never })],
    ['a delete of no key', (engine) => engine.delete(undefined as never)],
    ['an unknown option of delete', (engine) => engine.delete('k', { now: true } as never)],
    ['a batch that is no array', (engine) => engine.batch({} as BatchOperation[])],
    ['a batch with a hole', (engine) => engine.batch([null as never])],
    ['an unknown operation', (engine) => engine.batch([{ type: 'get', key: 'k' } as never])],
    [
      'a stream in a batch',
      (engine) => engine.batch([{ type: 'put', key: 'k', value: inPieces(bytesOf(1, 5), 5) as never }]),
    ],
    ['an unknown field', (engine) => engine.batch([{ type: 'put', key: 'k', value: 'x', when: 1 } as never])],
    ['a value on a delete', (engine) => engine.batch([{ type: 'delete', key: 'k', value: 'x' } as never])],
  ];
  test.each(bad)('%s is refused and nothing is written', async (_name, call) => {
    const { engine } = await newStore();
    const before = engine.stats();
    expect(await codeOf(async () => call(engine))).toBe('VARVE_INVALID_ARGUMENT');
    const after = engine.stats();
    expect([after.seq, after.chunks.stored, after.commits.count]).toEqual([
      before.seq,
      before.chunks.stored,
      before.commits.count,
    ]);
    await engine.put('fine', 'x');
  });

  test('one bad operation of a batch refuses all of it', async () => {
    const { engine } = await newStore();
    const good: BatchOperation = { type: 'put', key: 'a', value: bytesOf(1, 5000) };
    expect(await codeOf(engine.batch([good, { type: 'put', key: '\ud800', value: 'x' }]))).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
    expect(await engine.has('a')).toBe(false);
    expect(engine.stats().chunks.stored).toBe(0);
  });
});

test('a buffer may be changed as soon as the call has returned its promise', async () => {
  const { engine } = await newStore();
  for (const length of [1, 40, 41, 5000, 100_000]) {
    const value = bytesOf(length, length);
    const kept = value.slice();
    const key = Uint8Array.of(107, length & 255);
    const tags = ['b', 'a'];
    const metadata = { list: [1, 2] };
    const put = engine.put(key, value, { tags, metadata });
    value.fill(1);
    key.fill(2);
    tags.push('c');
    metadata.list.push(3);
    await put;
    const found = Uint8Array.of(107, length & 255);
    expect(same(await engine.get(found), kept)).toBe(true);
    const stat = await engine.stat(found);
    expect([stat?.tags, stat?.metadata]).toEqual([['a', 'b'], { list: [1, 2] }]);
    const again = kept.slice();
    const batch = engine.batch([{ type: 'put', key: 'in batch', value: again }]);
    again.fill(3);
    await batch;
    expect(same(await engine.get('in batch'), kept)).toBe(true);
  }
});

test('a value got may be changed by its owner', async () => {
  const { engine } = await newStore();
  for (const length of [20, 500, 50_000]) {
    const value = bytesOf(length, length);
    await engine.put('k', value);
    for (const got of [await engine.get('k'), engine.getSync('k'), (await engine.getMany(['k']))[0]])
      got!.fill(9);
    for await (const entry of engine.scan()) if (entry.key !== undefined) entry.value?.fill(9);
    for await (const part of engine.stream('k')) part.fill(9);
    expect(same(await engine.get('k'), value)).toBe(true);
  }
});

describe('conditions', () => {
  test('ifSeq decides on the newest version, also one that is not visible yet', async () => {
    const { engine } = await newStore();
    const first = engine.put('k', 'one', { ifSeq: 0 });
    const second = codeOf(engine.put('k', 'two', { ifSeq: 0 }));
    const { seq } = await first;
    const error = await failure(engine.put('k', 'three', { ifSeq: seq + 100 }));
    expect([error.code, error.retryable, error.expected, error.actual]).toEqual([
      'VARVE_CONFLICT',
      true,
      seq + 100,
      seq,
    ]);
    expect(await second).toBe('VARVE_CONFLICT');
    expect(text(await engine.get('k'))).toBe('one');
    expect(await codeOf(engine.delete('k', { ifSeq: seq + 1 }))).toBe('VARVE_CONFLICT');
    expect(await engine.delete('k', { ifSeq: seq })).toBe(true);
    await engine.put('k', 'four', { ifSeq: 0 });
  });

  test('ifSeq of a stream is decided at its commit', async () => {
    const { engine } = await newStore();
    async function* source(): AsyncGenerator<Uint8Array> {
      yield bytesOf(1, 5000);
      await engine.put('k', 'meanwhile');
      yield bytesOf(2, 5000);
    }
    expect(await codeOf(engine.put('k', source(), { ifSeq: 0 }))).toBe('VARVE_CONFLICT');
    expect(text(await engine.get('k'))).toBe('meanwhile');
  });

  test('one condition of a batch that does not hold refuses all of it', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.put('a', '1');
    const ops = (ifSeq: number): BatchOperation[] => [
      { type: 'put', key: 'b', value: bytesOf(3, 3000) },
      { type: 'put', key: 'a', value: '2', ifSeq },
    ];
    expect(await codeOf(engine.batch(ops(seq + 1)))).toBe('VARVE_CONFLICT');
    expect(await engine.has('b')).toBe(false);
    const { seq: both } = await engine.batch(ops(seq));
    expect([(await engine.stat('a'))?.seq, (await engine.stat('b'))?.seq]).toEqual([both, both]);
  });

  test('concurrent writers with ifSeq lose no update', async () => {
    const { engine } = await newStore();
    const worker = async (): Promise<void> => {
      for (let done = 0; done < 10; ) {
        const stat = await engine.stat('n');
        const old = stat === undefined ? 0 : Number(text(await engine.get('n')));
        try {
          await engine.put('n', String(old + 1), { ifSeq: stat?.seq ?? 0 });
          done++;
        } catch (error) {
          if (!isVarveError(error, 'VARVE_CONFLICT')) throw error;
        }
      }
    };
    await Promise.all([worker(), worker(), worker()]);
    expect(text(await engine.get('n'))).toBe('30');
  });
});

describe('batches and deletes', () => {
  test('the last operation on a key counts, and all have one seq', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.batch([
      { type: 'put', key: 'a', value: '1' },
      { type: 'put', key: 'b', value: bytesOf(1, 3000), contentType: 'x/y', tags: ['t'], sha256: true },
      { type: 'put', key: Uint8Array.of(97), value: '2' },
      { type: 'put', key: 'c', value: '3' },
      { type: 'delete', key: 'c' },
    ]);
    expect(text(await engine.get('a'))).toBe('2');
    expect(await engine.has('c')).toBe(false);
    expect(await engine.stat('b')).toMatchObject({ seq, contentType: 'x/y', tags: ['t'], size: 3000 });
    expect((await engine.stat('b'))?.sha256).toHaveLength(64);
  });

  test('a batch above 32 MiB is refused and one below is not', async () => {
    const { engine } = await newStore({ inlineMax: 65_536 });
    const value = bytesOf(1, 65_536);
    const ops = (n: number): BatchOperation[] =>
      Array.from({ length: n }, (_, i) => ({ type: 'put', key: `k${i}`, value }));
    expect(await codeOf(engine.batch(ops(520)))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await engine.has('k0')).toBe(false);
    await engine.batch(ops(500));
    expect(same(await engine.get('k499'), value)).toBe(true);
  });

  test('a delete says whether there was something, and a put afterwards begins anew', async () => {
    const { engine, clock } = await newStore();
    expect(await engine.delete('k')).toBe(false);
    await engine.put('k', '1');
    const created = (await engine.stat('k'))!.created.getTime();
    clock.ms += 1000;
    await engine.put('k', '2');
    const stat = (await engine.stat('k'))!;
    expect([stat.created.getTime(), stat.modified.getTime()]).toEqual([created, created + 1000]);
    expect(await engine.delete('k')).toBe(true);
    expect(await engine.delete('k')).toBe(false);
    clock.ms += 1000;
    await engine.put('k', '3');
    expect((await engine.stat('k'))!.created.getTime()).toBe(created + 2000);
  });

  test('a delete that finds nothing waits for the delete that was before it', async () => {
    const { engine, disk } = await newStore();
    await engine.put('k', '1');
    const first = engine.delete('k');
    expect(await engine.delete('k')).toBe(false);
    const after = await openOn(disk.crash('none'));
    expect(await after.has('k')).toBe(false);
    await Promise.all([first, after.close()]);
  });

  test('an empty batch commits nothing', async () => {
    const { engine } = await newStore();
    const { seq } = engine.stats();
    expect(await engine.batch([])).toEqual({ seq });
    expect(await engine.batch([{ type: 'delete', key: 'x' }])).toEqual({ seq });
  });
});

describe('keys and values at their limits', () => {
  const keys: [string, Key][] = [
    ['empty', ''],
    ['65,535 bytes', 'k'.repeat(65_535)],
    ['65,535 zero bytes', new Uint8Array(65_535)],
    ['a path upwards', '../../etc/passwd'],
    ['NUL', 'a\u0000b'],
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['NFC', 'caf\u00e9'],
    ['NFD', 'cafe\u0301'],
    ['astral', '\u{1f600}'],
    ['bytes FF', Uint8Array.of(0xff, 0xff)],
  ];

  test('every key is a key of its own', async () => {
    const { engine, disk } = await newStore({ keyEncoding: 'bytes' });
    for (const [name, key] of keys) await engine.put(key, name);
    for (const [name, key] of keys) expect(text(await engine.get(key))).toBe(name);
    let found = 0;
    for await (const _ of engine.scan()) found++;
    expect(found).toBe(keys.length);
    await engine.close();
    const again = await openOn(disk, { keyEncoding: 'bytes' });
    for (const [name, key] of keys) expect(text(again.getSync(key))).toBe(name);
    for (const [, key] of keys) expect(await again.delete(key)).toBe(true);
    await again.close();
  });

  test('values at the limits of each form come back, and say their form', async () => {
    const { engine, disk } = await newStore();
    const lengths = [0, 1, 40, 41, 63, 64, 65, 2047, 2048, 2049, 16 * 2048, 17 * 2048, 200_000];
    for (const length of lengths) {
      const put = await engine.put(`v${length}`, bytesOf(length, length));
      expect(put.size).toBe(length);
      expect(put.chunks === 0).toBe(length <= 40);
    }
    expect((await engine.stat('v65'))?.chunks).toBe(1);
    const after = killed(disk);
    await engine.close();
    for (const one of [disk, after]) {
      const again = await openOn(one);
      for (const length of lengths) {
        expect(same(await again.get(`v${length}`), bytesOf(length, length))).toBe(true);
      }
      await again.close();
    }
  });

  test('16 chunks are held directly, 17 make a tree, and equal bytes have equal digests', async () => {
    const { engine } = await newStore();
    const zeros = (chunks: number): Uint8Array => new Uint8Array(chunks * 2048);
    const direct = await engine.put('direct', zeros(16));
    const tree = await engine.put('tree', zeros(17));
    expect([direct.chunks, tree.chunks]).toEqual([16, 17]);
    expect((await engine.put('again', zeros(17))).digest).toBe(tree.digest);
    expect(tree.digest).not.toBe(direct.digest);
    expect(same(await engine.get('tree'), zeros(17))).toBe(true);
  });
});

test('segments hold each chunk once, whatever was put', async () => {
  const { engine, disk } = await newStore();
  const value = bytesOf(9, 100_000);
  const first = await engine.put('a', value);
  expect(first.newBytes).toBeGreaterThanOrEqual(value.length);
  const before = engine.stats().chunks.storedBytes;
  await Promise.all(Array.from({ length: 20 }, (_, i) => engine.put(`copy ${i}`, value)));
  expect(engine.stats().chunks.storedBytes).toBe(before);
  await engine.close();
  const bytes = filesIn(disk, 'seg').reduce((sum, file) => sum + disk.bytesOf(file).length, 0);
  expect(bytes).toBeLessThan(value.length * 1.3);
});
