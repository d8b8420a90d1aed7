import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { Change, ChangesOptions } from '../../src/engine/feed/change-types.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import type { Key } from '../../src/engine/types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, codeOf, filesIn, killed, newStore, openOn, turn } from './engine-kit.ts';
import { histories } from './histories.ts';

/** A change in one line. */
function line(change: Change<Key>): string {
  if (change.type === 'deleteRange') return `${change.seq} range ${JSON.stringify(change.range)}`;
  const size = change.type === 'put' ? ` ${change.size}` : '';
  return `${change.seq} ${change.type} ${String(change.key)}${size}`;
}

async function now(engine: Engine, options: ChangesOptions = { since: 0 }): Promise<string[]> {
  const lines: string[] = [];
  for await (const change of engine.changes({ ...options, live: false })) lines.push(line(change));
  return lines;
}

async function take(feed: AsyncIterator<Change, undefined>, count: number): Promise<string[]> {
  const lines: string[] = [];
  while (lines.length < count) lines.push(line((await feed.next()).value!));
  return lines;
}

describe('what a feed shows', () => {
  test('puts, deletes and ranges, with what is known of them', async () => {
    const { engine } = await newStore();
    const value = bytesOf(1, 5000);
    const put = await engine.put('a', value, { tags: ['t'], contentType: 'x/y', metadata: { n: 1 } });
    await engine.delete('absent');
    await engine.delete('a');
    const range = await engine.deleteRange({ gt: 'b', lte: 'c' });
    const found: Change[] = [];
    for await (const change of engine.changes({ since: 0, live: false })) found.push(change);
    expect(found).toEqual([
      {
        type: 'put',
        seq: put.seq,
        time: new Date(1_700_000_000_000),
        last: true,
        key: 'a',
        size: 5000,
        digest: put.digest,
        tags: ['t'],
        contentType: 'x/y',
        metadata: { n: 1 },
      },
      { type: 'delete', seq: put.seq + 1, time: new Date(1_700_000_000_000), last: true, key: 'a' },
      {
        type: 'deleteRange',
        seq: range.seq,
        time: new Date(1_700_000_000_000),
        last: true,
        range: { gt: 'b', lte: 'c' },
      },
    ]);
  });

  test('changes of a commit come in key order, and only the last one says so', async () => {
    const { engine } = await newStore();
    const { seq } = await engine.batch([
      { type: 'put', key: 'c', value: 'x' },
      { type: 'put', key: 'a', value: 'x' },
      { type: 'put', key: 'a\u0000', value: 'x' },
      { type: 'put', key: 'b', value: 'x' },
    ]);
    const found: Change[] = [];
    for await (const change of engine.changes({ since: 0, live: false })) found.push(change);
    expect(found.map(line)).toEqual(['a', 'a\u0000', 'b', 'c'].map((key) => `${seq} put ${key} 1`));
    expect(found.map(({ last }) => last)).toEqual([false, false, false, true]);
  });

  test('a prefix limits it to keys and ranges it meets', async () => {
    const { engine } = await newStore();
    for (const key of ['a', 'a/', 'a/1', 'a0', 'b']) await engine.put(key, 'x');
    await engine.deleteRange({ prefix: 'a/' });
    await engine.deleteRange({ prefix: 'b' });
    await engine.clear();
    expect((await now(engine, { since: 0, prefix: 'a/' })).map((text) => text.replace(/^\d+ /, ''))).toEqual([
      'put a/ 1',
      'put a/1 1',
      'range {"gte":"a/","lt":"a0"}',
      'range {}',
    ]);
  });

  test('what the engine does in the background is no change', async () => {
    const { engine } = await newStore();
    for (let i = 0; i < 300; i++) await engine.put(`k${i % 30}`, bytesOf(i, 500));
    await engine.deleteRange({ prefix: 'k1' });
    await engine.flush();
    for (let i = 0; i < 20; i++) await turn();
    await engine.put('last', 'x');
    const lines = await now(engine);
    expect(lines.length).toBe(302);
    expect(lines.filter((text) => text.includes('delete'))).toEqual([]);
  });

  test('a space has a feed of its own, over its drop and its next life', async () => {
    const { disk, engine } = await newStore();
    const space = engine.space('s');
    const live = space.changes({ since: 0 });
    await space.put('a', 'x');
    await engine.put('a', 'other');
    const middle = engine.stats().seq;
    await engine.spaces.drop('s');
    await space.put('b', 'x');
    const whole = ['put a 1', 'range {}', 'put b 1'];
    const bare = (lines: string[]): string[] => lines.map((text) => text.replace(/^\d+ /, ''));
    expect(bare(await now(space))).toEqual(whole);
    expect(bare(await now(space, { since: middle }))).toEqual(whole.slice(1));
    expect(bare(await take(live, 3))).toEqual(whole);
    expect(bare(await now(engine))).toEqual(['put a 5']);
    await engine.close();
    const again = await openOn(disk);
    expect(bare(await now(again.space('s')))).toEqual(whole);
    expect(bare(await now(again.space('never')))).toEqual([]);
    await again.close();
  });

  test('keys come as the store gives keys, and one that is not UTF-8 as bytes', async () => {
    const { engine } = await newStore();
    await engine.put(Uint8Array.of(255), 'x');
    await engine.put('é', 'x');
    const keys: Key[] = [];
    for await (const change of engine.changes<Key>({ since: 0, live: false })) {
      if (change.type === 'put') keys.push(change.key);
    }
    expect(keys).toEqual([Uint8Array.of(255), 'é']);
  });
});

