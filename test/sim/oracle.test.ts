import { describe, expect, test } from 'vitest';
import type { Attempt } from './attempts.ts';
import { matchCalls } from './matching.ts';
import { whileNothingIsForgotten } from './never-forgotten.ts';
import { Oracle } from './oracle.ts';
import type { Row } from './rows.ts';

const value = { seed: 1, length: 3 };

describe('oracle', () => {
  test('of two removals of a key the acknowledged one is given the only row', () => {
    for (const order of ['unknown first', 'done first']) {
      const { oracle, row } = storeWithOneKey();
      const calls = [removal(oracle, 'batch', 'k'), removal(oracle, 'delete', 'k')];
      if (order === 'done first') calls.reverse();
      for (const call of calls) oracle.end(call, call.kind === 'batch' ? 'unknown' : 'done', 2);
      expect(() => oracle.settle(found([row, removed(2, 'k')]), 2)).not.toThrow();
      expect(oracle.at('', 'k', 2)).toBeUndefined();
    }
  });

  test('two acknowledged removals with one row are a lost commit', () => {
    const { oracle, row } = storeWithOneKey();
    for (const call of [removal(oracle, 'delete', 'k'), removal(oracle, 'delete', 'k')])
      oracle.end(call, 'done', 2);
    expect(() => oracle.settle(found([row, removed(2, 'k')]), 2)).toThrow('acknowledged commit up to 2');
  });

  test('a removal that no call can have made, and one of an absent key, are found out', () => {
    const one = storeWithOneKey();
    one.oracle.end(removal(one.oracle, 'delete', 'k'), 'nothing', 2);
    expect(() => one.oracle.settle(found([one.row, removed(2, 'k')]), 2)).toThrow('was made by no call');
    const two = storeWithOneKey();
    two.oracle.end(removal(two.oracle, 'delete', 'x'), 'done', 2);
    expect(() => two.oracle.settle(found([two.row, removed(2, 'x')]), 2)).toThrow('which is not there');
  });

  test('a batch of removals has a row of each key that is there and of no other', () => {
    const { oracle, row } = storeWithOneKey();
    oracle.end(removal(oracle, 'batch', 'k', 'absent'), 'unknown', 2);
    expect(() => oracle.settle(found([row, removed(2, 'k')]), 2)).not.toThrow();
    const put = oracle.begin('batch', '', new Map(['a', 'b'].map((key) => [key, value])), 2);
    oracle.end(put, 'done', 3, 3);
    const rows = [row, removed(2, 'k'), ...['a', 'b'].map((key) => rowOf(3, key, put.id))];
    oracle.end(removal(oracle, 'batch', 'a', 'b'), 'unknown', 4);
    expect(() => oracle.settle(found([...rows, removed(4, 'a')]), 4)).toThrow('was made by no call');
  });
  test('a reader must show what was durable before it opened, but a number that no commit has', () => {
    for (const [view, missed] of [
      [2, undefined],
      [1, 2],
    ] as const) {
      const { oracle, row } = storeWithOneKey();
      oracle.end(removal(oracle, 'delete', 'k'), 'done', 2);
      oracle.observe({ kind: 'opened', space: '', view, durable: 3 });
      const settle = () => oracle.settle(found([row, removed(2, 'k')]), 3);
      if (missed === undefined) expect(settle).not.toThrow();
      else expect(settle).toThrow(`a reader sees ${view}, commit ${missed} was durable before it opened`);
    }
  });
});

describe('matchCalls', () => {
  test('covers what is needed and every commit where both can be, and says which commit cannot', () => {
    // The first choice of each commit leaves the needed call, or the last commit, without a partner.
    expect(matchCalls([['a', 'b'], ['a']], ['b'])).toEqual(['b', 'a']);
    expect(
      matchCalls(
        [
          ['a', 'b'],
          ['a', 'c'],
        ],
        ['c', 'b'],
      ),
    ).toEqual(['b', 'c']);
    expect(matchCalls([['a'], ['a', 'b'], ['b', 'c']], [])).toEqual(['a', 'b', 'c']);
    expect(matchCalls([['a'], ['a'], []], ['a'])).toEqual(['a', undefined, undefined]);
    expect(matchCalls([], ['a'])).toEqual([]);
  });
});

/** An oracle that has seen key `k` put as commit 1, and its row. */
function storeWithOneKey(): { oracle: Oracle; row: Row } {
  const oracle = new Oracle();
  const put = oracle.begin('put', '', new Map([['k', value]]), 0);
  oracle.end(put, 'done', 1, 1);
  const row = rowOf(1, 'k', put.id);
  oracle.settle(found([row]), 1);
  return { oracle, row };
}

const found = (rows: readonly Row[], late: readonly Row[] = [], drops = new Map<number, string>()) => ({
  rows,
  late,
  drops,
});

const removal = (oracle: Oracle, kind: string, ...keys: string[]): Attempt =>
  oracle.begin(kind, '', new Map(keys.map((key) => [key, null])), 1);

const removed = (seq: number, key: string): Row => rowOf(seq, key, undefined);

function rowOf(seq: number, key: string, id: number | undefined): Row {
  return { seq, space: 0, key, isPut: id !== undefined, hasChunks: false, id, record: BigInt(seq) };
}

test('while nothing is forgotten registries are others, and afterwards the usual ones', async () => {
  const usual = globalThis.FinalizationRegistry;
  await whileNothingIsForgotten(async () => expect(globalThis.FinalizationRegistry).not.toBe(usual));
  await expect(whileNothingIsForgotten(() => Promise.reject(new Error('broke')))).rejects.toThrow('broke');
  expect(globalThis.FinalizationRegistry).toBe(usual);
});
