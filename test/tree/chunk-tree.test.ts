import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { chunkEntryFlags } from '../../src/format/chunk-table.ts';
import { filePath } from '../../src/format/file-names.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { ChunkBatch, chunkAnswers } from '../../src/tree/chunk-batch.ts';
import { ChunkMemtable, chunkFlags } from '../../src/tree/chunk-memtable.ts';
import { ChunkHit, ChunkTable } from '../../src/tree/chunk-table-reader.ts';
import { ChunkTree } from '../../src/tree/chunk-tree.ts';
import { END, MISS, OK } from '../../src/tree/cursor.ts';
import { PartRoom } from '../../src/tree/part-room.ts';
import { ToldChunks } from '../../src/tree/told-chunks.ts';
import { chunkId, chunkMemtableOf, chunkTableOf, dbUuid, noCache, rejection } from './table-kit.ts';

const memtableBytes = 2 ** 20;

async function flushOldest(
  tree: ChunkTree,
  fs: MemoryFileSystem,
  no: number,
  cache: BlockCache,
): Promise<void> {
  const oldest = tree.frozen.at(-1);
  if (oldest === undefined) return;
  const meta = await chunkTableOf(fs, oldest, no);
  tree.replaceFrozen(oldest, await ChunkTable.open(fs, meta, { dbUuid, cache }));
}

/** Ids of which several share their first 4 bytes. */
const idOf = (n: number): Uint8Array => chunkId(n, Math.floor(n / 4) * 1000);

interface Known {
  location: { segment: number; rawLen: number } | undefined;
  refs: number;
}

