import { describe, expect, test } from 'vitest';
import { encodeRowPrefix } from '../../src/format/internal-key.ts';
import { putSys } from '../../src/format/log-ops.ts';
import { encodeRangeRow, rangeKey } from '../../src/format/system-rows.ts';
import { trees } from '../../src/format/trees.ts';
import { recordForms } from '../../src/format/value-record.ts';
import { Claims } from '../../src/txn/claims.ts';
import { CommitWatch } from '../../src/txn/commit-watch.ts';
import type { WriteOp } from '../../src/txn/txn-writer.ts';
import { Validator } from '../../src/txn/validator.ts';
import { codeOf } from '../engine/engine-kit.ts';
import { writeParts } from './write-kit.ts';

const prefixOf = (key: string): Uint8Array => encodeRowPrefix(0, new TextEncoder().encode(key));
const bytes = new Uint8Array(3);
const put = (key: string): WriteOp => ({
  kind: 'put',
  prefix: prefixOf(key),
  body: { form: recordForms.inline, size: 3, bytes },
  metadata: undefined,
});

async function parts() {
  const made = await writeParts();
  const { txn, log, forest } = made;
  const range = (from: string, to: string): void => {
    txn.sequence(256, (writer, seq, timeMs) => {
      putSys(writer, rangeKey(seq), encodeRangeRow({ timeMs, from: prefixOf(from), to: prefixOf(to) }));
    });
  };
  const waiter = { done: () => undefined, failed: () => undefined };
  const putInline = (key: string): void => {
    const prefix = prefixOf(key);
    txn.putInline(prefix, prefix.length, bytes, waiter);
  };
  const validator = (between: () => void = () => undefined): Validator =>
    new Validator({
      forest,
      txn,
      log,
      turn: async () => between(),
    });
  return { ...made, range, putInline, validator, commit: (key: string) => txn.commit([put(key)], [], []) };
}

function claimed(keys: readonly string[], ranges: readonly (readonly [string, string])[] = []): Claims {
  const claims = new Claims();
  for (const key of keys) claims.addKey(prefixOf(key));
  for (const [from, to] of ranges) claims.addRange({ from: prefixOf(from), to: prefixOf(to) });
  return claims;
}

describe('a watch', () => {
  test('notes every way of writing', async () => {
    const { txn, range, putInline, commit } = await parts();
    commit('gone');
    const ways: [string, () => void][] = [
      ['commit', () => commit('k')],
      ['delete', () => txn.commit([{ kind: 'delete', prefix: prefixOf('gone') }], [], [])],
      ['putInline', () => putInline('k')],
      ['range', () => range('j', 'l')],
    ];
    for (const [name, way] of ways) {
      const watch = txn.watch();
      way();
      txn.unwatch(watch);
      const key = name === 'delete' ? 'gone' : 'k';
      expect([name, watch.meets(claimed([key]))]).toEqual([name, true]);
      expect([name, watch.meets(claimed([], [[key, `${key}z`]]))]).toEqual([name, true]);
      expect([name, watch.meets(claimed(['other'], [['x', 'z']]))]).toEqual([name, false]);
    }
  });

  test('overflows at its bound and says so', () => {
    const watch = new CommitWatch(2);
    const prefix = prefixOf('k');
    for (let i = 0; i < 2; i++) watch.put(trees.K, 1, prefix, 0, prefix.length);
    expect(watch.overflowed).toBe(false);
    watch.put(trees.K, 1, prefix, 0, prefix.length);
    expect(watch.overflowed).toBe(true);
  });
});

describe('validation', () => {
  const cases: [string, Claims, string | undefined][] = [
    ['a key that was changed', claimed(['a']), 'VARVE_CONFLICT'],
    ['a key that was made', claimed(['new']), 'VARVE_CONFLICT'],
    ['a range with a change', claimed([], [['a', 'b']]), 'VARVE_CONFLICT'],
    ['a key in a deleted range', claimed(['s']), 'VARVE_CONFLICT'],
    ['a key without a version in a deleted range', claimed(['q']), 'VARVE_CONFLICT'],
    ['a range that meets a deleted one', claimed([], [['t', 'z']]), 'VARVE_CONFLICT'],
    ['a key that stayed', claimed(['b']), undefined],
    ['a range without a change', claimed([], [['b', 'm']]), undefined],
    ['an empty range', claimed([], [['b', 'a']]), undefined],
    ['nothing', claimed([]), undefined],
  ];
  test.each(cases)('%s', async (_name, claims, code) => {
    const { log, range, validator, commit } = await parts();
    for (const key of ['a', 'b', 's', 'x']) commit(key);
    const view = log.lastSeq;
    commit('a');
    commit('new');
    range('p', 'u');
    let ran = 0;
    const call = validator().run(claims, view, () => ran++);
    if (code === undefined) expect(await call).toBe(0);
    else expect(await codeOf(call)).toBe(code);
    expect(ran).toBe(code === undefined ? 1 : 0);
  });

  test('what is sequenced during the first look is seen by the second', async () => {
    for (const [key, isConflict] of [
      ['row3', true],
      ['other', false],
    ] as const) {
      const { log, validator, commit } = await parts();
      for (let i = 0; i < 5000; i++) commit(`old${i}`);
      const view = log.lastSeq;
      commit('unrelated');
      let between = 0;
      const write = (): void => {
        if (between++ === 0) commit(key);
      };
      const call = validator(write).run(
        claimed(
          [],
          [
            ['row', 'rox'],
            ['old', 'olz'],
          ],
        ),
        view,
        () => 'done',
      );
      if (isConflict) expect(await codeOf(call)).toBe('VARVE_CONFLICT');
      else expect(await call).toBe('done');
      expect(between).toBe(1);
    }
  });

  test('it commits in the turn of the second look, at once where nothing was sequenced since', async () => {
    const { log, validator, commit } = await parts();
    commit('a');
    let ran = false;
    const call = validator().run(claimed(['a']), log.lastSeq, () => {
      ran = true;
    });
    expect(ran).toBe(true);
    await call;
  });
});
