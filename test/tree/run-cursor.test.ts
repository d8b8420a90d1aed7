import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes } from '../../src/base/bytes.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { RunCursor } from '../../src/tree/run-cursor.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { currentKey, dbUuid, keyOf, noCache, putRow, type Row, settle, tableOf } from './table-kit.ts';

const key = (n: number): string => `key ${String(n).padStart(4, '0')}`;
const wide = 'x'.repeat(3000);

/** Tables of `each` rows of the sorted ones. */
async function runOf(fs: MemoryFileSystem, rows: readonly Row[], each: number): Promise<KeyTable[]> {
  const tables: KeyTable[] = [];
  for (let at = 0; at < rows.length; at += each) {
    const meta = await tableOf(fs, rows.slice(at, at + each), tables.length + 1);
    tables.push(await KeyTable.open(fs, meta, { dbUuid, cache: noCache() }));
  }
  return tables;
}

const moveArb = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('next' as const, 'prev' as const), n: fc.constant(0) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('seek' as const, 'seekBefore' as const), n: fc.nat(85) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('first' as const, 'last' as const), n: fc.constant(0) }),
  },
);

describe('cursor over a run', () => {
  test('a run is gone through as one table would be', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(80), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 7 }),
        fc.array(moveArb, { minLength: 10, maxLength: 50 }),
        async (numbers, each, moves) => {
          const rows = [...numbers].sort((a, b) => a - b).map((n) => putRow(key(n), n + 1, wide));
          const tables = await runOf(new MemoryFileSystem(), rows, each);
          const cursor = new RunCursor(tables, (table) => table.cursor());
          let at = 0;
          let ok = await settle(cursor, () => cursor.first());
          expect(ok).toBe(true);
          for (const { kind, n } of moves) {
            if (kind === 'first' || kind === 'last') {
              at = kind === 'first' ? 0 : rows.length - 1;
              ok = await settle(cursor, () => cursor[kind]());
            } else if (kind === 'seek' || kind === 'seekBefore') {
              const sought = keyOf({ key: key(n), seq: n + 1 });
              const behind = rows.findIndex((row) => compareBytes(keyOf(row), sought) >= 0);
              at = (behind === -1 ? rows.length : behind) - (kind === 'seek' ? 0 : 1);
              ok = await settle(cursor, () => cursor[kind](sought));
            } else if (ok) {
              at += kind === 'next' ? 1 : -1;
              ok = await settle(cursor, () => cursor[kind]());
            }
            expect(ok).toBe(at >= 0 && at < rows.length);
            if (ok) expect(currentKey(cursor)).toEqual(keyOf(rows[at]!));
          }
          for (const table of tables) table.release();
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a seek reads one table of a run', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 60 }, (_, n) => putRow(key(n), n + 1, wide));
    const tables = await runOf(fs, rows, 6);
    const read = new Set<string>();
    fs.faults = ({ kind, path }) => {
      if (kind === 'read') read.add(path);
      return undefined;
    };
    const cursor = new RunCursor(tables, (table) => table.cursor());
    await settle(cursor, () => cursor.seek(keyOf(rows[33]!)));
    await settle(cursor, () => cursor.next());
    expect(currentKey(cursor)).toEqual(keyOf(rows[34]!));
    expect(read.size).toBe(1);
    await settle(cursor, () => cursor.next());
    await settle(cursor, () => cursor.next());
    expect(currentKey(cursor)).toEqual(keyOf(rows[36]!));
    expect(read.size).toBe(2);
    for (const table of tables) table.release();
  });

  test('a run without a cache ends every move, also where tables have nothing to show', async () => {
    // Every block of the tables in the middle is passed over, whose index is read in pieces as well.
    const rows = Array.from({ length: 60 }, (_, n) =>
      putRow(key(n), n < 6 || n >= 54 ? 1000 + n : n + 1, wide),
    );
    const tables = await runOf(new MemoryFileSystem(), rows, 6);
    const cursor = new RunCursor(tables, (table) => table.cursor(undefined, 999));
    const seen: Uint8Array[] = [];
    for (let ok = await settle(cursor, () => cursor.first()); ok; ) {
      seen.push(currentKey(cursor));
      ok = await settle(cursor, () => cursor.next());
    }
    const newer = rows.filter(({ seq }) => seq > 999);
    expect(seen).toEqual(newer.map(keyOf));
    expect(await settle(cursor, () => cursor.seek(keyOf(rows[20]!)))).toBe(true);
    expect(currentKey(cursor)).toEqual(keyOf(rows[54]!));
    for (const table of tables) table.release();
  });
});