describe('chunk tree', () => {
  const op = fc.record({
    kind: fc.constantFrom('refs', 'refs', 'set', 'set', 'drop', 'move', 'freeze', 'flush', 'find'),
    n: fc.nat(300),
    x: fc.integer({ min: -3, max: 1000 }),
  });

  test('chunk tree equals a model under random changes and flushes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 30, maxLength: 300 }), fc.boolean(), async (ops, cached) => {
        const fs = new MemoryFileSystem();
        const cache = cached ? new BlockCache(2 ** 20) : noCache();
        const tree = new ChunkTree(memtableBytes, [], cached ? new PartRoom(2 ** 20) : undefined);
        const model = new Map<number, Known>();
        const row = new ChunkHit();
        let no = 1;
        let seq = 1;
        const known = (n: number): Known => {
          const entry = model.get(n) ?? { location: undefined, refs: 0 };
          model.set(n, entry);
          return entry;
        };
        for (const { kind, n, x } of ops) {
          const id = idOf(n);
          tree.note(seq++);
          if (kind === 'refs') {
            tree.addRefs(id, 0, x);
            known(n).refs += x;
          } else if (kind === 'set') {
            tree.setLocation(id, 0, x + 4, 8, 9, n, 0, 0);
            known(n).location = { segment: x + 4, rawLen: n };
          } else if (kind === 'drop') {
            tree.drop(id, 0);
            known(n).location = undefined;
          } else if (kind === 'move') {
            const there = model.get(n)?.location;
            expect(tree.moveLocation(id, 0, x + 9, 1, 2, 0)).toBe(there !== undefined);
            if (there !== undefined) there.segment = x + 9;
          } else if (kind === 'freeze') tree.freeze();
          else if (kind === 'flush') await flushOldest(tree, fs, no++, cache);
          else {
            const step = x % 2 === 0 ? tree.findSync(id, 0, row) : await tree.findAsync(id, 0, row);
            const location = model.get(n)?.location;
            expect(step === OK).toBe(location !== undefined);
            if (location !== undefined) expect(row).toMatchObject(location);
            expect(await tree.totalRefs(id)).toBe(model.get(n)?.refs ?? 0);
          }
        }
        await compareWhole(tree, model);
        tree.close();
      }),
      { numRuns: 40 },
    );
  });

  /** Batch lookup and scan against the model. */
  async function compareWhole(tree: ChunkTree, model: Map<number, Known>): Promise<void> {
    const ids = new Uint8Array(301 * 32);
    for (let n = 0; n <= 300; n++) ids.set(idOf(n), 32 * n);
    const outs = new ChunkBatch(301);
    const found = await tree.findMany(ids, 301, outs);
    expect(found).toBe([...model.values()].filter((known) => known.location !== undefined).length);
    for (let n = 0; n <= 300; n++) {
      const location = model.get(n)?.location;
      expect(outs.answer[n]).toBe(location === undefined ? chunkAnswers.absent : chunkAnswers.found);
      if (location !== undefined)
        expect([outs.segment[n], outs.rawLen[n]]).toEqual([location.segment, location.rawLen]);
    }
    const byId = new Map([...model].map(([n, known]) => [toHex(idOf(n)), known]));
    let before = '';
    await tree.scanAll((entry) => {
      const id = toHex(entry.idBytes.subarray(entry.idAt, entry.idAt + 32));
      expect(id > before).toBe(true);
      before = id;
      const known = byId.get(id)!;
      expect(entry.columns.refs).toBe(known.refs);
      expect((entry.columns.flags & chunkEntryFlags.hasLocation) !== 0).toBe(known.location !== undefined);
      if (known.location !== undefined) expect(entry.columns).toMatchObject(known.location);
      byId.delete(id);
    });
    expect(byId.size).toBe(0);
  }

  test('counts saturate and stick over tables', async () => {
    const fs = new MemoryFileSystem();
    const tree = new ChunkTree(memtableBytes, []);
    const id = chunkId(1);
    tree.addRefs(id, 0, 2 ** 31 - 1);
    tree.freeze();
    await flushOldest(tree, fs, 1, noCache());
    tree.addRefs(id, 0, 5);
    tree.freeze();
    await flushOldest(tree, fs, 2, noCache());
    expect(await tree.totalRefs(id)).toBe(2 ** 31 - 1);
    tree.close();
  });

  test('chunks that are told of are moved without a look, each in its turn, and others after one', () => {
    const tree = new ChunkTree(memtableBytes, []);
    const row = new ChunkHit();
    for (const n of [1, 2]) tree.setLocation(chunkId(n), 0, 5, 6, 7, 8, chunkKinds.list, 0);
    const ids = new Uint8Array([...chunkId(3), ...chunkId(1)]);
    const told = new ToldChunks(ids);
    told.add(0, 30, chunkKinds.data);
    told.add(32, 10, chunkKinds.data);
    const moved = tree.whileTold(told, () =>
      [3, 2, 4, 1].map((n) => tree.moveLocation(chunkId(n), 0, 9, n, 7, 0)),
    );
    expect(moved).toEqual([true, true, false, true]);
    const after = [1, 2, 3].map((n) => {
      expect(tree.findSync(chunkId(n), 0, row)).toBe(OK);
      return [row.segment, row.off8, row.rawLen, row.kind];
    });
    expect(after).toEqual([
      [9, 1, 10, chunkKinds.data],
      [9, 2, 8, chunkKinds.list],
      [9, 3, 30, chunkKinds.data],
    ]);
    expect(tree.moveLocation(chunkId(4), 0, 9, 9, 9, 0)).toBe(false);
    tree.close();
  });

  test('memory answers without tables and a miss is told', async () => {
    const fs = new MemoryFileSystem();
    const tree = new ChunkTree(memtableBytes, []);
    const row = new ChunkHit();
    tree.setLocation(chunkId(1), 0, 5, 6, 7, 8, 0, 0);
    const began = tree.active;
    expect(tree.findInMemory(chunkId(1), 0, row)).toBe(OK);
    tree.freeze();
    tree.drop(chunkId(2), 0);
    expect([1, 2, 3].map((n) => tree.findInMemory(chunkId(n), 0, row))).toEqual([OK, END, MISS]);
    expect([tree.hasChangesSince(began), tree.hasChangesSince(tree.active)]).toEqual([true, true]);
    await flushOldest(tree, fs, 1, noCache());
    expect(tree.findInMemory(chunkId(1), 0, row)).toBe(MISS);
    expect([tree.hasChangesSince(began), tree.hasChangesSince(tree.active)]).toEqual([false, true]);
    expect(tree.find(chunkId(1), 0, row)).toBe(MISS);
    row.pending.loadSync();
    expect(tree.find(chunkId(1), 0, row)).toBe(OK);
    expect(row).toMatchObject({ segment: 5, off8: 6, storedLen: 7, rawLen: 8 });
    tree.close();
  });

  test('a scan outlives a close of the tree and later changes', async () => {
    const fs = new MemoryFileSystem();
    const meta = await chunkTableOf(fs, chunkMemtableOf(5000));
    const tree = new ChunkTree(memtableBytes, [
      await ChunkTable.open(fs, meta, { dbUuid, cache: noCache() }),
    ]);
    tree.addRefs(chunkId(1, 77), 0, 1);
    let n = 0;
    const scan = tree.scanAll(() => {
      n++;
    });
    tree.addRefs(chunkId(2, 99), 0, 1);
    tree.close();
    await scan;
    expect(n).toBe(5001);
  });

  test('the flags of memtables are those of tables', () => {
    expect(chunkFlags).toEqual(chunkEntryFlags);
  });
});

