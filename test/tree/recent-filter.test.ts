import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { OK } from '../../src/tree/cursor.ts';
import type { KeyMemtable } from '../../src/tree/key-memtable.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { PartRoom } from '../../src/tree/part-room.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import {
  dbUuid,
  keyOf,
  memtableOf,
  noCache,
  prefixOf,
  putRow,
  type Row,
  rowValue,
  salt,
} from './table-kit.ts';

/** A tree, the rows of its tables, and what becomes of memtables. */
class Subject {
  readonly room: PartRoom;
  readonly tree: KeyTree;
  readonly #fs = new MemoryFileSystem();
  readonly #frozen: { memtable: KeyMemtable; rows: Row[] }[] = [];
  #rows: Row[] = [];
  #inTables: Row[] = [];
  #no = 1;

  /** Filters of flushed tables take none of the budget. */
  constructor(budget: number) {
    this.room = new PartRoom(budget);
    this.tree = new KeyTree(2 ** 22, [], [], undefined, 0, 0, budget === 0 ? undefined : this.room);
  }

  insert(row: Row): void {
    const key = keyOf(row);
    this.#rows.push(row);
    this.tree.insert(key, 0, key.length, row.value, 0, row.value.length);
  }

  freeze(): void {
    const memtable = this.tree.freeze();
    if (memtable === undefined) return;
    this.#frozen.push({ memtable, rows: this.#rows });
    this.#rows = [];
  }

  async flush(): Promise<void> {
    const oldest = this.#frozen.shift();
    if (oldest === undefined) return;
    const table = await this.#table(0, oldest.memtable);
    this.tree.replaceFrozen(oldest.memtable, table);
    this.#inTables.push(...oldest.rows);
  }

  /** All tables become one of level 1. */
  async merge(): Promise<void> {
    const inputs = this.tree.tables;
    if (inputs.length === 0) return;
    this.tree.replaceTables(inputs, [await this.#table(1, memtableOf(this.#inTables))]);
  }

  answer(key: string, seqMax: number): string {
    const out = new RowRef();
    const prefix = prefixOf(key);
    if (this.tree.findSync(prefix, 0, prefix.length, seqMax, out) !== OK) return 'none';
    return `${out.seq} ${Buffer.from(out.bytes.subarray(out.valueFrom, out.valueTo)).toString('hex')}`;
  }

  async #table(level: number, memtable: KeyMemtable): Promise<KeyTable> {
    const identity = { no: this.#no++, tree: trees.K, level, dbUuid, salt };
    const meta = await writeKeyTable(this.#fs, { ...identity, rows: memtable.cursor() });
    return await KeyTable.open(this.#fs, meta, { dbUuid, cache: noCache() });
  }
}

const keyArb = fc.oneof(fc.constantFrom('', 'a', 'aa', 'b'), fc.nat(300).map(String));
const putArb = fc.record({ do: fc.constant('put' as const), key: keyArb, kind: fc.nat(9) });
const stepArb = fc.record({ do: fc.constantFrom('freeze', 'flush', 'merge', 'drop') });
const findArb = fc.record({ do: fc.constant('find' as const), key: keyArb, back: fc.nat(6) });
const commandArb = fc.oneof(
  { weight: 6, arbitrary: putArb },
  { weight: 4, arbitrary: stepArb },
  { weight: 4, arbitrary: findArb },
);

function rowOf({ key, kind }: { key: string; kind: number }, seq: number): Row {
  if (kind === 0) return { key, seq, value: rowValue('', rowKinds.delete) };
  // A late delete has a number below that of puts made before it.
  if (kind === 1) return { key, seq: Math.max(1, seq - 3), value: rowValue('', rowKinds.lateDelete) };
  return putRow(key, seq);
}

describe('recent filters', () => {
  test('a tree answers as one without them, whatever is flushed, merged and dropped', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(commandArb, { minLength: 10, maxLength: 80 }),
        fc.constantFrom(2 ** 10, 2 ** 13, 2 ** 20),
        async (commands, budget) => {
          const plain = new Subject(0);
          const tree = new Subject(budget);
          let seq = 0;
          for (const command of commands) {
            for (const one of [plain, tree]) {
              if (command.do === 'put') one.insert(rowOf(command as never, seq + 1));
              else if (command.do === 'freeze') one.freeze();
              else if (command.do === 'flush') await one.flush();
              else if (command.do === 'merge') await one.merge();
              else if (command.do === 'drop') one.room.clear();
            }
            if (command.do === 'put') seq++;
            if (command.do !== 'find') continue;
            const { key, back } = command as { key: string; back: number };
            const seqMax = Math.max(0, seq - back);
            expect(tree.answer(key, seqMax)).toBe(plain.answer(key, seqMax));
          }
          for (let n = 0; n < 300; n += 7) {
            expect(tree.answer(String(n), seq)).toBe(plain.answer(String(n), seq));
          }
          for (const { tree: one, room } of [plain, tree]) {
            one.close();
            expect(room.used).toBe(0);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a key that is nowhere asks no filter of the tables flushed lately', async () => {
    const subject = new Subject(2 ** 24);
    const prng = new Prng(3);
    let seq = 1;
    for (let table = 0; table < 20; table++) {
      for (let i = 0; i < 200; i++) subject.insert(putRow(`key ${prng.below(2 ** 30)}`, seq++));
      subject.freeze();
      await subject.flush();
    }
    const { counts } = subject.tree;
    for (let i = 0; i < 1000; i++) expect(subject.answer(`other ${i}`, seq)).toBe('none');
    // The first table has none: its memtable was there before any other. The others have three.
    expect(counts.filters / counts.lookups).toBeGreaterThanOrEqual(1);
    expect(counts.filters / counts.lookups).toBeLessThan(1.3);
    subject.tree.close();
  });

  test('filters end with the last of their tables', async () => {
    const subject = new Subject(2 ** 20);
    let seq = 1;
    const fill = async (): Promise<void> => {
      for (let i = 0; i < 50; i++) subject.insert(putRow(`key ${seq}`, seq++));
      subject.freeze();
      await subject.flush();
    };
    await fill();
    const { used } = subject.room;
    expect(used).toBeGreaterThan(0);
    for (let i = 0; i < 40; i++) await fill();
    expect(subject.room.used).toBe(6 * used);
    // The active memtable has the last one.
    await subject.merge();
    expect(subject.room.used).toBe(used);
    subject.tree.close();
    expect(subject.room.used).toBe(0);
  });

  test('a filter takes a sixteenth of the budget at most', async () => {
    for (const [budget, most] of [
      [2 ** 16, 2 ** 12],
      [1000, 0],
    ] as const) {
      const subject = new Subject(budget);
      for (let i = 0; i < 1000; i++) subject.insert(putRow(`key ${i}`, i + 1));
      subject.freeze();
      expect(subject.room.used).toBeLessThanOrEqual(most);
      expect(subject.room.used > 0).toBe(most > 0);
      subject.tree.close();
    }
  });
});
