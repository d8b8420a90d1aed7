import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { filePath } from '../../src/format/file-names.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { FrozenChunks } from '../../src/tree/chunk-cursor.ts';
import { ChunkMemtable } from '../../src/tree/chunk-memtable.ts';
import { ChunkHit, ChunkTable } from '../../src/tree/chunk-table-reader.ts';
import { writeChunkTable } from '../../src/tree/chunk-table-writer.ts';
import { ChunkTree } from '../../src/tree/chunk-tree.ts';
import { type CompactionJob, compactTables } from '../../src/tree/compaction.ts';
import { END, OK, settle } from '../../src/tree/cursor.ts';
import { plainRule } from '../../src/tree/keep-rule.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import { chunkId, dbUuid, keyOf, memtableOf, prefixOf, type Row, rowValue, salt } from './table-kit.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A store of tables, by hand. */
class Tables {
  readonly fs = new MemoryFileSystem();
  readonly cache = new BlockCache(2 ** 20);
  readonly prng = new Prng(3);
  cancelled = false;
  turns = 0;
  ms = 0;
  #no = 0;

  readonly ports = {
    fs: this.fs,
    dbUuid,
    takeFileNo: () => ++this.#no,
    random: (n: number) => this.prng.bytes(n),
    pace: {
      monotonic: () => this.ms++,
      turn: () => {
        this.turns++;
        return turn();
      },
      cancelled: () => this.cancelled,
    },
  };

  async keys(rows: readonly Row[], level = 0): Promise<KeyTable> {
    const no = ++this.#no;
    const cursor = memtableOf(rows).cursor();
    return await this.open(
      await writeKeyTable(this.fs, { no, tree: trees.K, level, dbUuid, salt, rows: cursor }),
    );
  }

  open(meta: CatalogTable): Promise<KeyTable> {
    return KeyTable.open(this.fs, meta, { dbUuid, cache: this.cache });
  }

  async chunks(memtable: ChunkMemtable, level = 0): Promise<ChunkTable> {
    memtable.freeze();
    const { entries, minSeq, maxSeq } = memtable;
    const input = { entries: new FrozenChunks(memtable), entriesMax: entries, minSeq, maxSeq };
    const meta = await writeChunkTable(this.fs, { no: ++this.#no, level, dbUuid, salt, ...input });
    return await ChunkTable.open(this.fs, meta, { dbUuid, cache: this.cache });
  }

  job(inputs: readonly (KeyTable | ChunkTable)[], more: Partial<CompactionJob> = {}): CompactionJob {
    const around = inputs.map(({ meta }) => meta);
    const tree = inputs[0]!.meta.tree;
    return { tree, outputLevel: 1, inputs, around, rule: plainRule(1e9), tableBytes: 2 ** 20, ...more };
  }

  async files(): Promise<string[]> {
    if ((await this.fs.stat('tab/00/00')) === null) return [];
    return (await this.fs.list('tab/00/00')).map(({ name }) => name);
  }
}

const chunked = rowKinds.put | 16;
const kinds = [rowKinds.put, rowKinds.put, rowKinds.delete, chunked] as const;

/** Tables of rows with rising numbers, as flushes make them. */
const someFlushes = fc.array(
  fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.constantFrom(...kinds)), {
    minLength: 1,
    maxLength: 40,
  }),
  { minLength: 1, maxLength: 4 },
);

function rowsOf(flushes: readonly (readonly (readonly [number, number])[])[]): Row[][] {
  let seq = 0;
  return flushes.map((flush) =>
    flush.map(([n, kind]) => {
      seq++;
      return { key: `key${n}`, seq, value: rowValue(`${n}@${seq}`, kind) };
    }),
  );
}

/** What readers of a tree see: per key the text of the row, at each of some views. */
function seen(tree: KeyTree, views: readonly number[]): string[] {
  const out = new RowRef();
  const found: string[] = [];
  for (const view of views) {
    for (let n = 0; n <= 30; n++) {
      const prefix = prefixOf(`key${n}`);
      const step = tree.findSync(prefix, 0, prefix.length, view, out);
      const isThere = step === OK && out.kind === rowKinds.put;
      found.push(isThere ? Buffer.from(out.bytes.subarray(out.valueFrom, out.valueTo)).toString('hex') : '');
    }
  }
  return found;
}

async function rowsIn(table: KeyTable): Promise<string[]> {
  const cursor = table.scan();
  const keys: string[] = [];
  let step = await settle(cursor, () => cursor.first());
  while (step !== END) {
    keys.push(Buffer.from(cursor.keyBytes.subarray(cursor.keyFrom, cursor.keyTo)).toString('hex'));
    step = await settle(cursor, () => cursor.next());
  }
  return keys;
}

