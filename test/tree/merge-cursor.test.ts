import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { KeyCursor } from '../../src/tree/cursor.ts';
import { MergeCursor } from '../../src/tree/merge-cursor.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import {
  currentValue,
  dbUuid,
  keyOf,
  memtableOf,
  noCache,
  putRow,
  type Row,
  settle,
  tableOf,
} from './table-kit.ts';

const rowArb = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), seq: fc.integer({ min: 1, max: 3 }) });
const moveArb = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('next' as const, 'prev' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('seek' as const, 'seekBefore' as const), row: rowArb }),
  },
);

describe('merge cursor', () => {
  test('scans both ways, turned anywhere, equal the model, also where sources have equal keys', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(rowArb, { minLength: 1, maxLength: 12 }), { minLength: 2, maxLength: 4 }),
        fc.array(moveArb, { minLength: 10, maxLength: 40 }),
        async (given, moves) => {
          const fs = new MemoryFileSystem();
          const cursors: KeyCursor[] = [];
          const model: { row: Row; source: number; place: number }[] = [];
          const tables: KeyTable[] = [];
          for (const [source, rows] of given.entries()) {
            const own = rows.map(({ key, seq }, i) => putRow(key, seq, `${source}.${i}.${'x'.repeat(900)}`));
            // In one source the row inserted last comes first among equal keys.
            for (const [i, row] of own.entries()) model.push({ row, source, place: -i });
            if (source % 2 === 0) cursors.push(memtableOf(own).cursor());
            else {
              const table = await KeyTable.open(fs, await tableOf(fs, own, source + 1), {
                dbUuid,
                cache: noCache(),
              });
              tables.push(table);
              cursors.push(table.cursor());
            }
          }
          model.sort(
            (a, b) => compareBytes(keyOf(a.row), keyOf(b.row)) || a.source - b.source || a.place - b.place,
          );
          const merged = new MergeCursor(cursors);
          let at = 0;
          let ok = await settle(merged, () => merged.first());
          for (const move of moves) {
            if (move.kind === 'seek' || move.kind === 'seekBefore') {
              const sought = keyOf(move.row);
              at = model.findIndex(({ row }) => compareBytes(keyOf(row), sought) >= 0);
              if (at === -1) at = model.length;
              if (move.kind === 'seekBefore') at--;
              ok = await settle(merged, () => merged[move.kind as 'seek'](sought));
            } else if (ok) {
              at += move.kind === 'next' ? 1 : -1;
              ok = await settle(merged, () => merged[move.kind as 'next']());
            }
            expect(ok).toBe(at >= 0 && at < model.length);
            if (ok) expect(currentValue(merged)).toEqual(model[at]!.row.value);
          }
          for (const table of tables) table.release();
        },
      ),
      { numRuns: 40 },
    );
  });
});
