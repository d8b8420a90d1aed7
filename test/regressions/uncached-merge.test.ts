import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { MergeCursor } from '../../src/tree/merge-cursor.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import {
  currentValue,
  dbUuid,
  keyOf,
  noCache,
  putRow,
  type Row,
  settle,
  tableOf,
} from '../tree/table-kit.ts';

const big = (key: string, seq: number): Row => putRow(key, seq, `${key}@${seq} ${'x'.repeat(1500)}`);

// A repeated move moved every source anew. One that had ended its part had given its blocks back, so it
// missed while the other one ended, and so on: a scan with memory.blockCacheBytes 0 read the same blocks for
// ever.
test('a move over several tables without a cache ends, however many blocks each of them needs', async () => {
  const fs = new MemoryFileSystem();
  const keys = Array.from({ length: 40 }, (_, i) => `b${String(i).padStart(3, '0')}`);
  const given = [[big('a', 1)], keys.map((key) => big(key, 2)), keys.map((key) => big(`${key}!`, 3))];
  const tables: KeyTable[] = [];
  for (const [i, rows] of given.entries()) {
    tables.push(await KeyTable.open(fs, await tableOf(fs, rows, i + 1), { dbUuid, cache: noCache() }));
  }
  const all = given.flat().sort((a, b) => Buffer.compare(keyOf(a), keyOf(b)));
  for (const [i, row] of all.entries()) {
    const merged = new MergeCursor(tables.map((table) => table.cursor()));
    const behind = keyOf({ key: `${row.key} `, seq: 9 });
    const found = await settle(merged, () => merged.seek(behind));
    expect(found).toBe(i + 1 < all.length);
    if (found) expect(currentValue(merged)).toEqual(all[i + 1]!.value);
    expect(await settle(merged, () => merged.seekBefore(behind))).toBe(true);
    expect(currentValue(merged)).toEqual(row.value);
    const turned = await settle(merged, () => merged.next());
    expect(turned).toBe(i + 1 < all.length);
  }
  for (const table of tables) table.release();
});
