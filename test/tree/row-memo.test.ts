import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hashKey32 } from '../../src/codec/key-hash.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { OK } from '../../src/tree/cursor.ts';
import { KeyTree } from '../../src/tree/key-tree.ts';
import { memoSlotBytes, RowMemo } from '../../src/tree/row-memo.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';
import { dbUuid, keyOf, noCache, prefixOf, rowValue, salt } from './table-kit.ts';

const noted = (memo: RowMemo, key: string, hash: number, block: number, seq = 5): void => {
  const prefix = prefixOf(key);
  memo.note(hash, prefix, 0, prefix.length, 3, block, 10, 20, seq);
};

const slotOf = (memo: RowMemo, key: string, hash: number): number => {
  const prefix = prefixOf(key);
  return memo.slotOf(hash, prefix, 0, prefix.length);
};

/** What the tree says of a key to a reader at `seqMax`. */
function answer(tree: KeyTree, key: string, seqMax: number): string {
  const out = new RowRef();
  const prefix = prefixOf(key);
  if (tree.findSync(prefix, 0, prefix.length, seqMax, out) !== OK) return 'none';
  return `${out.seq} ${Buffer.from(out.bytes.subarray(out.valueFrom, out.valueTo)).toString('hex')}`;
}

const keyArb = fc.constantFrom('', 'a', 'aa', 'b', 'c'.repeat(30), 'long'.repeat(20));
const commandArb = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('put' as const), key: keyArb, late: fc.nat(9), size: fc.nat(9) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('find' as const), key: keyArb, back: fc.nat(6) }) },
);

describe('row memo', () => {
  test('lookups answer as without it, whatever is inserted, flushed and merged', async () => {
    let remembered = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(commandArb, { minLength: 10, maxLength: 60 }), async (commands) => {
        const fs = new MemoryFileSystem();
        const plain = new KeyTree(2 ** 18, []);
        const tree = new KeyTree(2 ** 18, [], [], undefined, 64 * memoSlotBytes);
        let seq = 0;
        let no = 1;
        for (const command of commands) {
          if (command.do === 'put') {
            seq++;
            const kind = command.late === 0 ? rowKinds.delete : rowKinds.put;
            const value = rowValue('x'.repeat(command.size), command.late === 1 ? rowKinds.lateDelete : kind);
            // A late delete has a number below that of puts made before it.
            const key = keyOf({ key: command.key, seq: command.late === 1 ? Math.max(1, seq - 3) : seq });
            for (const one of [plain, tree]) one.insert(key, 0, key.length, value, 0, value.length);
          } else if (command.do === 'flush') {
            for (const one of [plain, tree]) {
              const frozen = one.freeze();
              if (frozen === undefined) continue;
              const identity = { no: no++, tree: trees.K, level: 0, dbUuid, salt };
              const meta = await writeKeyTable(fs, { ...identity, rows: frozen.cursor() });
              one.replaceFrozen(frozen, await KeyTable.open(fs, meta, { dbUuid, cache: noCache() }));
            }
          } else {
            const seqMax = Math.max(0, seq - command.back);
            const expected = answer(plain, command.key, seqMax);
            // The second time from the memo, where the first one found the row in a table.
            for (let i = 0; i < 2; i++) expect(answer(tree, command.key, seqMax)).toBe(expected);
          }
        }
        remembered += tree.counts.remembered;
        for (const one of [plain, tree]) one.close();
      }),
      { numRuns: 60 },
    );
    expect(remembered).toBeGreaterThan(0);
  });

  test('keys of one slot are told apart', () => {
    const memo = new RowMemo(memoSlotBytes);
    noted(memo, 'abc', 7, 1);
    expect(slotOf(memo, 'abc', 7)).toBe(0);
    expect(slotOf(memo, 'abd', 7)).toBe(-1);
    expect(slotOf(memo, 'ab', 7)).toBe(-1);
    expect(slotOf(memo, 'abc', 8)).toBe(-1);
    noted(memo, 'abd', 7, 2, 2 ** 40 + 3);
    expect(slotOf(memo, 'abc', 7)).toBe(-1);
    const slot = slotOf(memo, 'abd', 7);
    expect(memo.seq(slot)).toBe(2 ** 40 + 3);
    expect([memo.table(slot), memo.block(slot), memo.valueFrom(slot), memo.valueTo(slot)]).toEqual([
      3, 2, 10, 20,
    ]);
    memo.clear();
    expect(slotOf(memo, 'abd', 7)).toBe(-1);
  });

  test('the budget bounds it', () => {
    for (const budget of [0, memoSlotBytes - 1, 1000, 2 ** 16]) {
      const memo = new RowMemo(budget);
      expect(memo.bytes).toBe(0);
      for (let i = 0; i < 3000; i++) {
        const prefix = prefixOf(`key ${i}`);
        noted(memo, `key ${i}`, hashKey32(prefix, 0, prefix.length), i);
      }
      expect(memo.bytes).toBeLessThanOrEqual(budget);
      if (budget >= memoSlotBytes) expect(memo.bytes).toBeGreaterThan(budget - memoSlotBytes);
    }
  });

  test('a long key, and one of no bytes, is not remembered', () => {
    const memo = new RowMemo(1000);
    noted(memo, 'k'.repeat(60), 9, 1);
    memo.note(9, new Uint8Array(0), 0, 0, 1, 1, 1, 2, 1);
    expect(memo.bytes).toBe(0);
  });
});
