import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import { goneRecord } from '../../src/format/value-record.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { OK } from '../../src/tree/cursor.ts';
import type { KeyMemtable } from '../../src/tree/key-memtable.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import type { TreeView } from '../../src/tree/tree-view.ts';
import {
  currentKey,
  currentValue,
  dbUuid,
  keyOf,
  noCache,
  prefixOf,
  putRow,
  type Row,
  rowValue,
  salt,
  settle,
} from './table-kit.ts';

const memtableBytes = 2 ** 20;

function insert(tree: KeyTree, row: Row): void {
  const key = keyOf(row);
  tree.insert(key, 0, key.length, row.value, 0, row.value.length);
}

/** Flushes a frozen memtable and installs the table. */
async function flush(
  tree: KeyTree,
  fs: MemoryFileSystem,
  frozen: KeyMemtable,
  no: number,
  cache: BlockCache,
): Promise<void> {
  const meta = await writeKeyTable(fs, { no, tree: trees.K, level: 0, dbUuid, salt, rows: frozen.cursor() });
  tree.replaceFrozen(frozen, await KeyTable.open(fs, meta, { dbUuid, cache }));
}

async function find(tree: KeyTree, key: string, seqMax: number, sync: boolean): Promise<Row | undefined> {
  const out = new RowRef();
  const prefix = prefixOf(key);
  const step = sync
    ? tree.findSync(prefix, 0, prefix.length, seqMax, out)
    : await tree.findAsync(prefix, 0, prefix.length, seqMax, out);
  return step === OK ? { key, seq: out.seq, value: out.bytes.slice(out.valueFrom, out.valueTo) } : undefined;
}

const keyArb = fc.constantFrom('', 'a', 'aa', 'ab', 'b', 'b\0', '\xff', 'zebra');
type Command =
  | { do: 'put'; key: string; size: number }
  | { do: 'freeze' }
  | { do: 'flush' }
  | { do: 'find'; key: string; back: number; sync: boolean }
  | { do: 'view' }
  | { do: 'walk'; key: string; moves: boolean[] };
const commandArb: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('put' as const), key: keyArb, size: fc.nat(1500) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('freeze' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('find' as const),
      key: keyArb,
      back: fc.nat(8),
      sync: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('view' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('walk' as const),
      key: keyArb,
      moves: fc.array(fc.boolean(), { maxLength: 12 }),
    }),
  },
);

/** Goes back and forth from a seek, in a view and in the sorted rows it was taken over. */
async function walk(
  view: TreeView,
  rows: readonly Row[],
  seqMax: number,
  start: string,
  moves: boolean[],
): Promise<void> {
  const cursor = view.cursor();
  const visible = (): boolean => {
    const key = currentKey(cursor);
    return rows.some((row) => compareBytes(keyOf(row), key) === 0);
  };
  const sought = keyOf({ key: start, seq: seqMax });
  let at = rows.findIndex((row) => compareBytes(keyOf(row), sought) >= 0);
  let ok = await settle(cursor, () => cursor.seek(sought));
  // Rows newer than the view may appear.
  while (ok && !visible()) ok = await settle(cursor, () => cursor.next());
  for (const forward of [...moves, true]) {
    if (at < 0 || at >= rows.length) return expect(ok).toBe(false);
    expect(ok).toBe(true);
    expect(currentKey(cursor)).toEqual(keyOf(rows[at]!));
    expect(currentValue(cursor)).toEqual(rows[at]!.value);
    at += forward ? 1 : -1;
    do ok = await settle(cursor, () => (forward ? cursor.next() : cursor.prev()));
    while (ok && !visible());
  }
}

async function scanBothWays(view: TreeView, rows: readonly Row[]): Promise<void> {
  const cursor = view.cursor();
  for (const forward of [true, false]) {
    const found: string[] = [];
    let ok = await settle(cursor, () => (forward ? cursor.first() : cursor.last()));
    while (ok) {
      const key = currentKey(cursor);
      const row = rows.find((candidate) => compareBytes(keyOf(candidate), key) === 0);
      if (row !== undefined) found.push(`${row.key} ${row.seq}`);
      if (row !== undefined) expect(currentValue(cursor)).toEqual(row.value);
      ok = await settle(cursor, () => (forward ? cursor.next() : cursor.prev()));
    }
    const expected = rows.map((row) => `${row.key} ${row.seq}`);
    expect(found).toEqual(forward ? expected : expected.reverse());
  }
}

