/** The order in which the tables of a tree are looked up. */
import { emptyBytes, sharedBytes } from '../base/bytes.ts';
import type { CatalogTable } from '../format/catalog.ts';

/**
 * A copy, newest rows of a key first: by level, since rows only go down as they age; in level 0, whose ranges
 * overlap, by falling file number, in which order they were flushed. Sequence numbers do not tell the age of
 * a table: late deletes are written under the number of their range.
 */
export function newestFirst<T extends { readonly meta: CatalogTable }>(tables: readonly T[]): T[] {
  return [...tables].sort((a, b) => a.meta.level - b.meta.level || b.meta.no - a.meta.no);
}

/** The bytes that all keys of the tables begin with, a view; none without tables. */
export function sharedStart(tables: readonly { readonly meta: CatalogTable }[]): Uint8Array {
  const first = tables[0];
  if (first === undefined) return emptyBytes;
  const { minKey } = first.meta;
  const shared = tables.reduce((least, { meta }) => {
    return Math.min(least, sharedBytes(minKey, meta.minKey), sharedBytes(minKey, meta.maxKey));
  }, minKey.length);
  return minKey.subarray(0, shared);
}
