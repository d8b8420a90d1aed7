import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { align8 } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { hashKey32 } from '../../src/codec/key-hash.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { decodeFileHeader } from '../../src/format/file-header.ts';
import { filePath } from '../../src/format/file-names.ts';
import {
  decodeTableFooter,
  decodeTableProps,
  openBlock,
  sealBlock,
  sealedBytes,
} from '../../src/format/table.ts';
import { decodeTopIndex } from '../../src/format/table-index.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { BlockHold } from '../../src/tree/block-hold.ts';
import { ChunkBatch } from '../../src/tree/chunk-batch.ts';
import { ChunkHit, ChunkTable } from '../../src/tree/chunk-table-reader.ts';
import { ChunkTree } from '../../src/tree/chunk-tree.ts';
import { END, MISS, OK } from '../../src/tree/cursor.ts';
import { Forest } from '../../src/tree/forest.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { PartRoom } from '../../src/tree/part-room.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import {
  chunkId,
  chunkMemtableOf,
  chunkTableOf,
  currentKey,
  dbUuid,
  keyOf,
  memtableOf,
  noCache,
  prefixOf,
  putRow,
  rejection,
  salt,
  settle,
  tableOf,
} from './table-kit.ts';

const keys = 48_000;
/** Keys that differ late make long separators, so that the index has several partitions. */
const longKey = (n: number): string => `${'x'.repeat(120)}key ${String(n).padStart(6, '0')}`;

/** Three tables, the deepest of all keys, with several pieces of filter and of index; the others of a few. */
async function largeTables(fs: MemoryFileSystem): Promise<CatalogTable[]> {
  const metas: CatalogTable[] = [];
  for (const [level, share, count] of [
    [0, 3, 3000],
    [0, 2, 3000],
    [1, 1, keys],
  ] as const) {
    const numbers = Array.from({ length: count }, (_, n) => n).filter((n) => n % share === 0);
    const rows = memtableOf(numbers.map((n) => putRow(longKey(n), 10 * n + 4 - share, 'v'))).cursor();
    const no = metas.length + 1;
    metas.push(await writeKeyTable(fs, { no, tree: trees.K, level, dbUuid, salt, rows }));
  }
  return metas;
}

/** The newest number of a key of those tables: the second table of level 0 is newer than the first. */
function newestOf(n: number): number {
  if (n < 3000 && n % 2 === 0) return 10 * n + 2;
  return n < 3000 && n % 3 === 0 ? 10 * n + 1 : 10 * n + 3;
}

const fs = new MemoryFileSystem();
const large: Promise<CatalogTable[]> = largeTables(fs);

