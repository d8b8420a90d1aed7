import { describe, expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { OK } from '../../src/tree/cursor.ts';
import { FilterBudget } from '../../src/tree/filter-budget.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { dbUuid, noCache, prefixOf, putRow, rejection, tableOf } from './table-kit.ts';

describe('budget of filters', () => {
  test('filters stay within their budget, and answers stay the same', async () => {
    const fs = new MemoryFileSystem();
    const metas = [];
    for (let no = 1; no <= 6; no++) {
      const rows = Array.from({ length: 200 }, (_, i) => putRow(`key ${no} ${i}`, no * 1000 + i));
      metas.push(await tableOf(fs, rows, no));
    }
    const each = 320;
    for (const budget of [0, each - 1, 2 * each, 100 * each]) {
      const room = new FilterBudget(budget);
      const tables: KeyTable[] = [];
      for (const meta of metas) tables.push(await KeyTable.open(fs, meta, dbUuid, noCache(), room));
      const having = tables.filter(({ filterBytes }) => filterBytes > 0);
      expect(having).toHaveLength(Math.min(6, Math.floor(budget / each)));
      expect(room.used).toBe(having.length * each);
      const tree = new KeyTree(2 ** 18, tables);
      const out = new RowRef();
      for (let no = 1; no <= 6; no++) {
        const prefix = prefixOf(`key ${no} ${no * 7}`);
        expect(tree.findSync(prefix, 0, prefix.length, 2 ** 30, out)).toBe(OK);
        expect(out.seq).toBe(no * 1000 + no * 7);
      }
      // Held twice, given back once.
      tables[0]!.retain();
      tree.close();
      expect(room.used).toBe(tables[0]!.filterBytes);
      tables[0]!.release();
      expect(room.used).toBe(0);
    }
  });

  test('an open that fails gives its room back', async () => {
    const fs = new MemoryFileSystem();
    const meta = await tableOf(
      fs,
      Array.from({ length: 200 }, (_, i) => putRow(`key ${i}`, i)),
    );
    const room = new FilterBudget(2 ** 20);
    const whole = await KeyTable.open(fs, meta, dbUuid, noCache(), room);
    const used = room.used;
    expect(used).toBe(whole.filterBytes);
    for (let byte = 0; byte < meta.size; byte += 8) {
      const disk = fs.fork();
      disk.flipBit(`tab/00/00/${meta.no.toString(16).padStart(16, '0')}.tab`, byte * 8);
      const error = await rejection(async () => {
        const table = await KeyTable.open(disk, meta, dbUuid, noCache(), room);
        expect(room.used).toBe(used + table.filterBytes);
        table.release();
      });
      expect(room.used).toBe(used);
      if (error !== undefined) expect(error.code).toMatch(/VARVE_(CORRUPT|FORMAT_VERSION)/);
    }
    whole.release();
    expect(room.used).toBe(0);
  });
});
