/** What a verify does with one pack: what lies in it, held against what the index says. */
import { toHex } from '../base/bytes.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import { chunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import type { Trailer } from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { readRange } from './blob-store.ts';
import { checkPack, type PackCheckOptions } from './pack-check.ts';
import { PackDigest, type PackDigests } from './pack-digests.ts';
import { readPackEnds } from './pack-reader.ts';
import { steadily, type VaultIndex } from './vault-index.ts';
import type { VaultEnv, VaultState } from './vault-state.ts';

/** What is known of a pack before it is read. */
export interface KnownOfPack {
  /** What the index has in it. */
  readonly digests: PackDigests;
  /** No index object names it. */
  readonly isOrphan: boolean;
}

/** Damage with the ids of the chunks it concerns, in hex. */
export interface PackDamage {
  readonly error: VarveError;
  readonly ids: readonly string[];
}

/** Memory for one pack at a time, made when the first is wanted, used again and again. */
export class PackMemory {
  #bytes = new Uint8Array(0);

  /** `size` bytes with any content. */
  of(size: number): Uint8Array {
    if (size > this.#bytes.length) this.#bytes = new Uint8Array(size);
    return this.#bytes.subarray(0, size);
  }
}

/** Header, footer and trailer of pack `number`, and that the index says the same. VARVE_CORRUPT. */
export async function checkPackTrailer(
  env: VaultEnv,
  { packs, index }: VaultState,
  number: number,
  { digests, isOrphan }: KnownOfPack,
): Promise<void> {
  const { hash, size } = packs[number]!;
  const { trailer } = await readPackEnds(env.store, hash, size, env.vaultId);
  if (isOrphan || digests.agrees(number, digestOf(trailer))) return;
  const { ids, off8 } = trailer;
  const there = new Map<string, number>();
  for (let i = 0; i < trailer.count; i++)
    there.set(toHex(ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes)), off8[i]!);
  const lost = await lostOf(index, number, there);
  if (lost.length > 0) throw corrupt('trailer and index of a pack differ', { file: packName(hash) });
}

/** The frames of a pack, as the index would have them. */
function digestOf({ count, ids, off8, storedLen, rawLen, kind, codec }: Trailer): PackDigest {
  const digest = new PackDigest();
  for (let i = 0; i < count; i++) {
    const entry = {
      off8: off8[i]!,
      storedLen: storedLen[i]!,
      rawLen: rawLen[i]!,
      kind: kind[i]!,
      codec: codec[i]!,
    };
    digest.add(ids, i * chunkIdBytes, entry);
  }
  return digest;
}

/** True when the index says the same of pack `number` as its trailer, which is proved. */
export function agreesWithIndex(number: number, trailer: Trailer, { digests }: KnownOfPack): boolean {
  return digests.agrees(number, digestOf(trailer));
}

/**
 * Every byte of pack `number`, and that each chunk the index has there is: what is wrong with it. A pack that
 * is whole and belongs to another name is found by the second; one without an index is held against its name
 * instead.
 */
export async function checkPackWhole(
  env: VaultEnv,
  { packs, index }: VaultState,
  number: number,
  { digests, isOrphan }: KnownOfPack,
  options: Omit<PackCheckOptions, 'named'> & { readonly memory?: PackMemory },
): Promise<PackDamage[]> {
  const { hash, size } = packs[number]!;
  const memory = options.memory?.of(size) ?? new Uint8Array(size);
  const bytes = await readRange(env.store, packName(hash), 0, memory);
  if (bytes.length !== size) throw corrupt('pack is cut off', { file: packName(hash) }, size, bytes.length);
  const { faults, whole } = await checkPack(bytes, hash, env.vaultId, { ...options, named: isOrphan });
  const { chunkId } = chunkFrame.at;
  // Frames behind damage that hides where they begin are not to be had either.
  const lost = async (): Promise<string[]> => {
    const had = whole.map(
      (at) => [toHex(bytes.subarray(at, at + chunkIdBytes)), (at - chunkId) / 8] as const,
    );
    return await lostOf(index, number, new Map(had));
  };
  if (faults.length > 0) {
    const damage: PackDamage[] = [];
    for (const { error, ids } of faults)
      damage.push({ error, ids: ids.length > 0 ? ids.map(toHex) : await lost() });
    return damage;
  }
  const digest = new PackDigest();
  for (const idAt of whole) digest.addFrame(bytes, idAt - chunkId);
  if (digests.agrees(number, digest)) return [];
  const ids = await lost();
  if (ids.length === 0) return [];
  return [{ error: corrupt('pack and index differ', { file: packName(hash), offset: 0 }), ids }];
}

/** Ids of the chunks that the index has in a pack, in hex. */
export async function idsOf({ index }: VaultState, number: number): Promise<string[]> {
  return await lostOf(index, number, new Map());
}

/** Ids that the index has in a pack and that are not `there`, by id and place. */
async function lostOf(
  index: VaultIndex,
  number: number,
  there: ReadonlyMap<string, number>,
): Promise<string[]> {
  return await steadily(async () => {
    const lost = new Set<string>();
    await index.each((hit, ids, at) => {
      if (hit.pack !== number) return;
      const id = toHex(ids.subarray(at, at + chunkIdBytes));
      if (there.get(id) !== hit.off8) lost.add(id);
    });
    return [...lost];
  });
}