describe('live', () => {
  test('it goes on with what is committed later, and polls nothing', async () => {
    const { engine, clock } = await newStore();
    const { sleeping } = clock;
    const feed = engine.changes();
    const first = feed.next();
    for (let i = 0; i < 5; i++) await turn();
    expect(clock.sleeping).toBe(sleeping);
    const { seq } = await engine.put('a', 'x');
    expect(line((await first).value!)).toBe(`${seq} put a 1`);
    await engine.flush();
    const { seq: next } = await engine.put('b', 'x');
    expect(await take(feed, 1)).toEqual([`${next} put b 1`]);
    await feed.return();
    expect((await feed.next()).done).toBe(true);
  });

  test('nothing is shown before it is on the disk', async () => {
    const { engine } = await newStore();
    const feed = engine.changes();
    const put = engine.put('a', 'x');
    const { seq } = (await feed.next()).value!;
    expect(engine.stats().durableSeq).toBeGreaterThanOrEqual(seq);
    await put;
  });

  test('a consumer that is slow gets all of it, over checkpoints and large commits', async () => {
    const { engine } = await newStore({ inlineMax: 65_536 });
    const feed = engine.changes({ since: 0 });
    const expected: string[] = [];
    for (let i = 0; i < 60; i++) {
      const { seq } = await engine.put(`k${i}`, bytesOf(i, i % 7 === 0 ? 60_000 : 10));
      expected.push(`${seq} put k${i} ${i % 7 === 0 ? 60_000 : 10}`);
      if (i % 10 === 0) await engine.flush();
    }
    expect(await take(feed, 60)).toEqual(expected);
    expect(feed.seq).toBeGreaterThan(0);
    await feed.return();
  });

  test('it ends with the engine, and is aborted by its signal', async () => {
    const { engine } = await newStore();
    const feed = engine.changes();
    const waiting = feed.next();
    const abort = new AbortController();
    const aborted = engine.changes({ signal: abort.signal }).next();
    abort.abort();
    expect(await codeOf(aborted)).toBe('VARVE_ABORTED');
    await engine.close();
    expect((await waiting).done).toBe(true);
    expect(await codeOf(async () => engine.changes())).toBe('VARVE_CLOSED');
  });

  test('a feed that is left in the middle holds no file of a closed store', async () => {
    const { disk, engine } = await newStore();
    await engine.put('a', 'x');
    await engine.put('b', 'x');
    let open = 0;
    const original = disk.open.bind(disk);
    disk.open = async (path, mode) => {
      const file = await original(path, mode);
      if (mode !== 'read' || !path.startsWith('wal/')) return file;
      open++;
      const close = file.close.bind(file);
      file.close = () => {
        open--;
        return close();
      };
      return file;
    };
    const feed = engine.changes({ since: 0 });
    await feed.next();
    expect(open).toBe(1);
    const reading = engine.changes({ since: 0 }).next();
    await engine.close();
    await reading;
    expect(open).toBe(0);
    expect((await feed.next()).done).toBe(true);
  });

  test('it fails when nothing will be committed any more, after what is on the disk', async () => {
    const { disk, engine } = await newStore();
    const feed = engine.changes({ since: 0 });
    const waiting = feed.next();
    disk.failAt(disk.opCount, { errno: 'EIO' });
    await engine.put('a', 'x').catch(() => undefined);
    expect(await codeOf(waiting)).toBe('VARVE_POISONED');
  });

  test('two calls of next get one change each', async () => {
    const { engine } = await newStore();
    const feed = engine.changes();
    const both = [feed.next(), feed.next()];
    await engine.put('a', 'x');
    await engine.put('b', 'x');
    const keys = (await Promise.all(both)).map(({ value }) => (value as { key: string }).key);
    expect(keys).toEqual(['a', 'b']);
    await feed.return();
  });
});

