import { describe, expect, test } from 'vitest';
import { hashKey32 } from '../../src/codec/key-hash.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { OK, settle } from '../../src/tree/cursor.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { MergeSlice } from '../../src/tree/merge-slice.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { TableScratch } from '../../src/tree/table-output.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import {
  currentKey,
  currentValue,
  dbUuid,
  memtableOf,
  noCache,
  prefixOf,
  putRow,
  type Row,
  rowValue,
  salt,
  tableOf,
} from './table-kit.ts';

describe('memory of merges', () => {
  test('a scan that reuses its buffers gives the rows of one that does not', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 2500 }, (_, n) => {
      const value = rowValue(`${n} `.repeat(1 + (n % 40) * (n % 7 === 0 ? 40 : 1)));
      return { key: `key ${String(n).padStart(6, '0')}`, seq: n + 1, value };
    });
    const table = await KeyTable.open(fs, await tableOf(fs, rows), { dbUuid, cache: noCache() });
    for (const pieceBytes of [1, 9000, 40_000]) {
      const read = async (reuses: boolean): Promise<string[]> => {
        const cursor = table.scan(pieceBytes, reuses);
        const seen: string[] = [];
        let step = await settle(cursor, () => cursor.first());
        while (step === OK) {
          const key = Buffer.from(currentKey(cursor)).toString('hex');
          seen.push(`${key} ${Buffer.from(currentValue(cursor))}`);
          step = await settle(cursor, () => cursor.next());
        }
        return seen;
      };
      const plain = await read(false);
      expect(plain.length).toBe(rows.length);
      expect(await read(true)).toEqual(plain);
    }
    table.release();
  });

  test('tables of one merge share its memory, and one that fails leaves it good', async () => {
    const fs = new MemoryFileSystem();
    const scratch = new TableScratch();
    for (const count of [3000, 3, 0, 700, 5000]) {
      const rows: Row[] = Array.from({ length: Math.max(1, count) }, (_, n) => {
        return { key: `${count} key ${String(n).padStart(6, '0')}`, seq: n + 1, value: rowValue(`${n}`) };
      });
      if (count === 0) fs.faults = ({ kind }) => (kind === 'write' ? { errno: 'EIO' } : undefined);
      const identity = { no: 100 + count, tree: trees.K, level: 0, dbUuid, salt, scratch };
      const written = writeKeyTable(fs, { ...identity, rows: memtableOf(rows).cursor() });
      if (count === 0) {
        await expect(written).rejects.toMatchObject({ code: 'VARVE_IO' });
        fs.faults = undefined;
        continue;
      }
      const table = await KeyTable.open(fs, await written, { dbUuid, cache: noCache() });
      expect(table.meta.entries).toBe(count);
      const out = new RowRef();
      const tree = new KeyTree(2 ** 18, [table]);
      for (const { key, seq } of rows) {
        const prefix = prefixOf(key);
        expect(tree.findSync(prefix, 0, prefix.length, 2 ** 30, out)).toBe(OK);
        expect(out.seq).toBe(seq);
      }
      tree.close();
    }
  });

  test('the filter of a table is made in slices of the thread, and has every key', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 20_000 }, (_, n) => putRow(`key ${n}`, n + 1, ''));
    let ms = 0;
    let turns = 0;
    const slice = new MergeSlice({
      monotonic: () => (ms += 4),
      turn: async () => {
        turns++;
      },
      cancelled: () => false,
    });
    const identity = { no: 1, tree: trees.K, level: 1, dbUuid, salt, slice };
    const meta = await writeKeyTable(fs, { ...identity, rows: memtableOf(rows).cursor() });
    expect(turns).toBe(3);
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    for (const { key } of rows) {
      const prefix = prefixOf(key);
      if (!table.mayContain(hashKey32(prefix, 0, prefix.length))) throw new Error(`${key} is denied`);
    }
    table.release();
  });
});
