/** What of a vault a backup may use again, and how the index of that is kept small. */
import { isVarveError, type VarveError } from '../base/errors.ts';
import { indexName } from '../format/vault-names.ts';
import { ChunkTable } from './chunk-table.ts';
import { Marker } from './marker.ts';
import type { Snap } from './snaps.ts';
import type { Slices } from './throttle.ts';
import { VaultReader } from './vault-reader.ts';
import { dropGone, hashesOf, mergeIndexes, type VaultEnv, type VaultState } from './vault-state.ts';

/** More index objects than this are merged. */
const indexesMax = 16;

/** The chunks of `state` that a backup reaches; none without one. */
export async function reachedBy(
  env: VaultEnv,
  state: VaultState,
  base: Snap | undefined,
  slices: Slices,
): Promise<ChunkTable> {
  const own = new ChunkTable();
  if (base === undefined) return own;
  const { table } = state;
  const marker = new Marker(new VaultReader(env, state.packs, table), slices);
  await marker.mark(base.manifest);
  const { pack, off8, storedLen, rawLen, kind, codec } = table;
  for (let row = 0; row < table.count; row++) {
    if (!marker.marked.has(row)) continue;
    const id = table.idOf(row);
    own.add(id, 0, pack[row]!, off8[row]!, storedLen[row]!, rawLen[row]!, kind[row]!, codec[row]!);
  }
  return own;
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
    if (indexes.length <= indexesMax) return undefined;
    const small = [...indexes].sort((a, b) => a.size - b.size).slice(0, indexes.length - indexesMax / 2);
    await dropGone(env, await mergeIndexes(env, hashesOf(small), new Set()));
  } catch (error) {
    if (!isVarveError(error)) throw error;
    return error;
  }
  return undefined;
}