describe('chunk tables', () => {
  test('every entry of a table is found and a scan proves the sums', async () => {
    const fs = new MemoryFileSystem();
    const memtable = chunkMemtableOf(1000);
    const meta = await chunkTableOf(fs, memtable);
    expect(meta).toMatchObject({ tree: 2, entries: 1000, minSeq: 1, maxSeq: 1000 });
    const table = await ChunkTable.open(fs, meta, { dbUuid, cache: noCache() });
    expect(table.footer).toMatchObject({ dataBlocks: 14, sumRefs: 2000 });
    const row = new ChunkHit();
    for (let i = 0; i < 1000; i++) {
      const id = chunkId(i, Math.imul(i, 0x9e3779b1) >>> 0);
      expect(table.mayContain(id, 0)).toBe(true);
      while (table.find(id, 0, row) === MISS) row.pending.loadSync();
      expect(row).toMatchObject({ segment: i + 1, off8: i * 3, rawLen: 200 + i, refs: i % 5 });
      row.pending.clear();
    }
    const scan = table.scan();
    let n = 0;
    for (let step = scan.next(); step !== 0; step = scan.next()) {
      if (step === MISS) await scan.load();
      else n++;
    }
    expect(n).toBe(1000);
    table.release();
  });

  test('a flipped bit anywhere in a chunk table is detected', async () => {
    const fs = new MemoryFileSystem();
    const memtable = new ChunkMemtable({ bytesMax: 2 ** 20 });
    for (let i = 0; i < 80; i++) memtable.setLocation(chunkId(i), 0, 1, 2, 3, 4, 0, 0);
    const meta = await chunkTableOf(fs, memtable);
    const path = filePath('tab', meta.no);
    const readAll = async (): Promise<void> => {
      const table = await ChunkTable.open(fs, meta, { dbUuid, cache: noCache() });
      try {
        for (let block = 0; block < 2; block++) table.loadBlockSync(block);
        const scan = table.scan();
        for (let step = scan.next(); step !== 0; step = scan.next()) if (step === MISS) await scan.load();
        for (const problem of table.problems) throw problem;
      } finally {
        table.release();
      }
    };
    await readAll();
    // Each third byte once, each bit of the ends.
    for (let byte = 0; byte < meta.size; byte += byte < 64 || byte > meta.size - 500 ? 1 : 3) {
      const ends = byte < 64 || byte > meta.size - 500;
      for (let bit = ends ? 0 : byte % 8; bit < 8; bit += ends ? 1 : 8) {
        const flip = (bytes: Uint8Array): undefined => {
          bytes[byte]! ^= 1 << bit;
        };
        fs.corrupt(path, flip);
        const error = await rejection(readAll);
        if (!isVarveError(error, 'VARVE_CORRUPT')) expect.fail(`byte ${byte} bit ${bit}: ${String(error)}`);
        expect(error.file).toBe(path);
        fs.corrupt(path, flip);
      }
    }
  });
});
