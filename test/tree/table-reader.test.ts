import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes, encodeUtf8 } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { hashKey32 } from '../../src/codec/key-hash.ts';
import { filePath } from '../../src/format/file-names.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { MISS, OK } from '../../src/tree/cursor.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import {
  currentKey,
  currentValue,
  dbUuid,
  keyOf,
  memtableOf,
  noCache,
  prefixOf,
  putRow,
  type Row,
  rejection,
  rowValue,
  salt,
  settle,
  tableOf,
} from './table-kit.ts';

/** Many rows with long values: several blocks, several index partitions with long keys. */
function manyRows(count: number, keyBytes = 0): Row[] {
  const rows: Row[] = [];
  for (let i = 0; i < count; i++) {
    const key = `key-${String(i).padStart(6, '0')}${'x'.repeat(keyBytes)}`;
    for (let seq = 1; seq <= 1 + (i % 3); seq++)
      rows.push(putRow(key, i * 10 + seq, 'v'.repeat(50 + (i % 90))));
  }
  return rows;
}

const sorted = (rows: readonly Row[]): Row[] => [...rows].sort((a, b) => compareBytes(keyOf(a), keyOf(b)));

/** Looks a row up, counting the blocks it reads. */
function lookup(
  table: KeyTable,
  key: string,
  seqMax: number,
  out: RowRef,
): { found: boolean; reads: number } {
  const prefix = prefixOf(key);
  let reads = 0;
  for (;;) {
    const step = table.find(prefix, 0, prefix.length, seqMax, out);
    if (step !== MISS) {
      out.pending.clear();
      return { found: step === OK, reads };
    }
    out.pending.loadSync();
    reads++;
  }
}

