/** The order in which the tables of a tree are looked up. */
import type { CatalogTable } from '../format/catalog.ts';

/** A copy, newest first: by falling highest sequence number, then by falling file number. */
export function newestFirst<T extends { readonly meta: CatalogTable }>(tables: readonly T[]): T[] {
  return [...tables].sort((a, b) => b.meta.maxSeq - a.meta.maxSeq || b.meta.no - a.meta.no);
}
