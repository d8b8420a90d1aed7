/**
 * What a vault holds at one moment: its packs, its index objects and, from those, where each chunk lies.
 *
 * Order matters: markers of packs to delete are listed first, packs and index objects after them. A pack that
 * is marked later is still marked when somebody looks again. A pack that an index object names was put before
 * it: where none is listed then, it is gone for good, and whoever put that object, or took the pack away,
 * sees to it that no index object names it (`dropGone`).
 */

import type { Clock } from '../base/clock.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import {
  indexHashOf,
  indexPrefix,
  packHashOf,
  packName,
  packPrefix,
  pendingHashOf,
  pendingPrefix,
} from '../format/vault-names.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import type { BlobStore } from './blob-store.ts';
import { entriesAtMost, type IndexBounds, IndexObject, IndexPages } from './index-object.ts';
import { checkPack } from './pack-check.ts';
import { readPackEnds } from './pack-reader.ts';
import { type IndexSource, VaultIndex } from './vault-index.ts';

/** What everything about a vault needs. */
export interface VaultEnv {
  readonly store: BlobStore;
  /** 16 bytes. */
  readonly vaultId: Uint8Array;
  readonly clock: Clock;
  /** Random bytes. */
  readonly random: (bytes: number) => Uint8Array;
  /** Makes threads to hash on, for one call; none where the entry point has none to offer. */
  readonly threads?: (() => VaultThreads | undefined) | undefined;
  /** Test-only bounds. */
  readonly bounds?: VaultBounds | undefined;
}

/** Smaller in tests. */
export interface VaultBounds extends IndexBounds {
  /** Chunks of a run that are kept in memory before they go to an index object. */
  readonly ownRows?: number;
  /** A pack is full from this size on; of those that a prune writes. */
  readonly packBytes?: number;
}

/** Threads of one call, none of which is started before there is work for it. */
export interface VaultThreads extends HashThreads {
  /** Ends them. */
  close(): Promise<void>;
}

/** A pack that exists. */
export interface PackState {
  hash: string;
  size: number;
  frames: number;
  readonly pending: boolean;
  /** An index object names it. */
  indexed: boolean;
}

/** An index object, and the packs it names. */
export interface IndexState {
  readonly hash: string;
  readonly size: number;
  readonly packs: readonly string[];
}

export interface VaultState {
  readonly packs: PackState[];
  readonly byHash: ReadonlyMap<string, number>;
  /** Chunks of packs that may be used; `pack` numbers `packs`. */
  readonly index: VaultIndex;
  /** Index objects that count, and those that another one stands for. */
  readonly indexes: IndexState[];
  readonly superseded: readonly string[];
  readonly pending: ReadonlySet<string>;
  /** Packs that index objects name and that are not there. */
  readonly missing: readonly string[];
  /** Index objects that cannot be read. */
  readonly damage: readonly VarveError[];
  /** Index objects that are open, to be used again by the next load. */
  readonly open: OpenIndexes;
}

/** Which packs' chunks are found. */
export type PackChoice = (pack: PackState) => boolean;

export const everyPack: PackChoice = () => true;
export const lastingPacks: PackChoice = ({ pending }) => !pending;

/** Loads again when index objects go away meanwhile, as often as this. */
const triesMax = 10;

/**
 * VARVE_IO and the like from the target; index objects that are damaged are listed. `before`: an earlier
 * state of the same call, whose index objects are not read again.
 */
export async function loadVault(
  env: VaultEnv,
  choose: PackChoice,
  before?: Pick<VaultState, 'open'>,
): Promise<VaultState> {
  const open = before?.open ?? new OpenIndexes(env);
  for (let tries = 1; ; tries++) {
    const state = await tryLoad(env, choose, open);
    if (state !== undefined) return state;
    if (tries === triesMax)
      throw new VarveError('VARVE_CONFLICT', 'the index of the vault keeps changing; try again');
  }
}

/** Hashes of the packs that chunks which are found may lie in. */
export function packsIn({ packs, index }: VaultState): Set<string> {
  const numbers = new Set<number>();
  for (const { numbers: some } of index.sources) for (const number of some) numbers.add(number);
  for (let row = 0; row < index.own.count; row++) numbers.add(index.own.pack[row]!);
  numbers.delete(-1);
  return new Set(Array.from(numbers, (number) => packs[number]!.hash));
}

/** Index objects that are open, by hash, and the memory they share. */
export class OpenIndexes {
  readonly #env: VaultEnv;
  readonly #pages: IndexPages;
  #objects = new Map<string, IndexObject>();

  constructor(env: VaultEnv) {
    this.#env = env;
    this.#pages = new IndexPages(env.store, env.bounds);
  }