describe('key tables', () => {
  test('a lookup reads at most one block and finds the newest row not above its number', async () => {
    const fs = new MemoryFileSystem();
    const rows = manyRows(300);
    const table = await KeyTable.open(fs, await tableOf(fs, rows), { dbUuid, cache: noCache() });
    const out = new RowRef();
    expect(table.index.blocks).toBeGreaterThan(4);
    for (let i = 0; i < 300; i++) {
      const key = `key-${String(i).padStart(6, '0')}`;
      for (let seq = i * 10; seq <= i * 10 + 5; seq++) {
        const { found, reads } = lookup(table, key, seq, out);
        const newest = Math.min(seq, i * 10 + 1 + (i % 3));
        expect(reads).toBeLessThanOrEqual(1);
        expect(found).toBe(newest > i * 10);
        if (found) expect(out.seq).toBe(newest);
        if (found)
          expect(out.bytes.slice(out.valueFrom, out.valueTo)).toEqual(rowValue('v'.repeat(50 + (i % 90))));
      }
      expect(lookup(table, `${key}!`, 1e9, out)).toMatchObject({ found: false });
      expect(lookup(table, key.slice(0, -1), 1e9, out)).toMatchObject({ found: false });
    }
    table.release();
    await table.closed();
  });

  test('many versions of one key over many blocks are all found with one read each', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 600 }, (_, i) => putRow('same', (i + 1) * 2, 'v'.repeat(100)));
    const table = await KeyTable.open(fs, await tableOf(fs, rows), { dbUuid, cache: noCache() });
    const out = new RowRef();
    expect(table.index.blocks).toBeGreaterThan(5);
    for (let seq = 2; seq <= 1203; seq++) {
      const { found, reads } = lookup(table, 'same', seq, out);
      expect([found, reads, out.seq]).toEqual([true, 1, Math.min(1200, seq - (seq % 2))]);
    }
    expect(lookup(table, 'same', 1, out).found).toBe(false);
    table.release();
  });

  test('the cache answers the second lookup and the filter most lookups of absent keys', async () => {
    const fs = new MemoryFileSystem();
    const cache = new BlockCache(2 ** 20);
    const table = await KeyTable.open(fs, await tableOf(fs, manyRows(300)), { dbUuid, cache });
    const out = new RowRef();
    expect(lookup(table, 'key-000007', 1e9, out).reads).toBe(1);
    expect(lookup(table, 'key-000007', 1e9, out).reads).toBe(0);
    let passed = 0;
    for (let i = 0; i < 10_000; i++) {
      const prefix = prefixOf(`absent-${i}`);
      if (table.mayContain(hashKey32(prefix, 0, prefix.length))) passed++;
    }
    expect(passed).toBeLessThan(150);
    for (let i = 0; i < 300; i++) {
      const prefix = prefixOf(`key-${String(i).padStart(6, '0')}`);
      expect(table.mayContain(hashKey32(prefix, 0, prefix.length))).toBe(true);
    }
    table.release();
  });

  test('a cursor without a cache ends every move and goes through all rows both ways', async () => {
    const fs = new MemoryFileSystem();
    const rows = sorted(manyRows(200, 400));
    const table = await KeyTable.open(fs, await tableOf(fs, rows), { dbUuid, cache: noCache() });
    const cursor = table.cursor();
    let n = 0;
    for (
      let ok = await settle(cursor, () => cursor.first());
      ok;
      ok = await settle(cursor, () => cursor.next())
    ) {
      expect(compareBytes(currentKey(cursor), keyOf(rows[n]!))).toBe(0);
      expect(currentValue(cursor)).toEqual(rows[n]!.value);
      n++;
    }
    expect(n).toBe(rows.length);
    for (
      let ok = await settle(cursor, () => cursor.last());
      ok;
      ok = await settle(cursor, () => cursor.prev())
    ) {
      n--;
      expect(compareBytes(currentKey(cursor), keyOf(rows[n]!))).toBe(0);
    }
    expect(n).toBe(0);
    table.release();
  });

  test('seeks stand where a sorted array says, for any keys', async () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', '\0', '\xff'), maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.record({ key: word, seq: fc.integer({ min: 1, max: 9 }), pad: fc.nat(3000) }), {
          minLength: 1,
          maxLength: 40,
          selector: (row) => `${row.key} ${row.seq}`,
        }),
        fc.array(fc.tuple(word, fc.nat(10)), { minLength: 5, maxLength: 15 }),
        async (given, probes) => {
          const fs = new MemoryFileSystem();
          const rows = sorted(given.map(({ key, seq, pad }) => putRow(key, seq, 'p'.repeat(pad))));
          const table = await KeyTable.open(fs, await tableOf(fs, rows), { dbUuid, cache: noCache() });
          const cursor = table.cursor();
          const out = new RowRef();
          for (const [key, seq] of probes) {
            const sought = keyOf({ key, seq });
            const at = rows.findIndex((row) => compareBytes(keyOf(row), sought) >= 0);
            expect(await settle(cursor, () => cursor.seek(sought))).toBe(at !== -1);
            if (at !== -1) expect(currentKey(cursor)).toEqual(keyOf(rows[at]!));
            const before = at === -1 ? rows.length - 1 : at - 1;
            expect(await settle(cursor, () => cursor.seekBefore(sought))).toBe(before >= 0);
            if (before >= 0) expect(currentKey(cursor)).toEqual(keyOf(rows[before]!));
            const newest = rows.find((row) => row.key === key && row.seq <= seq);
            expect(lookup(table, key, seq, out).found).toBe(newest !== undefined);
            if (newest !== undefined) expect(out.seq).toBe(newest.seq);
          }
          table.release();
        },
      ),
      { numRuns: 40 },
    );
  });

  test('rows with the same key stay in one block, newest first', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 40 }, (_, i) => putRow('k', 5, `${i}-${'x'.repeat(800)}`));
    const table = await KeyTable.open(fs, await tableOf(fs, [...rows, putRow('m', 1)]), {
      dbUuid,
      cache: noCache(),
    });
    expect(table.index.blocks).toBe(2);
    const out = new RowRef();
    expect(lookup(table, 'k', 9, out)).toEqual({ found: true, reads: 1 });
    expect(out.bytes.slice(out.valueFrom, out.valueTo)).toEqual(rows.at(-1)!.value);
    table.release();
  });

  test('the catalog entry describes the table', async () => {
    const fs = new MemoryFileSystem();
    const meta = await tableOf(fs, [putRow('a', 5), putRow('b', 3), putRow('a', 9)], 12, trees.X);
    expect(meta).toMatchObject({ tree: 3, level: 0, no: 12, entries: 3, minSeq: 3, maxSeq: 9 });
    expect(meta.minKey).toEqual(keyOf({ key: 'a', seq: 9 }));
    expect(meta.maxKey).toEqual(keyOf({ key: 'b', seq: 3 }));
    expect((await fs.stat(filePath('tab', 12)))?.size).toBe(meta.size);
  });
});

