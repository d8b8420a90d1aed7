import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { encodeSysKey } from '../../src/format/internal-key.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import { plainRule } from '../../src/tree/keep-rule.ts';
import { RowRetention, verdicts } from '../../src/tree/row-retention.ts';

interface Row {
  readonly seq: number;
  readonly head: number;
}

const chunks = rowKinds.put | 16;
const heads = [rowKinds.put, rowKinds.put, rowKinds.delete, rowKinds.lateDelete, chunks] as const;

/** Rows of one key, newest first, that a merge with nothing under it keeps. */
function kept(rows: readonly Row[], horizon: number, pinned: readonly number[] = [], versions = 0): Row[] {
  const retention = new RowRetention(plainRule(horizon, pinned, versions), trees.K);
  retention.begin(new Uint8Array(4), 0);
  const out: Row[] = [];
  let held: Row | undefined;
  for (const row of rows) {
    const verdict = retention.judge(row.seq, row.head);
    if (verdict === verdicts.hold) held = row;
    if (verdict !== verdicts.keep) continue;
    if (held !== undefined) out.push(held);
    held = undefined;
    out.push(row);
  }
  return out;
}

/** What a reader at `view` sees: the number of a put, or 0 for an absent key. */
function seenAt(rows: readonly Row[], view: number): number {
  const row = rows.find(({ seq, head }) => seq <= view && (head & 15) !== rowKinds.gone);
  return row === undefined || (row.head & 15) !== rowKinds.put ? 0 : row.seq;
}

const someRows = fc
  .array(fc.constantFrom(...heads), { maxLength: 12 })
  .map((list) => list.map((head, i) => ({ seq: 2 * (list.length - i), head })));

describe('row retention', () => {
  test('lookups at or above the horizon do not notice', () => {
    fc.assert(
      fc.property(someRows, fc.integer({ min: 0, max: 30 }), (rows, horizon) => {
        const after = kept(rows, horizon);
        for (let view = horizon; view <= 31; view++) expect(seenAt(after, view)).toBe(seenAt(rows, view));
      }),
    );
  });

  test('lookups at pinned numbers do not notice', () => {
    const pins = fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 4 });
    fc.assert(
      fc.property(someRows, fc.integer({ min: 0, max: 30 }), pins, (rows, horizon, some) => {
        const pinned = some.sort((a, b) => a - b);
        const after = kept(rows, horizon, pinned);
        for (const view of pinned) expect(seenAt(after, view)).toBe(seenAt(rows, view));
      }),
    );
  });

  test('so many superseded versions stay', () => {
    const rows = [5, 4, 3, 2].map((seq) => ({ seq, head: rowKinds.put }));
    expect(kept(rows, 9, [], 0)).toEqual(rows.slice(0, 1));
    expect(kept(rows, 9, [], 2)).toEqual(rows.slice(0, 3));
    expect(kept(rows, 4, [], 2)).toEqual(rows.slice(0, 3));
    expect(kept(rows, 4, [], 1)).toEqual(rows.slice(0, 2));
    expect(kept(rows, 9, [3], 1)).toEqual(rows.slice(0, 3));
    const deleted = [5, 4, 3].map((seq) => ({ seq, head: seq === 4 ? rowKinds.delete : rowKinds.put }));
    expect(kept(deleted, 9, [], 1)).toEqual(deleted.slice(0, 2));
    expect(kept(deleted, 9, [], 2)).toEqual(deleted);
  });

  test('time rows go at or below the horizon', () => {
    const retention = new RowRetention(plainRule(4), trees.S);
    const judge = (name: string, seq: number): number => {
      retention.begin(encodeSysKey(encodeUtf8(name), seq), 0);
      return retention.judge(seq, rowKinds.put);
    };
    const { keep, drop } = verdicts;
    expect([judge('time/1', 5), judge('time/2', 4), judge('timer', 3)]).toEqual([keep, drop, keep]);
  });

  test('spaces have rules of their own', () => {
    const rule = { ...plainRule(0), horizonOf: (space: number) => (space === 7 ? 9 : 0) };
    const retention = new RowRetention(rule, trees.K);
    const judgeIn = (space: number): number[] => {
      retention.begin(Uint8Array.of(0, 0, 0, space), 0);
      return [5, 4].map((seq) => retention.judge(seq, rowKinds.put));
    };
    const { keep, drop } = verdicts;
    expect([1, 7, 1].map(judgeIn)).toEqual([
      [keep, keep],
      [keep, drop],
      [keep, keep],
    ]);
  });

  test('a version that holds chunks stays until it is gone', () => {
    fc.assert(
      fc.property(someRows, fc.integer({ min: 0, max: 30 }), (rows, horizon) => {
        const after = kept(rows, horizon);
        expect(after.filter(({ head }) => head === chunks)).toEqual(
          rows.filter(({ head }) => head === chunks),
        );
      }),
    );
  });

  test('nothing but the newest version is left of inline values', () => {
    const rows = [5, 4, 3].map((seq) => ({ seq, head: rowKinds.put }));
    expect(kept(rows, 9)).toEqual(rows.slice(0, 1));
    expect(kept(rows, 4)).toEqual(rows.slice(0, 2));
    expect(kept(rows, 2)).toEqual(rows);
  });

  test('a delete marker goes with what it hides, and stays over a version with chunks', () => {
    const gone = { seq: 5, head: rowKinds.delete };
    expect(kept([gone, { seq: 4, head: rowKinds.put }], 9)).toEqual([]);
    const held = { seq: 4, head: chunks };
    expect(kept([gone, held], 9)).toEqual([gone, held]);
    expect(kept([gone, { seq: 4, head: rowKinds.put }], 4).length).toBe(2);
  });

  test('GONE rows stay, with the row they belong to', () => {
    const rows = [
      { seq: 7, head: rowKinds.put },
      { seq: 5, head: rowKinds.gone },
      { seq: 5, head: chunks },
      { seq: 4, head: rowKinds.gone },
      { seq: 4, head: rowKinds.put },
      { seq: 3, head: rowKinds.put },
    ];
    expect(kept(rows, 9)).toEqual(rows.slice(0, 5));
  });

  test('a late delete goes as a delete marker does', () => {
    const late = { seq: 5, head: rowKinds.lateDelete };
    const held = { seq: 4, head: chunks };
    expect(kept([late, { seq: 4, head: rowKinds.put }], 9)).toEqual([]);
    expect(kept([late, held], 9)).toEqual([late, held]);
    expect(kept([late, { seq: 4, head: rowKinds.put }], 4).length).toBe(2);
    const newer = { seq: 8, head: rowKinds.put };
    expect(kept([newer, late, held], 9)).toEqual([newer, held]);
  });
});
