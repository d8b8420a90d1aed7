import { describe, expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { encodeInternalKey, encodeRowPrefix } from '../../src/format/internal-key.ts';
import { LostTables } from '../../src/tree/lost-tables.ts';

const prefix = (key: string): Uint8Array => encodeRowPrefix(0, new TextEncoder().encode(key));
const table = (minKey: string, maxKey: string, minSeq: number, maxSeq: number): CatalogTable => ({
  tree: 1,
  level: 0,
  no: 9,
  size: 1,
  entries: 2,
  minKey: encodeInternalKey(prefix(minKey), maxSeq),
  maxKey: encodeInternalKey(prefix(maxKey), minSeq),
  minSeq,
  maxSeq,
  checksum: 0n,
});

function refused(call: () => void): boolean {
  try {
    call();
    return false;
  } catch (error) {
    if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
    expect(error.file).toBe('tab/00/00/0000000000000009.tab');
    return true;
  }
}

describe('lost tables', () => {
  const lost = new LostTables([table('d', 'm', 10, 20)]);
  const key = (name: string, foundSeq: number, seqMax: number): boolean => {
    const p = prefix(name);
    return refused(() => lost.refuseKey(p, 0, p.length, foundSeq, seqMax));
  };

  test('refuse a key in their range unless a newer row was found or the reader is older', () => {
    expect([key('d', 0, 99), key('h', 5, 99), key('m', 19, 99)]).toEqual([true, true, true]);
    expect([key('h', 20, 99), key('h', 30, 99), key('h', 0, 9)]).toEqual([false, false, false]);
    expect([key('c', 0, 99), key('da', 0, 99), key('m0', 0, 99)]).toEqual([false, true, false]);
  });

  test('refuse a range that overlaps them', () => {
    const range = (from: string, to: string | undefined): boolean =>
      refused(() => lost.refuseRange(prefix(from), to === undefined ? undefined : prefix(to)));
    expect([range('a', undefined), range('a', 'e'), range('m', 'z'), range('e', 'f')]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect([range('a', 'd'), range('n', undefined)]).toEqual([false, false]);
  });

  test('none refuse nothing', () => {
    const none = new LostTables([]);
    const p = prefix('x');
    none.refuseKey(p, 0, p.length, 0, 9);
    none.refuseRange(p, undefined);
    expect(none.any).toBe(false);
  });
});