describe('damage to key tables', () => {
  /** Opens the table and reads every row by cursor. */
  async function readAll(fs: MemoryFileSystem, meta: Awaited<ReturnType<typeof tableOf>>): Promise<number> {
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    const [problem] = table.problems;
    const cursor = table.cursor();
    let n = 0;
    try {
      for (
        let ok = await settle(cursor, () => cursor.first());
        ok;
        ok = await settle(cursor, () => cursor.next())
      )
        n++;
    } finally {
      table.release();
      await table.closed();
    }
    if (problem !== undefined) throw problem;
    return n;
  }

  test('bytes behind the end of a table are reported and the table is served', async () => {
    const fs = new MemoryFileSystem();
    const meta = await tableOf(fs, manyRows(100));
    const path = filePath('tab', meta.no);
    fs.corrupt(path, (bytes) => Buffer.concat([bytes, Buffer.alloc(513, 7)]));
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    expect(table.problems).toMatchObject([{ code: 'VARVE_CORRUPT', file: path, offset: meta.size }]);
    const cursor = table.cursor();
    expect(await settle(cursor, () => cursor.first())).toBe(true);
    table.release();
  });

  test('a flipped bit anywhere in a table is detected', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 12 }, (_, i) => putRow(`k${i}`, i + 1));
    const meta = await tableOf(fs, rows);
    expect(await readAll(fs, meta)).toBe(12);
    const path = filePath('tab', meta.no);
    for (let bit = 0; bit < meta.size * 8; bit++) {
      const flip = (bytes: Uint8Array): undefined => {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      };
      fs.corrupt(path, flip);
      const error = await rejection(() => readAll(fs, meta));
      if (!isVarveError(error, 'VARVE_CORRUPT')) expect.fail(`bit ${bit}: ${String(error)}`);
      expect(error.file).toBe(path);
      expect(error.offset).toBeGreaterThanOrEqual(0);
      fs.corrupt(path, flip);
    }
  });

  test('a table cut off, grown, renamed or of another store or tree is refused', async () => {
    const fs = new MemoryFileSystem();
    const meta = await tableOf(fs, manyRows(100));
    const path = filePath('tab', meta.no);
    const open = (change: object, uuid = dbUuid): Promise<KeyTable> =>
      KeyTable.open(fs, { ...meta, ...change }, { dbUuid: uuid, cache: noCache() });
    for (const change of [
      { size: meta.size - 8 },
      { tree: trees.X },
      { entries: 1 },
      { checksum: 1n },
      { maxSeq: 1 },
    ]) {
      expect((await rejection(() => open(change)))?.code).toBe('VARVE_CORRUPT');
    }
    expect((await rejection(() => open({}, new Uint8Array(16))))?.code).toBe('VARVE_CORRUPT');
    await fs.rename(path, filePath('tab', 8));
    expect((await rejection(() => open({ no: 8 })))?.code).toBe('VARVE_CORRUPT');
    expect((await rejection(() => open({})))?.errno).toBe('ENOENT');
    await fs.rename(filePath('tab', 8), path);
    for (let cut = 0; cut < meta.size; cut += 997) {
      const copy = fs.fork();
      copy.corrupt(path, (bytes) => bytes.slice(0, cut));
      expect((await rejection(() => KeyTable.open(copy, meta, { dbUuid, cache: noCache() })))?.code).toBe(
        'VARVE_CORRUPT',
      );
      const shorter = { ...meta, size: cut };
      expect((await rejection(() => KeyTable.open(copy, shorter, { dbUuid, cache: noCache() })))?.code).toBe(
        'VARVE_CORRUPT',
      );
    }
  });

  test('a block copied to the place of another is detected', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 400 }, (_, i) => putRow(`k${1000 + i}`, i + 1000, 'v'.repeat(90)));
    const meta = await tableOf(fs, rows);
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    const [from, to] = [table.index.offsetOf(1), table.index.offsetOf(2)];
    expect(table.index.lengthOf(1)).toBe(table.index.lengthOf(2));
    fs.corrupt(filePath('tab', meta.no), (bytes) => {
      bytes.copyWithin(to, from, from + table.index.lengthOf(1));
      return undefined;
    });
    expect((await rejection(() => table.loadBlock(2)))?.offset).toBe(to);
    expect(() => table.loadBlockSync(2)).toThrow(/checksum/);
    table.release();
  });

  test('a table that does not read back as written is deleted', async () => {
    const fs = new MemoryFileSystem();
    const path = filePath('tab', 7);
    fs.faults = (op) => {
      if (op.kind === 'open' && op.path === path) {
        fs.corrupt(path, (bytes) => {
          bytes[100]! ^= 1;
          return undefined;
        });
      }
      return undefined;
    };
    expect((await rejection(() => tableOf(fs, manyRows(50))))?.code).toBe('VARVE_CORRUPT');
    fs.faults = undefined;
    expect(await fs.stat(path)).toBe(null);
  });

  test('a full disk or failed sync leaves no table, and no file is overwritten', async () => {
    for (const kind of ['write', 'sync', 'syncDir'] as const) {
      const fs = new MemoryFileSystem();
      let armed = true;
      fs.faults = (op) => {
        if (!armed || op.kind !== kind || (kind === 'syncDir' && !op.path.startsWith('tab/00/00')))
          return undefined;
        armed = false;
        return { errno: 'ENOSPC' };
      };
      expect((await rejection(() => tableOf(fs, manyRows(50))))?.errno).toBe('ENOSPC');
      expect(armed).toBe(false);
      expect(await fs.stat(filePath('tab', 7))).toBe(null);
      const meta = await tableOf(fs, manyRows(50));
      expect((await rejection(() => tableOf(fs, manyRows(50))))?.errno).toBe('EEXIST');
      expect(await readAll(fs, meta)).toBe(99);
    }
  });

  test('a written table survives any crash', async () => {
    const fs = new MemoryFileSystem();
    const meta = await tableOf(fs, manyRows(50));
    expect(await readAll(fs.crash('none'), meta)).toBe(99);
  });

  test('rows out of order are refused', async () => {
    const fs = new MemoryFileSystem();
    const cursor = memtableOf([putRow('a', 1), putRow('b', 1)]).cursor();
    cursor.last();
    const backwards = Object.assign(Object.create(cursor) as typeof cursor, {});
    const steps = { first: () => cursor.last(), next: () => cursor.prev() };
    const rows = new Proxy(backwards, {
      get: (_, name) =>
        name in steps ? steps[name as keyof typeof steps] : Reflect.get(cursor, name, cursor),
    });
    const write = writeKeyTable(fs, { no: 7, tree: trees.K, level: 0, dbUuid, salt, rows });
    expect((await rejection(() => write))?.message).toMatch(/out of order/);
  });

  test('long keys and values make long blocks that read back', async () => {
    const fs = new MemoryFileSystem();
    const long = 'z'.repeat(65_000);
    const rows = [putRow(`${long}1`, 3, long), putRow(`${long}2`, 2, long), putRow('a', 1)];
    const meta = await tableOf(fs, rows);
    expect(await readAll(fs, meta)).toBe(3);
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    expect(lookup(table, `${long}2`, 9, new RowRef())).toEqual({ found: true, reads: 1 });
    expect(encodeUtf8(long).length).toBe(65_000);
    table.release();
  });
});
