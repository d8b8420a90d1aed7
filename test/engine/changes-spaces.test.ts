import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { Change, ChangesOptions } from '../../src/engine/feed/change-types.ts';
import { bytesOf, codeOf, newStore, openOn, text, turn } from './engine-kit.ts';
import { histories, historiesMs } from './histories.ts';

/** A change in one line. */
function line(change: Change): string {
  const head = `${change.seq} ${change.space ?? '-'} ${change.type}`;
  if (change.type === 'deleteRange') return `${head} ${JSON.stringify(change.range)}`;
  if (change.type === 'delete') return `${head} ${change.key}`;
  const shown = change.gone === true ? 'gone' : change.value === undefined ? '' : text(change.value)!.length;
  return `${head} ${change.key} ${shown}`;
}

async function now(engine: Engine, options: ChangesOptions): Promise<string[]> {
  const lines: string[] = [];
  for await (const change of engine.changes({ ...options, live: false })) lines.push(line(change));
  return lines;
}

test('a put comes with its value as of its commit, or says that it is gone', async () => {
  const { engine } = await newStore();
  await engine.put('small', 'one');
  await engine.put('large', bytesOf(1, 5000));
  await engine.put('kept', bytesOf(2, 6000));
  await engine.snapshots.create('here');
  await engine.put('large', bytesOf(3, 7000));
  await engine.put('large', bytesOf(4, 8000));
  await engine.put('small', 'two');
  await engine.delete('kept');
  await engine.flush();
  await engine.compact();
  const found: [string, Uint8Array | undefined, true | undefined][] = [];
  for await (const change of engine.changes({ since: 0, live: false, values: true })) {
    if (change.type === 'put') found.push([change.key, change.value, change.gone]);
  }
  expect(found.map(([key, value, gone]) => [key, value?.length, gone])).toEqual([
    ['small', 3, undefined],
    ['large', 5000, undefined],
    ['kept', 6000, undefined],
    // The snapshot keeps what it sees; nobody keeps this one.
    ['large', undefined, true],
    ['large', 8000, undefined],
    ['small', 3, undefined],
  ]);
  expect(text(found[0]![1])).toBe('one');
  expect(Buffer.compare(found[1]![1]!, bytesOf(1, 5000))).toBe(0);
  expect(await codeOf(() => engine.changes({ values: 'yes' as unknown as boolean }))).toBe(
    'VARVE_INVALID_ARGUMENT',
  );
});

test('a live feed of every space goes on over new names, drops and reopens', async () => {
  const { disk, engine } = await newStore();
  const feed = engine.space('unrelated').changes({ since: 0, spaces: true, values: true });
  const lines: string[] = [];
  const reading = (async (): Promise<void> => {
    for await (const change of feed) lines.push(line(change).replace(/^\d+ /, ''));
  })();
  await engine.put('a', 'x');
  await engine.space('s').put('b', 'xy');
  await engine.spaces.drop('s');
  await engine.space('s').put('c', 'xyz');
  await engine.space('t').deleteRange({ gte: 'q' });
  for (let i = 0; i < 20; i++) await turn();
  await engine.close();
  await reading;
  const all = ['- put a 1', 's put b 2', 's deleteRange {}', 's put c 3'];
  expect(lines.slice(0, 4)).toEqual(all);
  const again = await openOn(disk);
  const found = (await now(again, { since: 0, spaces: true, values: true })).map((one) =>
    one.replace(/^\d+ /, ''),
  );
  expect(found.slice(0, 4)).toEqual(all);
  await again.close();
});

const step = fc.record({
  what: fc.constantFrom('put', 'put', 'put', 'delete', 'range', 'drop', 'batch', 'reopen'),
  space: fc.constantFrom('', 's', 't'),
  key: fc.nat(4),
});

test(
  'a feed of every space is that of each of them, in one order',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(100), async (steps, part) => {
        const { disk, engine: first } = await newStore();
        let engine = first;
        for (const { what, space, key } of steps) {
          const to = space === '' ? engine : engine.space(space);
          const name = `k${key}`;
          if (what === 'put') await to.put(name, bytesOf(key, key * 30));
          else if (what === 'delete') await to.delete(name);
          else if (what === 'range') await to.deleteRange({ gte: name });
          else if (what === 'batch') {
            await to.batch([
              { type: 'put', key: name, value: 'b' },
              { type: 'put', key: 'z', value: 'b' },
            ]);
          } else if (what === 'drop') await engine.spaces.drop(space === '' ? 's' : space);
          else {
            await engine.close();
            engine = await openOn(disk);
          }
        }
        const since = Math.floor((engine.stats().seq * part) / 100);
        const prefix = part % 3 === 0 ? { prefix: 'k1' } : {};
        const all = await now(engine, { since, spaces: true, ...prefix });
        const each: string[] = [];
        for (const name of ['', 's', 't']) {
          const of = name === '' ? engine : engine.space(name);
          const lines = await now(of, { since, ...prefix });
          each.push(...lines.map((one) => one.replace(' - ', ` ${name === '' ? '-' : name} `)));
        }
        const bySeq = (a: string, b: string): number => Number.parseInt(a, 10) - Number.parseInt(b, 10);
        expect(all).toEqual(each.sort(bySeq));
        await engine.close();
      }),
      histories(40),
    );
  },
  historiesMs(),
);
