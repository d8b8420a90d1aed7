import fc from 'fast-check';
import { expect, test } from 'vitest';
import { equalBytes } from '../../src/base/bytes.ts';
import { PagedBytes } from '../../src/fs/paged-bytes.ts';

test('forks share nothing that either can change; equal content has one digest', () => {
  const change = fc.record({
    which: fc.nat(3),
    pos: fc.nat(15_000),
    data: fc.uint8Array({ minLength: 1, maxLength: 5_000 }),
    act: fc.constantFrom('write', 'truncate', 'zero', 'fork', 'digest'),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const all: { paged: PagedBytes; model: Uint8Array }[] = [
        { paged: new PagedBytes(), model: new Uint8Array(0) },
      ];
      for (const { which, pos, data, act } of changes) {
        const it = all[which % all.length]!;
        if (act === 'fork' && all.length < 4) all.push({ paged: it.paged.fork(), model: it.model.slice() });
        else if (act === 'digest') it.paged.digest();
        else if (act === 'truncate') {
          it.paged.truncate(pos);
          it.model = resized(it.model, pos);
        } else if (act === 'zero') {
          it.paged.zero(pos, pos + data.length);
          it.model.fill(0, Math.min(pos, it.model.length), Math.min(pos + data.length, it.model.length));
        } else {
          it.paged.write(data, pos);
          it.model = resized(it.model, Math.max(it.model.length, pos + data.length));
          it.model.set(data, pos);
        }
      }
      for (const { paged, model } of all) {
        expect(paged.size).toBe(model.length);
        expect(equalBytes(paged.copy(0, 100_000), model)).toBe(true);
        const fresh = new PagedBytes();
        fresh.write(model, 0);
        fresh.truncate(model.length);
        expect(paged.digest()).toBe(fresh.digest());
      }
    }),
    { numRuns: 150 },
  );
});

test('a far write leaves a hole of zeros', () => {
  const paged = new PagedBytes();
  paged.write(Uint8Array.of(1), 10_000_000_000);
  expect(paged.size).toBe(10_000_000_001);
  expect(paged.copy(9_999_999_998, 10_000_000_001)).toEqual(Uint8Array.of(0, 0, 1));
});

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length);
  out.set(bytes.subarray(0, length));
  return out;
}
