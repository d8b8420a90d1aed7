import { describe, expect, test } from 'vitest';
import { filePath } from '../../src/format/file-names.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { MISS } from '../../src/tree/cursor.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { currentKey, dbUuid, keyOf, noCache, putRow, rejection, settle, tableOf } from './table-kit.ts';

const key = (n: number): string => `key ${String(n).padStart(6, '0')}`;
const rows = Array.from({ length: 3000 }, (_, n) => putRow(key(n), n + 1, 'v'.repeat(100)));

/** A tree of one table; reads of its file are noted. */
async function treeOf(fs: MemoryFileSystem, scanAheadBytes: number) {
  const meta = await tableOf(fs, rows);
  const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
  const reads: number[] = [];
  fs.faults = ({ kind, length = 0 }) => {
    if (kind === 'read') reads.push(length);
    return undefined;
  };
  return { table, tree: new KeyTree(2 ** 18, [table], [], undefined, 0, scanAheadBytes), reads };
}

describe('a long scan', () => {
  test('reads pieces within its budget, and gives the same rows with any', async () => {
    for (const budget of [0, 16 * 1024, 64 * 1024, 1024 * 1024]) {
      const { table, tree, reads } = await treeOf(new MemoryFileSystem(), budget);
      const view = tree.view();
      const cursor = view.cursor();
      let n = 0;
      for (let ok = await settle(cursor, () => cursor.first()); ok; n++) {
        expect(currentKey(cursor)).toEqual(keyOf(rows[n]!));
        let step = cursor.next();
        while (step === MISS) {
          await cursor.load();
          step = cursor.next();
        }
        ok = step === 1;
      }
      expect(n).toBe(rows.length);
      const { blocks } = table.index;
      expect(blocks).toBeGreaterThan(30);
      expect(Math.max(...reads)).toBeLessThanOrEqual(Math.max(budget, 9000));
      if (budget === 0) expect(reads).toHaveLength(blocks);
      if (budget >= 64 * 1024) expect(reads.length).toBeLessThan(4 + (blocks * 9000) / (budget / 2));
      view.release();
      tree.close();
    }
  });

  test('that ends soon reads its blocks one by one', async () => {
    const { tree, reads } = await treeOf(new MemoryFileSystem(), 1024 * 1024);
    const view = tree.view();
    const cursor = view.cursor();
    await settle(cursor, () => cursor.seek(keyOf({ key: key(700), seq: 2 ** 30 })));
    for (let i = 0; i < 100; i++) await settle(cursor, () => cursor.next());
    expect(reads.length).toBeLessThanOrEqual(3);
    expect(Math.max(...reads)).toBeLessThan(9000);
    view.release();
    tree.close();
  });

  test('a scan that reads ahead gives every row before a damaged block', async () => {
    const fs = new MemoryFileSystem();
    const { table, tree } = await treeOf(fs, 1024 * 1024);
    const damaged = 20;
    const at = table.index.offsetOf(damaged);
    for (const how of ['flip', 'unreadable'] as const) {
      if (how === 'flip') fs.flipBit(filePath('tab', table.no), (at + 50) * 8);
      else {
        fs.flipBit(filePath('tab', table.no), (at + 50) * 8);
        fs.faults = ({ kind, pos = 0, length = 0 }) =>
          kind === 'read' && pos <= at + 9 && at + 9 < pos + length ? { errno: 'EIO' } : undefined;
      }
      const view = tree.view();
      const cursor = view.cursor();
      let n = 0;
      const error = await rejection(async () => {
        for (let ok = await settle(cursor, () => cursor.first()); ok; n++)
          ok = await settle(cursor, () => cursor.next());
      });
      expect(error).toMatchObject({ code: how === 'flip' ? 'VARVE_CORRUPT' : 'VARVE_IO' });
      let before = 0;
      for (let block = 0; block < damaged; block++) before += table.index.rowsOf(block);
      expect(n).toBe(before - 1);
      view.release();
    }
    tree.close();
  });
});