describe('pieces of filters and indexes', () => {
  test('lookups end and answer the same with any budget', async () => {
    const metas = await large;
    const prng = new Prng(3);
    for (const [filterBytes, indexBytes] of [
      [0, 0],
      [70_000, 30_000],
      [1 << 20, 60_000],
      [1 << 24, 1 << 24],
    ] as const) {
      const filters = new PartRoom(filterBytes);
      const indexes = new PartRoom(indexBytes);
      const how = { dbUuid, cache: noCache(), filters, indexes, isLazy: true };
      const tables: KeyTable[] = [];
      for (const meta of metas) tables.push(await KeyTable.open(fs, meta, how));
      expect([tables[2]!.filterBytes, tables[2]!.index.bytes]).toEqual([0, 0]);
      const tree = new KeyTree(2 ** 18, tables);
      const out = new RowRef();
      for (let i = 0; i < 150; i++) {
        const n = prng.below(prng.below(2) === 0 ? 3000 : keys + 2000);
        const prefix = prefixOf(longKey(n));
        const step =
          i % 2 === 0
            ? tree.findSync(prefix, 0, prefix.length, 2 ** 30, out)
            : await tree.findAsync(prefix, 0, prefix.length, 2 ** 30, out);
        expect(step).toBe(n < keys ? OK : END);
        if (n < keys) expect(out.seq).toBe(newestOf(n));
        expect(filters.used).toBeLessThanOrEqual(filterBytes);
        expect(indexes.used).toBeLessThanOrEqual(indexBytes);
        if (i % 10 > 0) continue;
        const cursor = tables[2]!.cursor();
        const sought = keyOf({ key: longKey(n), seq: 2 ** 30 });
        expect(await settle(cursor, () => cursor.seek(sought))).toBe(n < keys);
        if (n >= keys) continue;
        expect(currentKey(cursor)).toEqual(keyOf({ key: longKey(n), seq: 10 * n + 3 }));
        expect(await settle(cursor, () => cursor.seekBefore(sought))).toBe(n > 0);
      }
      expect(tables[2]!.index.count).toBeGreaterThan(1);
      if (filterBytes === 1 << 24) {
        expect(filters.used).toBeGreaterThan(64 * 1024);
        expect(filters.used).toBe(tables.reduce((sum, table) => sum + table.filterBytes, 0));
        expect(tree.counts.tables).toBeLessThan(1.2 * tree.counts.lookups);
      }
      expect(tables.every((table) => table.indexBytes >= table.index.topBytes)).toBe(true);
      tree.close();
      expect([filters.used, indexes.used]).toEqual([0, 0]);
    }
  });

  test('blocks that are passed over are those without a newer row, whatever is in memory', async () => {
    const rows = Array.from({ length: 9000 }, (_, n) => putRow(longKey(n), n % 3000 < 40 ? 9 : 1, 'v'));
    const meta = await tableOf(fs, rows, 11);
    for (const indexBytes of [0, 1 << 20]) {
      const how = { dbUuid, cache: noCache(), indexes: new PartRoom(indexBytes), isLazy: true };
      const table = await KeyTable.open(fs, meta, how);
      const cursor = table.cursor(undefined, 5);
      let newer = 0;
      let all = 0;
      for (let ok = await settle(cursor, () => cursor.first()); ok; all++) {
        const key = currentKey(cursor);
        if (key.at(-1) === 0xff - 9) newer++;
        ok = await settle(cursor, () => cursor.next());
      }
      expect(newer).toBe(120);
      expect(all).toBeLessThan(2000);
      table.release();
    }
  });

  test('lookups of chunks, one by one and many, answer the same with any budget', async () => {
    const count = 3000;
    const meta = await chunkTableOf(fs, chunkMemtableOf(count), 12);
    const ids = new Uint8Array(32 * 600);
    const known = (i: number): boolean => i % 3 > 0;
    const idOf = (i: number): Uint8Array =>
      known(i) ? chunkId(i, Math.imul(i, 0x9e3779b1) >>> 0) : chunkId(100_000 + i);
    for (let i = 0; i < 600; i++) ids.set(idOf(i), 32 * i);
    for (const budget of [0, 7000, 1 << 20]) {
      const filters = new PartRoom(budget);
      const indexes = new PartRoom(Math.floor(budget / 100));
      const how = { dbUuid, cache: noCache(), filters, indexes, isLazy: true };
      const tree = new ChunkTree(2 ** 18, [await ChunkTable.open(fs, meta, how)]);
      const outs = new ChunkBatch(600);
      expect(await tree.findMany(ids, 600, outs)).toBe(400);
      const hit = new ChunkHit();
      for (let i = 0; i < 200; i++) {
        const id = idOf(i);
        expect(i % 2 === 0 ? tree.findSync(id, 0, hit) : await tree.findAsync(id, 0, hit)).toBe(
          known(i) ? OK : END,
        );
        if (known(i)) expect([hit.segment, outs.segment[i]]).toEqual([i + 1, i + 1]);
        expect(await tree.totalRefs(id)).toBe(known(i) ? i % 5 : 0);
      }
      expect(filters.used).toBeLessThanOrEqual(filters.budget);
      expect(indexes.used).toBeLessThanOrEqual(indexes.budget);
      tree.close();
      expect([filters.used, indexes.used]).toEqual([0, 0]);
    }
  });

  test('a lookup with nothing in memory waits for all filters together, then for one partition', async () => {
    const metas = await large;
    const how = { dbUuid, cache: noCache(), isLazy: true };
    const tables: KeyTable[] = [];
    for (const meta of metas) tables.push(await KeyTable.open(fs, meta, how));
    const tree = new KeyTree(2 ** 18, tables);
    const out = new RowRef();
    const prefix = prefixOf(longKey(7));
    let rounds = 0;
    while (tree.find(prefix, 0, prefix.length, 2 ** 30, out) === MISS) {
      rounds++;
      await out.pending.load();
    }
    // Three filters at once, one partition, one block.
    expect(rounds).toBe(3);
    expect(out.seq).toBe(newestOf(7));
    tree.close();
  });

  test('a piece dropped under a lookup says maybe, and its memory serves another', async () => {
    const meta = (await large)[2]!;
    const filters = new PartRoom(1 << 20);
    const how = { dbUuid, cache: noCache(), filters, isLazy: true };
    const table = await KeyTable.open(fs, meta, how);
    const absent = Array.from({ length: 400 }, (_, n) => {
      const prefix = prefixOf(`absent ${n}`);
      return hashKey32(prefix, 0, prefix.length);
    });
    const hold = new BlockHold();
    for (const hash of absent) if (table.filter.ask(hash, hold) === MISS) hold.loadSync();
    const denied = absent.filter((hash) => table.filter.ask(hash, hold) === END);
    expect(denied.length).toBeGreaterThan(380);
    const kept = filters.slots!.bytes;
    expect(kept).toBeGreaterThan(0);
    filters.clear();
    // The lookup still has the pieces. All but the last one were whole, and said for what others have now.
    const other = await KeyTable.open(fs, meta, { ...how, isLazy: false });
    expect(filters.slots!.bytes).toBe(kept);
    expect(denied.filter((hash) => table.filter.ask(hash, hold) === END).length).toBeLessThan(200);
    for (let n = 0; n < keys; n += 9) {
      const prefix = prefixOf(longKey(n));
      const hash = hashKey32(prefix, 0, prefix.length);
      expect(table.filter.ask(hash, hold)).not.toBe(END);
      expect(other.mayContain(hash)).toBe(true);
    }
    hold.clear();
    table.release();
    other.release();
    expect(filters.used).toBe(0);
  });

  test('a closed table gives its room back, also one whose open failed', async () => {
    const rows = Array.from({ length: 200 }, (_, i) => putRow(`key ${i}`, i));
    const meta = await tableOf(fs, rows, 13);
    const filters = new PartRoom(2 ** 20);
    const indexes = new PartRoom(2 ** 20);
    const how = { dbUuid, cache: noCache(), filters, indexes };
    const whole = await KeyTable.open(fs, meta, how);
    const used = [filters.used, indexes.used];
    expect(filters.used).toBe(whole.filterBytes);
    expect(indexes.used).toBe(whole.index.bytes);
    for (let byte = 0; byte < meta.size; byte += 32) {
      const disk = fs.fork();
      disk.flipBit(filePath('tab', meta.no), byte * 8);
      const error = await rejection(async () => (await KeyTable.open(disk, meta, how)).release());
      expect([filters.used, indexes.used]).toEqual(used);
      if (error !== undefined) expect(error.code).toMatch(/VARVE_(CORRUPT|FORMAT_VERSION)/);
    }
    // Held twice, given back once.
    whole.retain();
    whole.release();
    expect(filters.used).toBe(whole.filterBytes);
    whole.release();
    expect([filters.used, indexes.used]).toEqual([0, 0]);
  });
});

