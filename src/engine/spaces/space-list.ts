/** The named spaces of a store, as callers see them. */
import { checkFlags, checkNames } from '../../base/names.ts';
import type { Store } from '../store.ts';
import type { RangeDeletes } from '../writing/range-deletes.ts';
import { type SpaceInfo, spaceInfo } from './space-policy.ts';

/** Named key spaces of a store. */
export interface SpaceList {
  /** Names that have been written to, or have a policy, in byte order. */
  list(): string[];
  /** The same with their policies, and what their values take where there is a quota. */
  list(options: { policies: boolean }): SpaceInfo[];
  /**
   * Drops a space with all its keys, as one commit; true when there was one. The name is free at once: who
   * puts under it again begins an empty space. Reads begun before go on; writes under way to the space reject
   * with VARVE_CONFLICT. Durable as put.
   */
  drop(name: string, options?: { signal?: AbortSignal }): Promise<boolean>;
}

/** The spaces of an open store. */
export function spacesOf(store: Store, ranges: RangeDeletes): SpaceList {
  function list(): string[];
  function list(options: { policies: boolean }): SpaceInfo[];
  function list(options: { policies?: boolean } = {}): string[] | SpaceInfo[] {
    store.assertReadable();
    checkNames(options, ['policies'], 'option');
    checkFlags(options, ['policies']);
    const { spaces } = store.parts;
    const names = spaces.names();
    return options.policies === true ? names.map((name) => spaceInfo(store, spaces.numberOf(name))) : names;
  }
  return { list, drop: (name, options) => store.run(() => ranges.drop(name, options)) };
}
