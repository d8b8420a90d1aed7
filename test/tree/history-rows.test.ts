import { describe, expect, test } from 'vitest';
import { concatBytes } from '../../src/base/bytes.ts';
import {
  clockKey,
  encodeClockRow,
  encodePolicyRow,
  encodeSnapshotRow,
  policyKey,
  snapshotKey,
} from '../../src/format/history-rows.ts';
import { encodeSysKey } from '../../src/format/internal-key.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { HistoryRows } from '../../src/tree/history-rows.ts';
import { KeyMemtable } from '../../src/tree/key-memtable.ts';

function policy(versions: number, ms = 0): Uint8Array {
  return encodePolicyRow({ history: { versions, ms, sinceSeq: 1, sinceMs: 1 }, ttlMs: undefined });
}

function snapshot(seq: number): Uint8Array {
  return encodeSnapshotRow({ seq, timeMs: 5, note: '' });
}

function pins(rows: HistoryRows): number[] {
  const set = new Set<number>();
  rows.pinsInto(set);
  return [...set].sort((a, b) => a - b);
}

describe('history rows', () => {
  test('rows loaded are those applied', async () => {
    const steps: [Uint8Array, Uint8Array | undefined][] = [
      [snapshotKey('a'), snapshot(1)],
      [snapshotKey('b'), snapshot(2)],
      [policyKey(0), policy(2)],
      [policyKey(7), policy(1, 9)],
      [snapshotKey('a'), undefined],
      [clockKey, encodeClockRow(55)],
      [policyKey(0), policy(4)],
      [snapshotKey('a'), snapshot(8)],
      [snapshotKey('b'), undefined],
    ];
    const applied = new HistoryRows();
    const memtable = new KeyMemtable({ bytesMax: 2 ** 16 });
    for (const [i, [key, value]] of steps.entries()) {
      applied.apply(key, value, i + 1);
      const row = encodeSysKey(key, i + 1);
      const kind = Uint8Array.of(value === undefined ? rowKinds.delete : rowKinds.put);
      const bytes = concatBytes(value === undefined ? [kind] : [kind, value]);
      memtable.insert(row, 0, row.length, bytes, 0, bytes.length);
    }
    applied.settle(99);
    const loaded = new HistoryRows();
    const system = { view: () => ({ cursor: () => memtable.cursor(), release: () => undefined }) };
    expect(await loaded.load(system)).toBe(undefined);
    loaded.settle(99);
    for (const at of [1, 5, 8, 9]) expect(loaded.snapshotsAt(at)).toEqual(applied.snapshotsAt(at));
    expect([pins(applied), applied.clockMs, applied.marksTime]).toEqual([[8], 55, true]);
    expect([pins(loaded), loaded.clockMs, loaded.marksTime]).toEqual([[8], 55, true]);
    expect([0, 3, 7].map((space) => loaded.keptOf(space, 99))).toEqual([
      { versions: 4, ms: 0 },
      { versions: 4, ms: 0 },
      { versions: 1, ms: 9 },
    ]);
  });

  test('a deleted snapshot is kept until its deletion is durable', () => {
    const rows = new HistoryRows();
    rows.apply(snapshotKey('a'), snapshot(3), 3);
    expect([pins(rows), rows.snapshotsAt(2), rows.snapshotAt('a', 2)]).toEqual([[3], [], undefined]);
    rows.apply(snapshotKey('a'), undefined, 5);
    rows.settle(4);
    expect(pins(rows)).toEqual([3]);
    expect([4, 5].map((at) => rows.snapshotsAt(at).length)).toEqual([1, 0]);
    expect([4, 5].map((at) => rows.snapshotAt('a', at)?.seq)).toEqual([3, undefined]);
    expect(rows.newest('a')).toBe(undefined);
    rows.settle(5);
    expect(pins(rows)).toEqual([]);
  });

  test('a lowered policy counts when it is durable', () => {
    const rows = new HistoryRows();
    rows.apply(policyKey(0), policy(3, 100), 1);
    rows.apply(policyKey(0), policy(1), 9);
    expect(rows.keptOf(4, 8)).toEqual({ versions: 3, ms: 100 });
    expect([rows.marksTime, rows.keepsTime]).toEqual([false, true]);
    rows.settle(9);
    expect(rows.keptOf(4, 9)).toEqual({ versions: 1, ms: 0 });
    expect(rows.keepsTime).toBe(false);
  });
});
