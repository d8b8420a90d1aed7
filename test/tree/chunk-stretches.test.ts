import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { FrozenChunks } from '../../src/tree/chunk-cursor.ts';
import { ChunkMemtable } from '../../src/tree/chunk-memtable.ts';
import { RunStretches } from '../../src/tree/chunk-stretches.ts';
import { ChunkTable } from '../../src/tree/chunk-table-reader.ts';
import { writeChunkTable } from '../../src/tree/chunk-table-writer.ts';
import { ChunkTree } from '../../src/tree/chunk-tree.ts';
import { END, MISS } from '../../src/tree/cursor.ts';
import { MergedStretches } from '../../src/tree/merged-stretches.ts';
import { chunkId, dbUuid, noCache, salt } from './table-kit.ts';

const memtableBytes = 2 ** 20;

const pace = {
  monotonic: () => performance.now(),
  turn: () => new Promise<void>((resolve) => setImmediate(resolve)),
  cancelled: () => false,
};

interface Change {
  readonly kind: 'refs' | 'many' | 'set' | 'drop';
  readonly n: number;
  readonly x: number;
}

/** One source: a table of a level, or a memtable. */
interface Source {
  readonly level: number;
  readonly changes: readonly Change[];
  /** Ids are `from` and following: sources overlap in part, wholly, or not at all. */
  readonly from: number;
}

/** Ids of which every other one shares its first 6 bytes with the next. */
function idOf(n: number): Uint8Array {
  const id = chunkId(n, Math.floor(n / 2) * 7919);
  id.fill(0, 4, 6);
  id[6] = n & 1;
  return id;
}

function change(memtable: Pick<ChunkMemtable, 'addRefs' | 'setLocation' | 'drop'>, source: Source): void {
  for (const { kind, n, x } of source.changes) {
    const id = idOf(source.from + n);
    if (kind === 'refs') memtable.addRefs(id, 0, x);
    else if (kind === 'many') memtable.addRefs(id, 0, (2 ** 31 - 2) * Math.sign(x));
    else if (kind === 'set') memtable.setLocation(id, 0, x + 4, n, 10 + n, 20 + n, n % 3, n % 2);
    else memtable.drop(id, 0);
  }
}

async function tableOf(fs: MemoryFileSystem, source: Source, no: number): Promise<ChunkTable | undefined> {
  const memtable = new ChunkMemtable({ bytesMax: memtableBytes });
  memtable.note(no);
  change(memtable, source);
  if (memtable.entries === 0) return undefined;
  memtable.freeze();
  const entries = new FrozenChunks(memtable);
  const of = { no, level: source.level, dbUuid, salt, minSeq: no, maxSeq: no };
  const meta = await writeChunkTable(fs, { ...of, entries, entriesMax: memtable.entries });
  return await ChunkTable.open(fs, meta, { dbUuid, cache: noCache() });
}

/** One line per entry: its id and all that a table has of it. */
function lineOf(bytes: Uint8Array, view: DataView, at: number): string {
  const numbers = [32, 36, 40, 44, 48, 52].map((field) => view.getUint32(at + field, true));
  return `${toHex(bytes.subarray(at, at + 32))} ${numbers.join(' ')}`;
}

async function scanned(tree: ChunkTree): Promise<string[]> {
  const lines: string[] = [];
  const bytes = new Uint8Array(56);
  const view = new DataView(bytes.buffer);
  await tree.scanAll(({ columns, idBytes, idAt }) => {
    columns.write(view, 0, idBytes, idAt);
    lines.push(lineOf(bytes, view, 0));
  });
  return lines;
}

/** What a scan in stretches hands on, in the order of the ids. */
async function inStretches(tree: ChunkTree): Promise<{ lines: string[]; calls: number }> {
  const lines: string[] = [];
  let calls = 0;
  await tree.scanStretches((bytes, view, from, to) => {
    calls++;
    for (let at = from; at < to; at += 56) lines.push(lineOf(bytes, view, at));
  }, pace);
  return { lines: lines.sort(), calls };
}

