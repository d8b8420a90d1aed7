/** A lookup leaves the place of a key behind, and an insert right after it starts there. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { GiB } from '../../src/base/limits.ts';
import { encodeInternalKey } from '../../src/format/internal-key.ts';
import { OK } from '../../src/tree/cursor.ts';
import { KeyMemtable } from '../../src/tree/key-memtable.ts';

const nowhere = Uint8Array.of(9, 9, 9, 9, 9);

function insert(table: KeyMemtable, key: Uint8Array, value: Uint8Array): void {
  const both = concatBytes([key, value]);
  table.insert(both, 0, key.length, both, key.length, both.length);
}

test('inserts right after lookups equal inserts without them', () => {
  const prefixes = fc.uint8Array({ minLength: 1, maxLength: 3, max: 3 });
  const step = fc.record({
    prefix: prefixes,
    sought: prefixes,
    how: fc.constantFrom('same', 'other', 'between', 'older'),
    seq: fc.integer({ min: 0, max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const table = new KeyMemtable({ bytesMax: GiB });
      const plain = new KeyMemtable({ bytesMax: GiB });
      const cursor = table.cursor();
      steps.forEach(({ prefix, sought, how, seq }, i) => {
        const key = encodeInternalKey(prefix, seq);
        const target = how === 'other' ? sought : prefix;
        const found = table.find(target, 0, target.length, how === 'older' ? seq - 1 : 2 ** 40);
        expect(found === -1).toBe(
          plain.find(target, 0, target.length, how === 'older' ? seq - 1 : 2 ** 40) === -1,
        );
        if (how === 'between') cursor.seek(sought);
        const value = Uint8Array.of(i & 255);
        insert(table, key, value);
        plain.find(nowhere, 0, nowhere.length, 0);
        insert(plain, key, value);
      });
      const rows = [table, plain].map((each) => {
        const at = each.cursor();
        const out: string[] = [];
        for (let s = at.first(); s === OK; s = at.next()) {
          out.push(toHex(at.keyBytes.subarray(at.keyFrom, at.keyTo)) + at.valueBytes[at.valueFrom]);
        }
        return out;
      });
      expect(rows[0]).toEqual(rows[1]);
    }),
  );
});
