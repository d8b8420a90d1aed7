/** What of a vault a backup may use again, and how the index of that is kept small. */
import { isVarveError, type VarveError } from '../base/errors.ts';
import { vaultIndexEntriesMax } from '../format/vault-index.ts';
import { indexName } from '../format/vault-names.ts';
import { entriesAtMost } from './index-object.ts';
import { dropGone, mergeIndexes } from './index-write.ts';
import { Marker } from './marker.ts';
import type { Snap } from './snaps.ts';
import type { Slices } from './throttle.ts';
import { steadily } from './vault-index.ts';
import { VaultReader } from './vault-reader.ts';
import type { VaultEnv, VaultState } from './vault-state.ts';

/** More index objects that have room for others than this are merged. */
const indexesMax = 16;

/** The state with the chunks that a backup reaches alone; with none without one. */
export async function reachedState(
  env: VaultEnv,
  state: VaultState,
  base: Snap | undefined,
  slices: Slices,
): Promise<VaultState> {
  if (base === undefined) return { ...state, index: state.index.emptied() };
  const index = await steadily(async () => {
    const marker = new Marker(new VaultReader(env, state), slices);
    await marker.mark(base.manifest);
    return state.index.restrictedTo(marker.marked);
  });
  return { ...state, index };
}

/**
 * Few index objects: many small ones become one. A failure costs nothing, is returned, and is made good by
 * the next run.
 */
export async function tidyIndexes(
  env: VaultEnv,
  { indexes, superseded }: VaultState,
): Promise<VarveError | undefined> {
  try {
    for (const hash of superseded) await env.store.delete(indexName(hash));
    // Large ones gain nothing by being merged.
    const small = indexes.filter((index) => entriesAtMost(index) <= vaultIndexEntriesMax / 2);
    if (small.length <= indexesMax) return undefined;
    const smallest = small.sort((a, b) => a.size - b.size).slice(0, small.length - indexesMax / 2);
    await dropGone(env, await mergeIndexes(env, smallest, new Set()));
  } catch (error) {
    if (!isVarveError(error)) throw error;
    return error;
  }
  return undefined;
}
