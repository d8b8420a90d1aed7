import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { KeyCursor } from '../../src/tree/cursor.ts';
import { MergeCursor } from '../../src/tree/merge-cursor.ts';
import { sharedStart } from '../../src/tree/table-order.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { mergeOf } from '../../src/tree/tree-view.ts';
import {
  currentKey,
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
        fc.boolean(),
        async (given, moves, isHeaded) => {
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
          // Keys of a space begin alike, and with more where there is one key only.
          const start = sharedStart(tables);
          const merged =
            isHeaded && tables.length > 0
              ? new MergeCursor(cursors, start, cursors.length)
              : new MergeCursor(cursors);
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

  test('rows inserted under a scan of tables come in order, whatever they begin with', async () => {
    const fs = new MemoryFileSystem();
    const tables: KeyTable[] = [];
    for (const no of [1, 2]) {
      const rows = Array.from({ length: 200 }, (_, n) => putRow(`middle ${1000 + 2 * n + no}`, n + 1));
      const meta = await tableOf(fs, rows, no);
      tables.push(await KeyTable.open(fs, meta, { dbUuid, cache: noCache() }));
    }
    const odd = fc.oneof(
      fc.string({ maxLength: 9 }),
      fc.integer({ min: 990, max: 1420 }).map((n) => `middle ${n}`),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(400), odd), { maxLength: 12 }),
        fc.boolean(),
        async (given, back) => {
          const memtable = memtableOf([putRow('middle 1', 900)]);
          const cursor = mergeOf(
            [memtable],
            tables.map((table) => [table]),
          );
          const seen: string[] = [];
          const show = (key: Uint8Array): string => Buffer.from(key).toString('hex');
          let ok = await settle(cursor, () => (back ? cursor.last() : cursor.first()));
          for (let step = 0; ok; step++) {
            seen.push(show(currentKey(cursor)));
            for (const [when, text] of given) {
              if (when !== step) continue;
              const row = putRow(text, 1000 + step);
              const key = keyOf(row);
              memtable.insert(key, 0, key.length, row.value, 0, row.value.length);
            }
            ok = await settle(cursor, () => (back ? cursor.prev() : cursor.next()));
          }
          const sorted = [...seen].sort();
          expect(seen).toEqual(back ? sorted.reverse() : sorted);
          expect(
            seen.filter((key) => key.includes(Buffer.from('middle').toString('hex'))).length,
          ).toBeGreaterThan(400);
        },
      ),
      { numRuns: 40 },
    );
    for (const table of tables) table.release();
  });
});