describe('stretches', () => {
  const changes = fc.array(
    fc.record({
      kind: fc.constantFrom<Change['kind']>('refs', 'refs', 'set', 'set', 'set', 'drop', 'many'),
      n: fc.nat(400),
      x: fc.integer({ min: -3, max: 1000 }),
    }),
    { maxLength: 600 },
  );
  const from = fc.constantFrom(0, 0, 200, 401, 802);
  const source = fc.record({ level: fc.constantFrom(0, 0, 1, 2), changes, from });

  test('stretches have the entries of a scan, however sources overlap', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(source, { maxLength: 6 }),
        fc.array(source, { maxLength: 3 }),
        async (of, on) => {
          const fs = new MemoryFileSystem();
          const tables: ChunkTable[] = [];
          for (const [i, each] of of.entries()) {
            const table = await tableOf(fs, each, i + 1);
            if (table !== undefined) tables.push(table);
          }
          const tree = new ChunkTree(memtableBytes, tables);
          for (const [i, each] of on.entries()) {
            if (i > 0) tree.freeze();
            change(tree.active, each);
          }
          expect((await inStretches(tree)).lines).toEqual(await scanned(tree));
          tree.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a table alone is handed on block by block', async () => {
    const fs = new MemoryFileSystem();
    const all = Array.from({ length: 5000 }, (_, n): Change => ({ kind: 'set', n, x: 1 }));
    const table = (await tableOf(fs, { level: 1, changes: all, from: 0 }, 1))!;
    const tree = new ChunkTree(memtableBytes, [table]);
    const { lines, calls } = await inStretches(tree);
    expect(lines).toEqual(await scanned(tree));
    // One for each block of 72, and some where a look at the clock cuts one.
    expect(calls).toBeLessThan(5000 / 72 + 5);
    tree.close();
  });

  test('a piece read ahead that fails is met where it begins', async () => {
    const fs = new MemoryFileSystem();
    const all = Array.from({ length: 9000 }, (_, n): Change => ({ kind: 'set', n, x: 1 }));
    const table = (await tableOf(fs, { level: 1, changes: all, from: 0 }, 1))!;
    const tree = new ChunkTree(memtableBytes, [table]);
    let reads = 0;
    fs.faults = ({ kind }) => (kind === 'read' && ++reads === 3 ? { errno: 'EIO' } : undefined);
    let entries = 0;
    const scan = tree.scanStretches((_, __, from, to) => {
      entries += (to - from) / 56;
    }, pace);
    await expect(scan).rejects.toMatchObject({ code: 'VARVE_IO' });
    // Pieces of 32 blocks of 72 or 73.
    expect(entries).toBeGreaterThan(2 * 32 * 70);
    expect(entries).toBeLessThan(2 * 32 * 74);
    expect(reads).toBe(3);
    tree.close();
  });

  test('a run whose tables are out of order is damage', async () => {
    const fs = new MemoryFileSystem();
    const changes: Change[] = [{ kind: 'set', n: 1, x: 1 }];
    const low = (await tableOf(fs, { level: 1, changes, from: 0 }, 1))!;
    const high = (await tableOf(fs, { level: 1, changes, from: 100 }, 2))!;
    const merged = new MergedStretches([new RunStretches([high, low])]);
    const all = async (): Promise<void> => {
      for (let step = merged.run(10, () => undefined); step !== END; step = merged.run(10, () => undefined)) {
        if (step === MISS) await merged.load();
      }
    };
    await expect(all()).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
    low.release();
    high.release();
  });

  test('a scan in stretches outlives a close of the tree and later changes', async () => {
    const fs = new MemoryFileSystem();
    const all = Array.from({ length: 5000 }, (_, n): Change => ({ kind: 'set', n, x: 1 }));
    const table = (await tableOf(fs, { level: 0, changes: all, from: 0 }, 1))!;
    const tree = new ChunkTree(memtableBytes, [table]);
    tree.addRefs(idOf(6000), 0, 1);
    let entries = 0;
    const scan = tree.scanStretches((_, __, from, to) => {
      entries += (to - from) / 56;
    }, pace);
    tree.addRefs(idOf(7000), 0, 1);
    tree.close();
    await scan;
    expect(entries).toBe(5001);
  });

  test('a scan in stretches lets others run, and ends when it is cancelled', async () => {
    const tree = new ChunkTree(memtableBytes, []);
    for (let n = 0; n < 10_000; n++) tree.addRefs(idOf(n), 0, 1);
    let now = 0;
    let turns = 0;
    let entries = 0;
    const late = {
      monotonic: () => (now += 10),
      turn: async () => {
        turns++;
      },
      cancelled: () => turns === 2,
    };
    const scan = tree.scanStretches((_, __, from, to) => {
      entries += (to - from) / 56;
    }, late);
    await expect(scan).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    expect(turns).toBe(2);
    expect(entries).toBeLessThan(5000);
  });
});