  /**
   * Opens what is listed now. Objects that cannot be read are in `damage`; undefined when one that was listed
   * is gone: another one stands for it.
   */
  async look(): Promise<{ objects: IndexObject[]; damage: VarveError[] } | undefined> {
    const { store, vaultId } = this.#env;
    const listed: { hash: string; size: number }[] = [];
    for await (const { name, size } of store.list(indexPrefix)) {
      const hash = indexHashOf(name);
      if (hash !== undefined) listed.push({ hash, size });
    }
    const total = listed.reduce((sum, one) => sum + entriesAtMost(one), 0);
    const objects = new Map<string, IndexObject>();
    const damage: VarveError[] = [];
    for (const one of listed) {
      const known = this.#objects.get(one.hash);
      try {
        const isSame = known !== undefined && known.size === one.size;
        objects.set(one.hash, isSame ? known : await IndexObject.open(this.#pages, one, vaultId, total));
      } catch (error) {
        if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
        if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) throw error;
        damage.push(error);
      }
    }
    this.#objects = objects;
    return { objects: [...objects.values()], damage };
  }

  /** Opens one object. VARVE_NOT_FOUND, VARVE_CORRUPT, VARVE_FORMAT_VERSION. */
  async open(index: IndexState): Promise<IndexObject> {
    const object = await IndexObject.open(this.#pages, index, this.#env.vaultId);
    this.#objects.set(index.hash, object);
    return object;
  }
}

/** Hashes of objects that another one stands for. */
function supersededBy(objects: readonly IndexObject[]): Set<string> {
  return new Set(objects.flatMap(({ superseded }) => superseded));
}

/** Undefined when an index object that was listed is gone: another one stands for it. */
async function tryLoad(
  { store }: VaultEnv,
  choose: PackChoice,
  open: OpenIndexes,
): Promise<VaultState | undefined> {
  const pending = new Set<string>();
  for await (const { name } of store.list(pendingPrefix)) {
    const hash = pendingHashOf(name);
    if (hash !== undefined) pending.add(hash);
  }
  const packs: PackState[] = [];
  const byHash = new Map<string, number>();
  const listPacks = async (wanted?: ReadonlySet<string>): Promise<void> => {
    for await (const { name, size } of store.list(packPrefix)) {
      const hash = packHashOf(name);
      if (hash === undefined || wanted?.has(hash) === false) continue;
      byHash.set(hash, packs.length);
      packs.push({ hash, size, frames: 0, pending: pending.has(hash), indexed: false });
    }
  };
  await listPacks();
  const looked = await open.look();
  if (looked === undefined) return undefined;
  const { objects, damage } = looked;
  const superseded = supersededBy(objects);
  const counting = objects.filter(({ hash }) => !superseded.has(hash));
  const indexes = counting.map(({ hash, size, packs: named }) => {
    return { hash, size, packs: named.map((pack) => pack.hash) };
  });
  // A pack may have been put, and named, since packs were listed.
  const unseen = new Set(indexes.flatMap((index) => index.packs.filter((hash) => !byHash.has(hash))));
  if (unseen.size > 0) await listPacks(unseen);
  const missing = new Set<string>();
  const sourceOf = (object: IndexObject): IndexSource => {
    return { object, numbers: numbersIn(object, packs, byHash, choose, missing) };
  };
  const index = new VaultIndex(counting.map(sourceOf), {
    isPending: (pack) => packs[pack]?.pending === true,
    refresh: async (known) => {
      const now = await open.look();
      if (now === undefined) return known;
      const isOld = supersededBy(now.objects);
      const count = now.objects.filter(({ hash }) => !isOld.has(hash));
      return count.map((object) => known.find((one) => one.object === object) ?? sourceOf(object));
    },
  });
  const gone = objects.filter(({ hash }) => superseded.has(hash)).map(({ hash }) => hash);
  const rest = { indexes, superseded: gone, pending, missing: [...missing], damage, open };
  return { packs, byHash, index, ...rest };
}

/** Which pack of the state each pack of an object is; those that are not to be used are -1. */
function numbersIn(
  object: IndexObject,
  packs: readonly PackState[],
  byHash: ReadonlyMap<string, number>,
  choose: PackChoice,
  missing: Set<string>,
): Int32Array {
  return Int32Array.from(object.packs, ({ hash, size, frames }) => {
    const number = byHash.get(hash);
    const pack = number === undefined ? undefined : packs[number]!;
    // A pack of another length than was put counts as missing: nothing in it is relied on.
    if (pack === undefined || pack.size !== size) {
      missing.add(hash);
      return -1;
    }
    pack.indexed = true;
    pack.frames = frames;
    return choose(pack) ? number! : -1;
  });
}

/**
 * Takes in packs that no index object names, as interrupted runs and lost index objects leave them, from
 * their trailers. With `prove` every byte is read first: nobody has said yet that they are whole. Those that
 * cannot be read are left alone. Returns the numbers of the packs taken in.
 */
export async function adoptOrphans(
  env: VaultEnv,
  state: VaultState,
  choose: PackChoice,
  prove = false,
): Promise<number[]> {
  const adopted: number[] = [];
  for (const [number, pack] of state.packs.entries()) {
    if (pack.indexed || !choose(pack)) continue;
    try {
      if (prove) {
        const bytes = await env.store.get(packName(pack.hash), pack.size);
        const { faults } = await checkPack(bytes, pack.hash, env.vaultId, { named: true });
        if (faults.length > 0) continue;
      }
      const { trailer } = await readPackEnds(env.store, pack.hash, pack.size, env.vaultId);
      const { ids, off8, storedLen, rawLen, kind, codec } = trailer;
      for (let i = 0; i < trailer.count; i++) {
        const at = i * chunkIdBytes;
        state.index.own.add(ids, at, number, off8[i]!, storedLen[i]!, rawLen[i]!, kind[i]!, codec[i]!);
      }
      pack.frames = trailer.count;
      pack.indexed = true;
      adopted.push(number);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_NOT_FOUND', 'VARVE_FORMAT_VERSION')) throw error;
    }
  }
  return adopted;
}