describe('what is kept', () => {
  test('a feed equals the history of calls, over flushes, reopens and crashes', async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('put' as const), key: fc.nat(5), size: fc.nat(300) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('delete' as const), key: fc.nat(5), size: fc.nat(1) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant('range' as const), key: fc.nat(5), size: fc.nat(1) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          do: fc.constantFrom('flush' as const, 'close' as const, 'kill' as const),
          key: fc.nat(1),
          size: fc.nat(1),
        }),
      },
    );
    const run = fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(20), async (steps, from) => {
      let disk = new MemoryFileSystem();
      let engine = await openOn(disk);
      const expected: { seq: number; text: string }[] = [];
      for (const { do: what, key, size } of steps) {
        if (what === 'put') {
          const { seq } = await engine.put(`k${key}`, bytesOf(1, size));
          expected.push({ seq, text: `${seq} put k${key} ${size}` });
        } else if (what === 'delete') {
          if (await engine.delete(`k${key}`)) {
            // Its own number, or that of what the engine has done since.
            const { seq } = engine.stats();
            expected.push({ seq, text: `delete k${key}` });
          }
        } else if (what === 'range') {
          const { seq } = await engine.deleteRange({ gte: `k${key}` });
          expected.push({ seq, text: `${seq} range {"gte":"k${key}"}` });
        } else if (what === 'flush') await engine.flush();
        else {
          if (what === 'close') await engine.close();
          else disk = killed(disk);
          engine = await openOn(disk);
        }
      }
      const since = expected[from]?.seq ?? 0;
      const wanted = expected.filter(({ seq }) => seq > since).map(({ text }) => text);
      const shown = async (from: Engine): Promise<string[]> =>
        (await now(from, { since })).map((text) => text.replace(/^\d+ delete/, 'delete'));
      expect(await shown(engine)).toEqual(wanted);
      await engine.close();
      const reader = await openOn(disk, { readOnly: true });
      expect(await shown(reader)).toEqual(wanted);
      await reader.close();
    });
    await fc.assert(run, histories(40));
  });

  test('a feed goes on after a reopen where it was left', async () => {
    const { disk, engine } = await newStore();
    await engine.put('a', 'x');
    await engine.put('b', 'x');
    const feed = engine.changes({ since: 0 });
    await feed.next();
    const { seq } = (await feed.next()).value!;
    await engine.put('c', 'x');
    await engine.close();
    const again = await openOn(disk);
    await again.put('d', 'x');
    expect((await now(again, { since: seq })).map((text) => text.slice(-7))).toEqual(['put c 1', 'put d 1']);
    await again.close();
  });

  test('old files go beyond the bound, and then it says that history is gone', async () => {
    const { disk, engine } = await newStore({ inlineMax: 4096, changesRetention: { bytes: 20_000 } });
    const seqs: number[] = [];
    for (let i = 0; i < 40; i++) {
      seqs.push((await engine.put('k', bytesOf(i, 2000))).seq);
      await engine.flush();
    }
    expect(filesIn(disk, 'wal').length).toBeLessThan(16);
    expect(filesIn(disk, 'wal').length).toBeGreaterThan(8);
    expect(await codeOf(now(engine))).toBe('VARVE_HISTORY_GONE');
    expect((await now(engine, { since: seqs[32]! })).length).toBe(7);
    await engine.close();
    const none = await openOn(disk, { inlineMax: 4096, changesRetention: { bytes: 0 } });
    expect(await codeOf(now(none, { since: seqs[38]! }))).toBe('VARVE_HISTORY_GONE');
    expect(await now(none, { since: none.stats().seq })).toEqual([]);
    await none.close();
  });

  test('old log stays small beside the store where nothing was asked for', async () => {
    const kept = async (options: EngineOptions): Promise<number> => {
      const { engine } = await newStore({ inlineMax: 65_536, ...options });
      for (let i = 0; i < 40; i++) {
        await engine.put('k', bytesOf(i, 60_000));
        await engine.flush();
      }
      const { keptBytes } = engine.stats().changes;
      await engine.close();
      return keptBytes;
    };
    expect(await kept({ changesRetention: { bytes: 16 << 20 } })).toBeGreaterThan(38 * 60_000);
    const byDefault = await kept({});
    expect(byDefault).toBeLessThan(1 << 20);
    expect(byDefault).toBeGreaterThan(900_000);
  });

  test('what a feed is reading stays, however slow it is', async () => {
    const { disk, engine } = await newStore({ inlineMax: 4096, changesRetention: { bytes: 0 } });
    for (let i = 0; i < 5; i++) await engine.put(`k${i}`, bytesOf(i, 2000));
    const feed = engine.changes({ since: 0 });
    await feed.next();
    for (let i = 0; i < 6; i++) {
      await engine.put('other', 'x');
      await engine.flush();
    }
    expect((await take(feed, 4)).map((text) => text.split(' ')[2])).toEqual(['k1', 'k2', 'k3', 'k4']);
    expect((await take(feed, 1))[0]).toContain('other');
    expect(await codeOf(feed.next())).toBe('VARVE_HISTORY_GONE');
    await engine.flush();
    await engine.flush();
    expect(filesIn(disk, 'wal').length).toBeLessThan(4);
  });

  test('a number the store never had is refused, and wrong options are', async () => {
    const { engine } = await newStore();
    expect(await codeOf(engine.changes({ since: 1000 }).next())).toBe('VARVE_HISTORY_GONE');
    for (const wrong of [{ since: -1 }, { since: 0.5 }, { live: 1 }, { prefix: 5 }, { from: 0 }]) {
      expect(await codeOf(async () => engine.changes(wrong as never))).toBe('VARVE_INVALID_ARGUMENT');
    }
  });

  test('damage of an old log file is told with its place', async () => {
    const { disk, engine } = await newStore();
    await engine.put('a', bytesOf(1, 30));
    await engine.flush();
    await engine.put('b', 'x');
    const [first] = filesIn(disk, 'wal').sort();
    disk.flipBit(first!, 200 * 8);
    expect(await codeOf(now(engine))).toBe('VARVE_CORRUPT');
    expect(engine.health().damage[0]!.file).toBe(first);
    await engine.close();
    // Recovery does not need it.
    const again = await openOn(disk);
    expect(again.health().ok).toBe(true);
    await again.close();
  });
});
