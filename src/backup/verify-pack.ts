/** What a verify does with one pack: what lies in it, held against what the index says. */
import { toHex } from '../base/bytes.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import { chunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { packName } from '../format/vault-names.ts';
import { checkPack, type PackCheckOptions } from './pack-check.ts';
import { readPackTrailer } from './pack-reader.ts';
import type { VaultEnv, VaultState } from './vault-state.ts';

/** What is known of a pack before it is read. */
export interface KnownOfPack {
  /** Chunks that the index has in it. */
  readonly indexed: number;
  /** No index object names it. */
  readonly isOrphan: boolean;
}

/** Damage with the ids of the chunks it concerns, in hex. */
export interface PackDamage {
  readonly error: VarveError;
  readonly ids: readonly string[];
}

/** Header, footer and trailer of pack `number`, and that the index says the same. VARVE_CORRUPT. */
export async function checkPackTrailer(
  env: VaultEnv,
  { packs, table }: VaultState,
  number: number,
  isOrphan: boolean,
): Promise<void> {
  const { hash, size } = packs[number]!;
  const trailer = await readPackTrailer(env.store, hash, size, env.vaultId);
  if (isOrphan) return;
  for (let i = 0; i < trailer.count; i++) {
    const row = table.find(trailer.ids, i * chunkIdBytes);
    const same = row >= 0 && (table.pack[row] !== number || table.off8[row] === trailer.off8[i]);
    if (!same) throw corrupt('trailer and index of a pack differ', { file: packName(hash) });
  }
}

/**
 * Every byte of pack `number`, and that each chunk the index has there is. A pack that is whole and belongs
 * to another name is found by the second; one without an index is held against its name instead.
 */
export async function checkPackWhole(
  env: VaultEnv,
  state: VaultState,
  number: number,
  { indexed, isOrphan }: KnownOfPack,
  options: Omit<PackCheckOptions, 'named'>,
): Promise<PackDamage[]> {
  const { table } = state;
  const { hash, size } = state.packs[number]!;
  const bytes = await env.store.get(packName(hash), size);
  const { faults, whole } = await checkPack(bytes, hash, env.vaultId, { ...options, named: isOrphan });
  // Frames behind damage that hides where they begin are not to be had either.
  const lost = (): string[] => {
    const had = new Set(whole.map((at) => toHex(bytes.subarray(at, at + chunkIdBytes))));
    return idsOf(state, number).filter((id) => !had.has(id));
  };
  if (faults.length > 0)
    return faults.map(({ error, ids }) => ({ error, ids: ids.length > 0 ? ids.map(toHex) : lost() }));
  let met = 0;
  for (const idAt of whole) {
    const row = table.find(bytes, idAt);
    if (row < 0 || table.pack[row] !== number) continue;
    if (table.off8[row] === (idAt - chunkFrame.at.chunkId) / 8) met++;
  }
  if (met === indexed) return [];
  return [{ error: corrupt('pack and index differ', { file: packName(hash), offset: 0 }), ids: lost() }];
}

/** How many chunks of the table lie in each pack. */
export function indexedFrames({ packs, table }: VaultState): Uint32Array {
  const counts = new Uint32Array(packs.length);
  for (let row = 0; row < table.count; row++) counts[table.pack[row]!]!++;
  return counts;
}

/** Ids of the chunks that the index has in a pack, in hex. */
export function idsOf({ table }: VaultState, number: number): string[] {
  const ids: string[] = [];
  for (let row = 0; row < table.count; row++)
    if (table.pack[row] === number) ids.push(toHex(table.idOf(row)));
  return ids;
}