async function run(commands: readonly Command[], cache: BlockCache): Promise<void> {
  const fs = new MemoryFileSystem();
  const tree = new KeyTree(memtableBytes, []);
  const rows: Row[] = [];
  const frozen: KeyMemtable[] = [];
  const views: { view: TreeView; rows: Row[]; seq: number }[] = [];
  let seq = 0;
  let no = 1;
  const sorted = (): Row[] => [...rows].sort((a, b) => compareBytes(keyOf(a), keyOf(b)));
  for (const command of commands) {
    if (command.do === 'put') {
      seq++;
      const row = {
        key: command.key,
        seq,
        value: rowValue('v'.repeat(command.size), seq % 4 === 0 ? rowKinds.delete : rowKinds.put),
      };
      rows.push(row);
      insert(tree, row);
    } else if (command.do === 'freeze') {
      const memtable = tree.freeze();
      if (memtable !== undefined) frozen.push(memtable);
    } else if (command.do === 'flush') {
      const oldest = frozen.shift();
      if (oldest !== undefined) await flush(tree, fs, oldest, no++, cache);
    } else if (command.do === 'find') {
      const seqMax = Math.max(0, seq - command.back);
      const expected = rows.filter((row) => row.key === command.key && row.seq <= seqMax).at(-1);
      expect(await find(tree, command.key, seqMax, command.sync)).toEqual(expected);
    } else if (command.do === 'view') {
      views.push({ view: tree.view(), rows: sorted(), seq });
    } else {
      const chosen = views.at(-1) ?? { view: tree.view(), rows: sorted(), seq };
      await walk(chosen.view, chosen.rows, chosen.seq, command.key, command.moves);
      if (!views.includes(chosen)) chosen.view.release();
    }
  }
  const last = tree.view();
  await scanBothWays(last, sorted());
  last.release();
  tree.close();
  for (const { view, rows: seen } of views) {
    await scanBothWays(view, seen);
    view.release();
  }
}

describe('key tree', () => {
  test('tree equals a model under random inserts, freezes and flushes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(commandArb, { minLength: 10, maxLength: 60 }),
        fc.boolean(),
        (commands, cached) => run(commands, cached ? new BlockCache(2 ** 20) : noCache()),
      ),
      { numRuns: 30 },
    );
  });

  test('a view keeps its rows while inserts and flushes go on', async () => {
    const fs = new MemoryFileSystem();
    const tree = new KeyTree(memtableBytes, []);
    const rows = Array.from({ length: 50 }, (_, i) => putRow(`k${10 + i}`, i + 1));
    for (const row of rows) insert(tree, row);
    const view = tree.view();
    const cursor = view.cursor();
    let ok = await settle(cursor, () => cursor.first());
    for (let i = 0; i < rows.length; i++) {
      expect(ok).toBe(true);
      expect(currentKey(cursor)).toEqual(keyOf(rows[i]!));
      insert(tree, putRow(`a${i}`, 100 + i));
      if (i % 10 === 5) await flush(tree, fs, tree.freeze()!, i + 1, noCache());
      ok = await settle(cursor, () => cursor.next());
    }
    expect(ok).toBe(false);
    view.release();
    view.release();
    tree.close();
  });

  test('a view keeps a table open and the last release closes it', async () => {
    const fs = new MemoryFileSystem();
    const tree = new KeyTree(memtableBytes, []);
    insert(tree, putRow('a', 1));
    await flush(tree, fs, tree.freeze()!, 1, noCache());
    const view = tree.view();
    const table = tree.tables[0]!;
    tree.close();
    const cursor = view.cursor();
    expect(await settle(cursor, () => cursor.first())).toBe(true);
    view.release();
    await table.closed();
    expect(() => table.retain()).toThrow(/broken assumption/);
    expect(() => view.cursor()).toThrow(/broken assumption/);
  });

  test('a lookup never ends at a late delete or a gone row', async () => {
    for (const flushed of [false, true]) {
      const fs = new MemoryFileSystem();
      const tree = new KeyTree(memtableBytes, []);
      const step = async (no: number): Promise<void> => {
        if (flushed) await flush(tree, fs, tree.freeze()!, no, noCache());
      };
      insert(tree, putRow('k', 10));
      insert(tree, putRow('g', 10));
      await step(1);
      insert(tree, putRow('k', 30));
      await step(2);
      // Written at commit 40: the range delete of commit 20, and the purge of g@10.
      insert(tree, { key: 'k', seq: 20, value: rowValue('', rowKinds.lateDelete) });
      insert(tree, { key: 'g', seq: 10, value: goneRecord(0, 40) });
      await step(3);
      for (const sync of [true, false]) {
        expect((await find(tree, 'k', 50, sync))?.seq).toBe(30);
        expect((await find(tree, 'k', 30, sync))?.value[0]).toBe(rowKinds.put);
        expect(await find(tree, 'k', 29, sync)).toMatchObject({
          seq: 20,
          value: rowValue('', rowKinds.lateDelete),
        });
        expect((await find(tree, 'k', 19, sync))?.seq).toBe(10);
        expect(await find(tree, 'k', 9, sync)).toBe(undefined);
        expect((await find(tree, 'g', 39, sync))?.value[0]).toBe(rowKinds.put);
        expect((await find(tree, 'g', 40, sync))?.value[0]).toBe(rowKinds.gone);
      }
      tree.close();
    }
  });

  test('a lookup abandoned after a miss does not disturb the next one', async () => {
    const fs = new MemoryFileSystem();
    const tree = new KeyTree(memtableBytes, []);
    for (let i = 0; i < 200; i++) insert(tree, putRow(`k${i}`, i + 1, 'v'.repeat(200)));
    await flush(tree, fs, tree.freeze()!, 1, noCache());
    const out = new RowRef();
    for (let i = 0; i < 200; i++) {
      const prefix = prefixOf(`k${i}`);
      tree.find(prefix, 0, prefix.length, 1e9, out);
    }
    const prefix = prefixOf('k42');
    expect(tree.findSync(prefix, 0, prefix.length, 1e9, out)).toBe(OK);
    expect(out.seq).toBe(43);
    tree.close();
  });
});
