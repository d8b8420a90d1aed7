/** The named spaces of a store, as callers see them. */
import type { RangeDeletes } from './range-deletes.ts';
import type { Store } from './store.ts';

/** Named key spaces of a store. */
export interface SpaceList {
  /** Names that have been written to, in byte order. */
  list(): string[];
  /**
   * Drops a space with all its keys, as one commit; true when there was one. The name is free at once: who
   * puts under it again begins an empty space. Reads begun before go on; writes under way to the space reject
   * with VARVE_CONFLICT. Durable as put.
   */
  drop(name: string, options?: { signal?: AbortSignal }): Promise<boolean>;
}

/** The spaces of an open store. */
export function spacesOf(store: Store, ranges: RangeDeletes): SpaceList {
  return {
    list: () => {
      store.assertReadable();
      return store.parts.spaces.names();
    },
    drop: (name, options) => store.run(() => ranges.drop(name, options)),
  };
}