describe('compaction', () => {
  test('a merge reads its inputs within its budget', async () => {
    for (const [readBytes, most] of [
      [4 * 1024, 9000],
      [64 * 1024, 16 * 1024],
      [1024 * 1024, 256 * 1024],
    ] as const) {
      const store = new Tables();
      const inputs: KeyTable[] = [];
      for (let table = 0; table < 4; table++) {
        const rows = Array.from({ length: 1500 }, (_, n) => {
          const key = `key ${String(n * 4 + table).padStart(6, '0')}`;
          return { key, seq: n * 4 + table + 1, value: rowValue('v'.repeat(60)) };
        });
        inputs.push(await store.keys(rows));
      }
      let longest = 0;
      store.fs.faults = ({ kind, path, length = 0 }) => {
        const isInput = inputs.some(({ no }) => path === filePath('tab', no));
        if (kind === 'read' && isInput) longest = Math.max(longest, length);
        return undefined;
      };
      const result = await compactTables(store.job(inputs, { readBytes }), store.ports);
      expect(result.rowsRead).toBe(6000);
      expect(longest).toBeGreaterThan(0);
      expect(longest).toBeLessThanOrEqual(most);
      for (const table of inputs) table.release();
    }
  });

  test('a merge equals the model', async () => {
    await fc.assert(
      fc.asyncProperty(
        someFlushes,
        fc.integer({ min: 0, max: 160 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 20, max: 600 }),
        async (flushes, horizon, split, tableBytes) => {
          const store = new Tables();
          const all = rowsOf(flushes);
          const tables: KeyTable[] = [];
          // The oldest part may lie in a deeper level that is not merged, so that markers must stay.
          for (const [i, rows] of all.entries())
            tables.push(await store.keys(rows, i === 0 && split === 3 ? 2 : 0));
          const deep = tables.filter(({ meta }) => meta.level === 2);
          const inputs = tables.filter(({ meta }) => meta.level === 0);
          if (inputs.length === 0) return;
          const newest = Math.max(...all.flat().map(({ seq }) => seq));
          const views = [0, 1, 2, 3].map((i) => horizon + i * 7).concat(newest, 1e9);
          const before = seen(new KeyTree(2 ** 16, tables), views);
          const job = store.job(inputs, {
            rule: plainRule(horizon),
            tableBytes,
            around: tables.map(({ meta }) => meta),
          });
          const result = await compactTables(job, store.ports);
          const merged = await Promise.all(result.tables.map((meta) => store.open(meta)));
          expect(seen(new KeyTree(2 ** 16, [...merged, ...deep]), views)).toEqual(before);
          const rowsRead = inputs.reduce((sum, { meta }) => sum + meta.entries, 0);
          const written = result.tables.reduce((sum, { entries }) => sum + entries, 0);
          expect(result).toMatchObject({ rowsRead, joined: 0 });
          expect(written + result.superseded + result.deletes).toBe(rowsRead);
          // Versions with chunks are all there.
          const keys = (await Promise.all(merged.map(rowsIn))).flat();
          for (const row of all.slice(deep.length).flat()) {
            if (row.value[0] !== chunked) continue;
            expect(keys).toContain(Buffer.from(keyOf(row)).toString('hex'));
          }
          expect(keys).toEqual(keys.toSorted());
          for (const meta of result.tables) expect(meta.level).toBe(1);
        },
      ),
      { numRuns: 40 },
    );
  }, 20_000);

  test('versions of a key stay in one table', async () => {
    const store = new Tables();
    const rows = Array.from({ length: 40 }, (_, i) => ({
      key: `k${Math.floor(i / 10)}`,
      seq: i + 1,
      value: rowValue('x'.repeat(20)),
    }));
    const inputs = [await store.keys(rows)];
    const { tables } = await compactTables(
      store.job(inputs, { rule: plainRule(0), tableBytes: 60 }),
      store.ports,
    );
    expect(tables.map(({ entries }) => entries)).toEqual([10, 10, 10, 10]);
    const { tables: three } = await compactTables(
      store.job(inputs, { rule: plainRule(0), tableBytes: 500 }),
      store.ports,
    );
    expect(three.map(({ entries }) => entries)).toEqual([20, 20]);
  });

  test('rows that are all dropped leave no table', async () => {
    const store = new Tables();
    const put = { key: 'a', seq: 1, value: rowValue('1') };
    const gone = { key: 'a', seq: 2, value: rowValue('', rowKinds.delete) };
    const inputs = [await store.keys([put]), await store.keys([gone])];
    const result = await compactTables(store.job(inputs), store.ports);
    expect(result).toMatchObject({ tables: [], rowsRead: 2, superseded: 1, deletes: 1, bytesWritten: 0 });
  });

  test('a merge of chunk tables keeps entries and counts', async () => {
    const ids = fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: -2, max: 3 })), {
      minLength: 1,
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(ids, { minLength: 1, maxLength: 4 }), async (flushes) => {
        const store = new Tables();
        const refs = new Map<number, number>();
        const places = new Map<number, number>();
        const inputs: ChunkTable[] = [];
        let seq = 0;
        for (const flush of flushes) {
          const memtable = new ChunkMemtable({ bytesMax: 2 ** 20 });
          for (const [n, delta] of flush) {
            memtable.note(++seq);
            memtable.addRefs(chunkId(n), 0, delta);
            refs.set(n, (refs.get(n) ?? 0) + delta);
            if (delta !== 3) continue;
            memtable.setLocation(chunkId(n), 0, seq, seq, 8, 8, 0, 0);
            places.set(n, seq);
          }
          inputs.push(await store.chunks(memtable));
        }
        const result = await compactTables(store.job(inputs, { tableBytes: 800 }), store.ports);
        expect(result.tables.reduce((sum, { entries }) => sum + entries, 0)).toBe(refs.size);
        expect(result.joined).toBe(result.rowsRead - refs.size);
        const merged = await Promise.all(
          result.tables.map((meta) => ChunkTable.open(store.fs, meta, { dbUuid, cache: store.cache })),
        );
        const tree = new ChunkTree(2 ** 16, merged);
        const hit = new ChunkHit();
        for (const [n, count] of refs) {
          expect(await tree.totalRefs(chunkId(n))).toBe(count);
          const place = places.get(n);
          expect(tree.findSync(chunkId(n), 0, hit)).toBe(place === undefined ? END : OK);
          if (place !== undefined) expect(hit.segment).toBe(place);
        }
        const [first] = result.tables;
        expect(first?.minSeq).toBe(1);
        expect(first?.maxSeq).toBe(seq);
      }),
      { numRuns: 25 },
    );
  }, 20_000);

  const overlapping = async (store: Tables): Promise<KeyTable[]> => {
    const rows = (from: number): Row[] =>
      Array.from({ length: 200 }, (_, i) => ({
        key: `key${(i * 7) % 150}`,
        seq: from + i,
        value: rowValue('v'.repeat(90)),
      }));
    return [await store.keys(rows(1)), await store.keys(rows(1000))];
  };

  test('a merge that loses a row is thrown away', async () => {
    const store = new Tables();
    const inputs = await overlapping(store);
    const before = await store.files();
    // An input whose catalog entry says that it has one row more than can be read from it.
    const lying = Object.create(inputs[0]!, {
      meta: { value: { ...inputs[0]!.meta, entries: inputs[0]!.meta.entries + 1 } },
      scan: { value: () => inputs[0]!.scan() },
    }) as KeyTable;
    const merge = compactTables(store.job([lying, inputs[1]!]), store.ports);
    await expect(merge).rejects.toMatchObject({
      code: 'VARVE_CORRUPT',
      file: filePath('tab', inputs[0]!.meta.no),
    });
    expect(await store.files()).toEqual(before);
  });

  test('a merge that fails at any operation leaves no file', async () => {
    const first = new Tables();
    const inputsOfFirst = await overlapping(first);
    const start = first.fs.opCount;
    await compactTables(first.job(inputsOfFirst, { tableBytes: 9000 }), first.ports);
    const ops = first.fs.opCount - start;
    for (let at = 0; at < ops; at += 3) {
      const store = new Tables();
      const inputs = await overlapping(store);
      const before = await store.files();
      store.fs.failAt(store.fs.opCount + at, { errno: 'ENOSPC' });
      const error = await compactTables(store.job(inputs, { tableBytes: 9000 }), store.ports).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) continue;
      expect(isVarveError(error, 'VARVE_NO_SPACE')).toBe(true);
      expect(await store.files()).toEqual(before);
    }
  });

  test('a merge that is cancelled ends and leaves no file, and one that runs lets others run', async () => {
    const store = new Tables();
    const inputs = await overlapping(store);
    const before = await store.files();
    const merge = compactTables(store.job(inputs), store.ports);
    store.cancelled = true;
    await expect(merge).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    expect(await store.files()).toEqual(before);
    store.cancelled = false;
    store.turns = 0;
    await compactTables(store.job(inputs), store.ports);
    expect(store.turns).toBeGreaterThan(0);
  });

  test('a merge stops at a damaged block, and does not touch the cache', async () => {
    const store = new Tables();
    const inputs = await overlapping(store);
    await compactTables(store.job(inputs), store.ports);
    expect(store.cache.used).toBe(0);
    const path = filePath('tab', inputs[1]!.meta.no);
    const file = await store.fs.open(path, 'rw');
    const byte = new Uint8Array(1);
    await file.read(byte, 9000);
    byte[0]! ^= 4;
    await file.write(byte, 9000);
    await file.close();
    await expect(compactTables(store.job(inputs), store.ports)).rejects.toMatchObject({
      code: 'VARVE_CORRUPT',
      file: path,
    });
  });

  test('a table may lie in a deeper level than it was written for, and in no higher one', async () => {
    const store = new Tables();
    const { meta } = await store.keys([{ key: 'a', seq: 1, value: rowValue('1') }], 2);
    expect((await store.open({ ...meta, level: 3 })).meta.level).toBe(3);
    await expect(store.open({ ...meta, level: 1 })).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
  });

  test('keys of the outputs rise from table to table', async () => {
    const store = new Tables();
    const inputs = await overlapping(store);
    const { tables } = await compactTables(store.job(inputs, { tableBytes: 3000 }), store.ports);
    expect(tables.length).toBeGreaterThan(3);
    for (const [i, table] of tables.slice(1).entries()) {
      expect(compareBytes(tables[i]!.maxKey, table.minKey)).toBeLessThan(0);
    }
  });
});
