/** The order in which the tables of a tree are looked up. */
import type { CatalogTable } from '../format/catalog.ts';

/**
 * A copy, newest rows of a key first: by level, since rows only go down as they age; in level 0, whose ranges
 * overlap, by falling file number, in which order they were flushed. Sequence numbers do not tell the age of
 * a table: late deletes are written under the number of their range.
 */
export function newestFirst<T extends { readonly meta: CatalogTable }>(tables: readonly T[]): T[] {
  return [...tables].sort((a, b) => a.meta.level - b.meta.level || b.meta.no - a.meta.no);
}
