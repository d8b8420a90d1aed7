/** Merges and purged versions: a GONE row and its version go together, and nobody who may read notices. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeInternalKey, encodeRowPrefix, seqOf } from '../../src/format/internal-key.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import { deleteRecord, goneRecord, parseValueRecord } from '../../src/format/value-record.ts';
import { type KeyCursor, OK } from '../../src/tree/cursor.ts';
import { DeeperRanges } from '../../src/tree/deeper-ranges.ts';
import { plainRule } from '../../src/tree/keep-rule.ts';
import { KeyMemtable } from '../../src/tree/key-memtable.ts';
import { MergeSlice } from '../../src/tree/merge-slice.ts';
import { MergedRows } from '../../src/tree/merged-rows.ts';
import { RowRetention } from '../../src/tree/row-retention.ts';

/** A row of a model: `gone` is the number of the commit that purged. */
interface Row {
  readonly key: number;
  readonly seq: number;
  readonly kind: number;
  readonly purgedAt: number;
}

/** Chunk form, so that only a purge lets a merge drop it. The rest of the record is of no interest. */
const version = Uint8Array.of(rowKinds.put | 16, 0, 0, 0, 0, 0, 0, 0);

function memtableOf(rows: readonly Row[]): KeyMemtable {
  const memtable = new KeyMemtable({ bytesMax: 1 << 20 });
  for (const { key, seq, kind, purgedAt } of rows) {
    const full = encodeInternalKey(encodeRowPrefix(0, Uint8Array.of(key + 1)), seq);
    let value: Uint8Array = version;
    if (kind === rowKinds.gone) value = goneRecord(1, purgedAt);
    else if (kind !== rowKinds.put) value = deleteRecord(1, kind === rowKinds.lateDelete);
    memtable.insert(full, 0, full.length, value, 0, value.length);
  }
  return memtable;
}

function readAll(
  cursor: Pick<KeyCursor, 'keyBytes' | 'keyFrom' | 'keyTo' | 'valueBytes' | 'valueFrom' | 'valueTo'>,
): Row {
  const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
  const kind = valueBytes[valueFrom]! & 15;
  const isGone = kind === rowKinds.gone;
  const purgedAt = isGone ? parseValueRecord(valueBytes, valueFrom, valueTo, { file: 'test' }).goneSeq : 0;
  return { key: keyBytes[keyFrom + 4]! - 1, seq: seqOf(keyBytes, keyTo), kind, purgedAt };
}

async function merged(rows: readonly Row[], horizon: number, pinned: readonly number[]) {
  const pace = { monotonic: () => 0, turn: async () => undefined, cancelled: () => false };
  const out = new MergedRows(
    memtableOf(rows).cursor(),
    new RowRetention(plainRule(horizon, pinned), trees.K),
    new DeeperRanges([], 1),
    new MergeSlice(pace),
    1,
  );
  const kept: Row[] = [];
  while (await out.more()) {
    for (let step = out.first(); step === OK; step = out.next()) kept.push(readAll(out));
  }
  const { read, given, superseded, deletes } = out;
  expect(read.rows).toBe(rows.length);
  expect(given.rows).toBe(kept.length);
  expect(given.rows + superseded.rows + deletes.rows).toBe(read.rows);
  expect(given.bytes + superseded.bytes + deletes.bytes).toBe(read.bytes);
  return kept;
}

/** The version a reader sees, or 0: rows in the order of the tree. */
function seen(rows: readonly Row[], key: number, view: number): number {
  const row = rows.find(
    (one) => one.key === key && one.seq <= view && !(one.kind === rowKinds.gone && one.purgedAt > view),
  );
  return row?.kind === rowKinds.put ? row.seq : 0;
}

/** Versions and deletes of a few keys; superseded versions may have been purged by a later commit. */
const histories = fc
  .array(fc.record({ key: fc.nat(2), isDelete: fc.boolean(), purge: fc.option(fc.nat(8)) }), {
    maxLength: 14,
  })
  .map((calls) => {
    const rows: Row[] = [];
    for (const [i, { key, isDelete }] of calls.entries()) {
      rows.push({ key, seq: i + 1, kind: isDelete ? rowKinds.delete : rowKinds.put, purgedAt: 0 });
    }
    for (const [i, { key, isDelete, purge }] of calls.entries()) {
      const next = calls.findIndex((other, at) => at > i && other.key === key);
      if (isDelete || next === -1 || purge === null) continue;
      rows.push({ key, seq: i + 1, kind: rowKinds.gone, purgedAt: next + 1 + purge });
    }
    return rows;
  });

const inOrder = (a: Row, b: Row): number =>
  a.key - b.key || b.seq - a.seq || (b.kind === rowKinds.gone ? 1 : 0) - (a.kind === rowKinds.gone ? 1 : 0);

describe('a merge of purged versions', () => {
  test('lookups at or above the horizon do not notice, and pairs nobody reads below are gone', async () => {
    const numbers = fc.integer({ min: 0, max: 24 });
    const pins = fc.uniqueArray(numbers, { maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(histories, numbers, pins, async (rows, horizon, some) => {
        const pinned = some.sort((a, b) => a - b);
        const before = rows.toSorted(inOrder);
        const after = await merged(rows, horizon, pinned);
        expect(after).toEqual(after.toSorted(inOrder));
        for (let view = 0; view <= 30; view++) {
          if (view < horizon && !pinned.includes(view)) continue;
          for (const key of [0, 1, 2]) expect(seen(after, key, view)).toBe(seen(before, key, view));
        }
        for (const { kind, seq, purgedAt } of after) {
          if (kind !== rowKinds.gone) continue;
          const isRead = purgedAt > horizon || pinned.some((pin) => pin >= seq && pin < purgedAt);
          expect(isRead).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('without its version in the merge a GONE row stays, with the delete marker above it', async () => {
    const rows = [
      { key: 1, seq: 9, kind: rowKinds.delete, purgedAt: 0 },
      { key: 1, seq: 4, kind: rowKinds.gone, purgedAt: 9 },
      { key: 2, seq: 5, kind: rowKinds.gone, purgedAt: 9 },
    ];
    expect(await merged(rows, 20, [])).toEqual(rows);
  });

  test('a key that was deleted and purged leaves nothing', async () => {
    const rows = [
      { key: 1, seq: 4, kind: rowKinds.put, purgedAt: 0 },
      { key: 1, seq: 4, kind: rowKinds.gone, purgedAt: 9 },
      { key: 1, seq: 9, kind: rowKinds.delete, purgedAt: 0 },
    ];
    expect(await merged(rows, 9, [])).toEqual([]);
    expect(await merged(rows, 8, [])).toHaveLength(3);
    expect(await merged(rows, 9, [5])).toHaveLength(3);
  });
});