describe('damage in pieces that are read when they are needed', () => {
  /** Every lookup and every row of a lazily opened table; the damage it told, and the first it threw. */
  async function readAll(disk: MemoryFileSystem, meta: CatalogTable, count: number) {
    const told: unknown[] = [];
    const how = { dbUuid, cache: noCache(), isLazy: true, onDamage: (error: unknown) => told.push(error) };
    const { forest, damage } = await Forest.open(disk, [meta], { ...how, memtableBytes: 2 ** 18 });
    const out = new RowRef();
    let thrown: unknown = damage[0];
    let wrong = 0;
    for (let n = 0; n < count && thrown === undefined; n += 37) {
      const prefix = prefixOf(longKey(n));
      try {
        const step = forest.keys.findSync(prefix, 0, prefix.length, 2 ** 30, out);
        if (step !== OK || out.seq !== n + 1) wrong++;
      } catch (error) {
        thrown = error;
      }
    }
    await forest.close();
    return { told, thrown, wrong };
  }

  test('a flipped bit gives no wrong answer; in a filter it costs nothing and is told once', async () => {
    const rows = Array.from({ length: 4000 }, (_, n) => putRow(longKey(n), n + 1, 'v'));
    const meta = await tableOf(fs, rows, 14);
    const file = filePath('tab', meta.no);
    expect(meta.size).toBeGreaterThan(64 * 1024);
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    const { blocks } = table.index;
    const filterFrom = table.index.offsetOf(blocks - 1) + table.index.lengthOf(blocks - 1);
    const filterTo = filterFrom + table.filterBytes;
    table.release();
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: filterFrom, max: meta.size - 1 }), async (byte) => {
        const disk = fs.fork();
        disk.flipBit(file, byte * 8);
        const { told, thrown, wrong } = await readAll(disk, meta, rows.length);
        expect(wrong).toBe(0);
        if (thrown !== undefined) expect(thrown).toMatchObject({ code: 'VARVE_CORRUPT', file: file });
        if (byte >= filterFrom + 16 && byte < filterTo) {
          expect(thrown).toBeUndefined();
          expect(told).toMatchObject([{ code: 'VARVE_CORRUPT', file: file }]);
        } else if (byte > filterTo + 64) expect(thrown).toBeDefined();
      }),
      { numRuns: 12, examples: [[filterFrom + 100], [meta.size - 1], [meta.size - 200], [filterTo + 100]] },
    );
  });

  test('a partition that contradicts the top index is damage', async () => {
    const meta = (await large)[2]!;
    const disk = fs.fork();
    const path = filePath('tab', meta.no);
    const file = await disk.open(path, 'read');
    const bytes = new Uint8Array(meta.size);
    await file.read(bytes, 0);
    await file.close();
    const { seed } = decodeFileHeader(bytes, { kind: 'table', fileNo: meta.no, dbUuid }, path);
    const footer = decodeTableFooter(bytes.slice(-128), seed, 64, meta.size, path);
    const blockAt = (offset: number, length: number): Uint8Array =>
      openBlock(bytes.slice(offset, offset + align8(length)), length, seed, offset, path).slice();
    const props = decodeTableProps(blockAt(footer.propsOff, footer.propsLen), footer, meta.tree, meta.level, {
      file: path,
    });
    const top = decodeTopIndex(
      blockAt(footer.topIndexOff, footer.topIndexLen),
      props.indexPartitions,
      props.indexOff,
      footer.topIndexOff,
      { file: path },
    );
    const { offset, length, separator } = top[1]!;
    const raw = blockAt(offset, length);
    // Behind its length, two bytes: another first separator, in a block whose checksum is right.
    const lastAt = separator.length + 1;
    expect(raw[lastAt]).toBe(separator.at(-1));
    raw[lastAt]! ^= 1;
    const sealed = new Uint8Array(sealedBytes(raw.length));
    sealed.set(raw);
    sealBlock(sealed, 0, raw.length, seed, offset);
    disk.corrupt(path, (content) => {
      content.set(sealed, offset);
      return undefined;
    });
    const how = { dbUuid, cache: noCache() };
    expect(await rejection(() => KeyTable.open(disk, meta, how))).toMatchObject({ file: path });
    const table = await KeyTable.open(disk, meta, { ...how, isLazy: true });
    const out = new RowRef();
    const last = prefixOf(longKey(keys - 1));
    expect(table.find(last, 0, last.length, 2 ** 30, out)).toBe(MISS);
    expect(() => out.pending.loadSync()).toThrow(/not in order/);
    table.release();
  });
});
