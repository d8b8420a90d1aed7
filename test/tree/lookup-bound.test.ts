import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { hashKey32 } from '../../src/codec/key-hash.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { BlockHold, BlockSource } from '../../src/tree/block-hold.ts';
import { FrozenChunks } from '../../src/tree/chunk-cursor.ts';
import { ChunkMemtable } from '../../src/tree/chunk-memtable.ts';
import { ChunkHit, ChunkTable } from '../../src/tree/chunk-table-reader.ts';
import { writeChunkTable } from '../../src/tree/chunk-table-writer.ts';
import { ChunkTree } from '../../src/tree/chunk-tree.ts';
import { MISS } from '../../src/tree/cursor.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import { chunkId, dbUuid, memtableOf, noCache, prefixOf, putRow, salt } from './table-kit.ts';

const keyText = (n: number): string => `key ${String(n).padStart(6, '0')}`;

/** Notes which blocks a hold is asked to load: of rows, as all filters and indexes are in memory. */
function watch(hold: BlockHold): { source: BlockSource<unknown>; block: number }[] {
  const wanted: { source: BlockSource<unknown>; block: number }[] = [];
  const want = hold.want.bind(hold);
  hold.want = (source, block) => {
    wanted.push({ source, block });
    return want(source, block);
  };
  return wanted;
}

/** Three tables of level 0 over all keys and two levels of eight tables each. */
async function keyTree(fs: MemoryFileSystem): Promise<KeyTree> {
  const tables: KeyTable[] = [];
  const prng = new Prng(7);
  let seq = 1;
  let no = 1;
  const add = async (level: number, numbers: number[]): Promise<void> => {
    const rows = memtableOf(numbers.map((n) => putRow(keyText(n), seq++, 'v'.repeat(40)))).cursor();
    const meta = await writeKeyTable(fs, { no: no++, tree: trees.K, level, dbUuid, salt, rows });
    tables.push(await KeyTable.open(fs, meta, { dbUuid, cache: noCache() }));
  };
  const some = (from: number, to: number, share: number): number[] =>
    Array.from({ length: to - from }, (_, i) => from + i).filter(() => prng.below(100) < share);
  for (const level of [2, 1]) {
    for (let part = 0; part < 8; part++) await add(level, some(part * 400, (part + 1) * 400, 60));
  }
  for (let i = 0; i < 3; i++) await add(0, some(0, 3200, 10));
  return new KeyTree(2 ** 18, tables);
}

describe('lookups', () => {
  test('at most one block is read in each sorted run whose filter says maybe', async () => {
    const tree = await keyTree(new MemoryFileSystem());
    let passed = 0;
    for (let n = 0; n < 3300; n += 3) {
      const prefix = prefixOf(keyText(n));
      const hash = hashKey32(prefix, 0, prefix.length);
      const out = new RowRef();
      const wanted = watch(out.pending);
      const before = { ...tree.counts };
      tree.findSync(prefix, 0, prefix.length, 2 ** 30, out);
      const { lookups, filters, tables } = tree.counts;
      expect(lookups - before.lookups).toBe(1);
      expect(filters - before.filters).toBeLessThanOrEqual(5);
      expect(tables - before.tables).toBe(wanted.length);
      const read = wanted.map(({ source }) => source as KeyTable);
      expect(new Set(read).size).toBe(read.length);
      for (const table of read) expect(table.mayContain(hash)).toBe(true);
      const runs = read.map(({ meta }) => (meta.level === 0 ? `table ${meta.no}` : `level ${meta.level}`));
      expect(new Set(runs).size).toBe(runs.length);
      passed += read.length;
    }
    expect(passed).toBeGreaterThan(500);
    tree.close();
  });

  test('a chunk costs as much, whatever the number of tables of a level', async () => {
    const fs = new MemoryFileSystem();
    const tables: ChunkTable[] = [];
    for (let part = 0; part < 16; part++) {
      const memtable = new ChunkMemtable({ bytesMax: 2 ** 20 });
      for (let i = 0; i < 100; i++) {
        const n = part * 100 + i;
        memtable.setLocation(chunkId(n, n << 20), 0, n + 1, n, 100, 100, 0, 0);
        memtable.note(n + 1);
      }
      memtable.freeze();
      const { minSeq, maxSeq, entries } = memtable;
      const input = { entries: new FrozenChunks(memtable), entriesMax: entries, minSeq, maxSeq };
      const meta = await writeChunkTable(fs, { no: part + 1, level: 1, dbUuid, salt, ...input });
      tables.push(await ChunkTable.open(fs, meta, { dbUuid, cache: noCache() }));
    }
    const tree = new ChunkTree(2 ** 18, tables);
    const hit = new ChunkHit();
    const wanted = watch(hit.pending);
    for (let n = 0; n < 1600; n += 7) {
      wanted.length = 0;
      const id = chunkId(n, n << 20);
      expect(tree.find(id, 0, hit)).toBe(MISS);
      tree.findSync(id, 0, hit);
      expect(hit.segment).toBe(n + 1);
      expect(new Set(wanted.map(({ source }) => source.no)).size).toBe(1);
      expect(wanted.length).toBeLessThanOrEqual(2);
    }
    expect(tree.counts.filters).toBe(tree.counts.lookups);
    tree.close();
  });
});
