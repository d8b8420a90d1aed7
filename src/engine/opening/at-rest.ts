/**
 * A store at rest: closed in order, whole, and with nothing behind its catalog. There is nothing to recover,
 * so an open writes its slot of SUPER and no more, and a close after which nothing was written marks the same
 * set of files as closed again.
 *
 * A slot for the epoch names the pair of catalogs the one before named, so falling back by a slot or by a
 * catalog finds what it found before (test/engine/at-rest.test.ts; test/catalog/catalog-crash.test.ts).
 */
import type { Catalog } from '../../format/catalog.ts';
import type { Found } from './found.ts';
import { openSegments } from './rescue.ts';

/** Whether nothing that was found has to be named by a new catalog, or repeated in a new log file. */
export function isAtRest({ loaded, chain, replayed }: Found): boolean {
  const { slot, catalog, previous, problems } = loaded;
  const isWhole = problems.length === 0 && catalog.no === slot.catalogNo && previous !== undefined;
  if (!slot.cleanShutdown || !isWhole) return false;
  if (!chain.sealed || chain.frames.length > 0 || chain.problems.length > 0) return false;
  if (openSegments(catalog.unsealed, catalog.sealed, replayed.named).length > 0) return false;
  const { prevLastSeq, lastSeq, prevFileNo } = chain.resume();
  return prevFileNo > 0 && lastSeq === prevLastSeq;
}

/** What a close looks at to tell whether anything has happened since the open. */
export interface Untouched {
  /** As of the open. */
  readonly catalog: Catalog;
  readonly generation: number;
}
