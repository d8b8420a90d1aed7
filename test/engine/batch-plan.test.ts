import fc from 'fast-check';
import { expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { rowPrefix } from '../../src/engine/key-args.ts';
import type { BatchOperation } from '../../src/engine/types.ts';
import { inlineOps, own, planBatch } from '../../src/engine/writing/batch-plan.ts';

test('a plan has the last operation of every key', () => {
  const key = fc.oneof(
    fc.string({ maxLength: 2, unit: fc.constantFrom('a', 'b', '\0', 'é', '😀') }),
    fc.uint8Array({ maxLength: 2, max: 3 }),
  );
  const operation = fc.record({ key, isPut: fc.boolean(), value: fc.uint8Array({ maxLength: 5 }) });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (given) => {
      const model = new Map<string, string>();
      const operations: BatchOperation[] = given.map(({ key, isPut, value }) => {
        const name = toHex(rowPrefix(3, key));
        model.delete(name);
        model.set(name, isPut ? toHex(value) : 'delete');
        return isPut ? { type: 'put', key, value } : { type: 'delete', key };
      });
      const planned = planBatch(3, operations);
      const shown = planned.map(({ prefix, put }) => [toHex(prefix), put ? toHex(put.value) : 'delete']);
      expect(shown).toEqual(Array.from(model));
      expect(inlineOps(planned, 5)!.map(({ kind }) => kind)).toEqual(
        planned.map(({ put }) => (put ? 'put' : 'delete')),
      );
      own(planned);
      for (const { value } of given) value.fill(255);
      expect(planned.map(({ prefix, put }) => [toHex(prefix), put ? toHex(put.value) : 'delete'])).toEqual(
        shown,
      );
    }),
  );
});
