/** What can be read of the past equals a map of histories, whatever is written, merged and reopened. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { At } from '../../src/engine/history/point.ts';
import type { HistoryOptions } from '../../src/engine/options.ts';
import { histories, historiesMs } from './histories.ts';
import { checkDiff, expected, keys, scanned, spaces, Twin, text } from './history-kit.ts';

/** Reads everything at a point; undefined when it is refused as gone. Throws what else goes wrong. */
async function readAll(twin: Twin, at: At, space: string): Promise<string[] | undefined> {
  try {
    const forward = await scanned(twin.space(space).scan({ at }));
    const back = await scanned(twin.space(space).scan({ at, reverse: true }));
    expect(back.reverse()).toEqual(forward);
    const values = await twin.space(space).getMany(keys, { at });
    const found = keys.flatMap((key, i) => (values[i] === undefined ? [] : [`${key}=${text(values[i])}`]));
    expect(found).toEqual(forward);
    for (const key of keys) {
      const has = await twin.space(space).has(key, { at });
      expect(has).toBe(forward.some((entry) => entry.startsWith(`${key}=`)));
    }
    return forward;
  } catch (error) {
    if (isVarveError(error, 'VARVE_HISTORY_GONE')) return undefined;
    throw error;
  }
}

async function check(twin: Twin, history: Required<HistoryOptions>, prng: Prng): Promise<void> {
  for (const space of spaces) {
    for (const { view, seq } of twin.views) {
      const face = space === '' ? view : view.space(space);
      expect(await scanned(face.scan())).toEqual(expected(twin.at(seq), space));
      const key = keys[prng.below(keys.length)]!;
      expect(text(await face.get(key))).toBe(twin.at(seq).get(`${space}/${key}`));
      expect(text(face.getSync(key))).toBe(twin.at(seq).get(`${space}/${key}`));
    }
    for (const [snapshot, seq] of twin.snapshots) {
      expect(await readAll(twin, { snapshot }, space)).toEqual(expected(twin.at(seq), space));
      expect(await readAll(twin, seq, space)).toEqual(expected(twin.at(seq), space));
    }
    const { seq: newest } = twin.engine.stats();
    const named = Array.from(twin.snapshots, ([snapshot, seq]): [At, number] => [{ snapshot }, seq]);
    await checkDiff(twin, [...named.slice(-2), [newest, newest]], space);
    for (const at of [prng.below(newest + 1), prng.below(newest + 1), newest]) {
      const read = await readAll(twin, at, space);
      if (read !== undefined && twin.knows(at)) expect(read).toEqual(expected(twin.at(at), space));
      if (read === undefined) expect(at).not.toBe(newest);
    }
    await checkDates(twin, history, space, prng);
    await checkVersions(twin, history, space, keys[prng.below(keys.length)]!);
  }
}

async function checkDates(
  twin: Twin,
  history: Required<HistoryOptions>,
  space: string,
  prng: Prng,
): Promise<void> {
  const since = twin.points[1]?.ms ?? twin.clock.now();
  const ms = since + prng.below(twin.clock.now() - since + 1);
  const read = await readAll(twin, new Date(ms), space);
  const state = twin.points.findLast((point) => point.ms <= ms)!.state;
  // What the policy promises is there.
  const promised = twin.clock.now() - history.ms;
  if (read !== undefined) expect(read).toEqual(expected(state, space));
  else expect(ms).toBeLessThan(promised);
}

async function checkVersions(
  twin: Twin,
  history: Required<HistoryOptions>,
  space: string,
  key: string,
): Promise<void> {
  const name = `${space}/${key}`;
  const seqs: number[] = [];
  let values = 0;
  for await (const version of twin.space(space).versions(key)) {
    seqs.push(version.seq);
    if (!version.deleted) values++;
    if (!twin.knows(version.seq)) continue;
    const at = twin.at(version.seq).get(name);
    expect(at === undefined).toBe(version.deleted);
    try {
      expect(text(await twin.space(space).get(key, { at: version.seq }))).toBe(at);
    } catch (error) {
      // Only what nobody keeps may go between the listing and the read, and a deletion with nothing under it.
      if (!isVarveError(error, 'VARVE_HISTORY_GONE')) throw error;
      if (!version.deleted) expect(version.keptBy).toEqual(['pending']);
    }
  }
  expect([...seqs].sort((a, b) => b - a)).toEqual(seqs);
  const current = twin.newest.state.has(name) ? 1 : 0;
  expect(values).toBeGreaterThanOrEqual(current);
  const past = twin.points.filter(
    (point, i) => point.state.get(name) !== twin.points[i - 1]?.state.get(name),
  );
  if (space === '')
    expect(seqs.length).toBeGreaterThanOrEqual(Math.min(past.length, history.versions + 1) - 1);
}

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('put'), n: fc.nat(999) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('delete', 'range'), n: fc.nat(999) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('drop', 'reopen'), n: fc.nat(999) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('snapshot', 'forget', 'view', 'unview'), n: fc.nat(999) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('flush', 'time', 'check'), n: fc.nat(999) }) },
);

async function take(twin: Twin, kind: string, n: number, history: Required<HistoryOptions>): Promise<void> {
  const space = spaces[n % 2]!;
  const key = keys[n % keys.length]!;
  if (kind === 'put') {
    const length = n % 3 === 0 ? 300 + n : n % 40;
    await twin.put(
      space,
      key,
      new Prng(n + twin.points.length)
        .bytes(length)
        .map((b) => 97 + (b % 20))
        .reduce((s, b) => s + String.fromCharCode(b), ''),
    );
  } else if (kind === 'delete') await twin.remove(space, key);
  else if (kind === 'range') await twin.removeRange(space, key);
  else if (kind === 'drop') await twin.drop();
  else if (kind === 'reopen') await twin.reopen();
  else if (kind === 'snapshot') await twin.snapshot();
  else if (kind === 'forget') await twin.forget(n);
  else if (kind === 'view') twin.look();
  else if (kind === 'unview') twin.views.shift()?.view.close();
  else if (kind === 'flush') await twin.engine.flush();
  else if (kind === 'time') await twin.clock.advance(n % 50);
  else await check(twin, history, new Prng(n));
}

const policies: Required<HistoryOptions>[] = [
  { versions: 0, ms: 0 },
  { versions: 2, ms: 0 },
  { versions: 0, ms: 60 },
  { versions: 1, ms: 200 },
];

test('every state that can be read equals the model', { timeout: historiesMs() }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...policies),
      fc.array(step, { minLength: 5, maxLength: 60 }),
      async (history, steps) => {
        const twin = new Twin(history);
        await twin.open();
        try {
          for (const { kind, n } of steps) await take(twin, kind, n, history);
          await twin.engine.flush();
          await check(twin, history, new Prng(steps.length));
          await twin.reopen();
          await check(twin, history, new Prng(steps.length + 1));
          expect(twin.engine.health().damage).toEqual([]);
        } finally {
          await twin.engine.close();
        }
      },
    ),
    histories(12),
  );
});
