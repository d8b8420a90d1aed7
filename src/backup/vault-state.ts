/**
 * What a vault holds at one moment: its packs, its index objects and, from those, where each chunk lies.
 *
 * Order matters: markers of packs to delete are listed first, packs and index objects after them. A pack that
 * is marked later is still marked when somebody looks again. A pack that an index object names was put before
 * it: where none is listed then, it is gone for good, and whoever put that object, or took the pack away,
 * sees to it that no index object names it (`dropGone`).
 */

import { fromHex } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import {
  decodeVaultIndex,
  encodeVaultIndex,
  type VaultIndexObject,
  vaultIndexBytesMax,
  vaultIndexEntriesMax,
  vaultIndexEntry,
} from '../format/vault-index.ts';
import {
  indexHashOf,
  indexName,
  indexPrefix,
  packHashOf,
  packName,
  packPrefix,
  pendingHashOf,
  pendingPrefix,
} from '../format/vault-names.ts';
import { sha256Hex } from '../kernels/hash/sha256.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import type { BlobStore } from './blob-store.ts';
import { ChunkTable, IndexRows } from './chunk-table.ts';
import { checkPack } from './pack-check.ts';
import { readPackTrailer } from './pack-reader.ts';

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
  readonly table: ChunkTable;
  /** Further copies of chunks in the table. */
  readonly copies: IndexRows;
  /** Index objects that count, and those that another one stands for. */
  readonly indexes: IndexState[];
  readonly superseded: readonly string[];
  readonly pending: ReadonlySet<string>;
  /** Packs that index objects name and that are not there. */
  readonly missing: readonly string[];
  /** Index objects that cannot be read. */
  readonly damage: readonly VarveError[];
}

/** Which packs' chunks go into the table. */
export type PackChoice = (pack: PackState) => boolean;

export const everyPack: PackChoice = () => true;
export const lastingPacks: PackChoice = ({ pending }) => !pending;

/** Loads again when index objects go away meanwhile, as often as this. */
const triesMax = 10;

/** VARVE_IO and the like from the target; index objects that are damaged are listed. */
export async function loadVault(env: VaultEnv, choose: PackChoice): Promise<VaultState> {
  for (let tries = 1; ; tries++) {
    const state = await tryLoad(env, choose);
    if (state !== undefined) return state;
    if (tries === triesMax)
      throw new VarveError('VARVE_CONFLICT', 'the index of the vault keeps changing; try again');
  }
}

/** Hashes of the packs that chunks of the table lie in. */
export function packsIn({ packs, table }: VaultState): Set<string> {
  const numbers = new Set<number>();
  for (let row = 0; row < table.count; row++) numbers.add(table.pack[row]!);
  return new Set(Array.from(numbers, (number) => packs[number]!.hash));
}

/** Undefined when an index object that was listed is gone: another one stands for it. */
async function tryLoad({ store, vaultId }: VaultEnv, choose: PackChoice): Promise<VaultState | undefined> {
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
  const objects = new Map<string, VaultIndexObject & { size: number }>();
  const damage: VarveError[] = [];
  const listed: string[] = [];
  for await (const { name } of store.list(indexPrefix)) {
    const hash = indexHashOf(name);
    if (hash !== undefined) listed.push(hash);
  }
  for (const hash of listed) {
    try {
      const bytes = await store.get(indexName(hash), vaultIndexBytesMax);
      objects.set(hash, { ...decodeVaultIndex(bytes, indexName(hash), vaultId), size: bytes.length });
    } catch (error) {
      if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) throw error;
      damage.push(error);
    }
  }
  const superseded = new Set([...objects.values()].flatMap((object) => object.superseded));
  const table = new ChunkTable();
  const copies = new IndexRows();
  const missing = new Set<string>();
  const indexes: IndexState[] = [];
  for (const [hash, object] of objects) {
    if (superseded.has(hash)) continue;
    indexes.push({ hash, size: object.size, packs: object.packs.map((pack) => pack.hash) });
  }
  // A pack may have been put, and named, since packs were listed.
  const unseen = new Set(indexes.flatMap((index) => index.packs.filter((hash) => !byHash.has(hash))));
  if (unseen.size > 0) await listPacks(unseen);
  for (const [hash, object] of objects) {
    if (superseded.has(hash)) continue;
    // Of two copies the one that is to stay counts.
    addObject(object, packs, byHash, (pack) => choose(pack) && !pack.pending, { table, copies }, missing);
  }
  for (const [hash, object] of objects) {
    if (pending.size === 0 || superseded.has(hash)) continue;
    addObject(object, packs, byHash, (pack) => choose(pack) && pack.pending, { table, copies }, missing);
  }
  const gone = [...superseded].filter((hash) => objects.has(hash));
  return { packs, byHash, table, copies, indexes, superseded: gone, pending, missing: [...missing], damage };
}

function addObject(
  object: VaultIndexObject,
  packs: PackState[],
  byHash: ReadonlyMap<string, number>,
  choose: PackChoice,
  { table, copies }: { table: ChunkTable; copies: IndexRows },
  missing: Set<string>,
): void {
  const numbers = object.packs.map(({ hash, size, frames }) => {
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
  visitEntries(object, (at, pack, off8, storedLen, rawLen, kind, codec) => {
    const number = numbers[pack]!;
    if (number < 0) return;
    const { bytes } = object;
    if (table.add(bytes, at, number, off8, storedLen, rawLen, kind, codec) < 0)
      copies.append(bytes, at, number, off8, storedLen, rawLen, kind, codec);
  });
}

type EntryVisitor = (
  idAt: number,
  pack: number,
  off8: number,
  storedLen: number,
  rawLen: number,
  kind: number,
  codec: number,
) => void;

function visitEntries({ bytes, entriesFrom, count }: VaultIndexObject, visit: EntryVisitor): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const { at } = vaultIndexEntry;
  for (let i = 0; i < count; i++) {
    const pos = entriesFrom + i * vaultIndexEntry.size;
    visit(
      pos,
      view.getUint32(pos + at.pack, true),
      view.getUint32(pos + at.off8, true),
      view.getUint32(pos + at.storedLen, true),
      view.getUint32(pos + at.rawLen, true),
      bytes[pos + at.kind]!,
      bytes[pos + at.codec]!,
    );
  }
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
      const trailer = await readPackTrailer(env.store, pack.hash, pack.size, env.vaultId);
      const { ids, off8, storedLen, rawLen, kind, codec } = trailer;
      for (let i = 0; i < trailer.count; i++) {
        const at = i * chunkIdBytes;
        state.table.add(ids, at, number, off8[i]!, storedLen[i]!, rawLen[i]!, kind[i]!, codec[i]!);
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

/**
 * Writes index objects for the rows of `rows` that `packs` (by number in `state`) hold. `superseded`: hashes
 * of objects they stand for, which the caller deletes afterwards. Resolves with them once they are durable.
 */
export async function writeIndexes(
  env: VaultEnv,
  packStates: readonly PackState[],
  rows: IndexRows,
  packs: ReadonlySet<number>,
  superseded: readonly string[] = [],
): Promise<IndexState[]> {
  const wanted: number[] = [];
  for (let row = 0; row < rows.count; row++) if (packs.has(rows.pack[row]!)) wanted.push(row);
  const written: IndexState[] = [];
  const list = [...packs].sort((a, b) => a - b);
  for (let from = 0; from === 0 || from < wanted.length; from += vaultIndexEntriesMax) {
    const part = wanted.slice(from, from + vaultIndexEntriesMax);
    // In the object packs are numbered by their place in its own list.
    const own = new IndexRows();
    const numbers = new Map(list.map((number, i) => [number, i]));
    for (const row of part) {
      const pack = numbers.get(rows.pack[row]!)!;
      const { off8, storedLen, rawLen, kind, codec } = rows;
      own.append(rows.idOf(row), 0, pack, off8[row]!, storedLen[row]!, rawLen[row]!, kind[row]!, codec[row]!);
    }
    const sorted = own.sort(Uint32Array.from({ length: own.count }, (_, i) => i));
    // Objects that are merged may tell of one frame twice.
    const order = sorted.filter((row, i) => i === 0 || own.compare(sorted[i - 1]!, row) !== 0);
    const records = list.map((number) => {
      const { hash, size, frames } = packStates[number]!;
      return { name: fromHex(hash), size, frames };
    });
    const last = from + vaultIndexEntriesMax >= wanted.length;
    const names = last ? superseded.map(fromHex) : [];
    const bytes = encodeVaultIndex(env.vaultId, env.random(12), records, names, own, order);
    const hash = sha256Hex(bytes);
    await env.store.put(indexName(hash), bytes);
    written.push({ hash, size: bytes.length, packs: list.map((number) => packStates[number]!.hash) });
  }
  return written;
}

/**
 * Puts one index object in the place of several, without the packs in `dropped`, then deletes those. Readers
 * find every chunk all the time. Resolves with what was put.
 */
export async function mergeIndexes(
  env: VaultEnv,
  hashes: readonly string[],
  dropped: ReadonlySet<string>,
): Promise<IndexState[]> {
  const rows = new IndexRows();
  const packs: PackState[] = [];
  const byHash = new Map<string, number>();
  const done: string[] = [];
  for (const hash of hashes) {
    const bytes = await env.store.get(indexName(hash), vaultIndexBytesMax).catch((error: unknown) => {
      if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
      throw error;
    });
    if (bytes === undefined) continue;
    const object = decodeVaultIndex(bytes, indexName(hash), env.vaultId);
    const numbers = object.packs.map((pack) => {
      if (dropped.has(pack.hash)) return -1;
      const known = byHash.get(pack.hash) ?? packs.length;
      if (known === packs.length) packs.push({ ...pack, pending: false, indexed: true });
      byHash.set(pack.hash, known);
      return known;
    });
    visitEntries(object, (at, pack, off8, storedLen, rawLen, kind, codec) => {
      const number = numbers[pack]!;
      if (number < 0) return;
      rows.append(object.bytes, at, number, off8, storedLen, rawLen, kind, codec);
    });
    done.push(hash);
  }
  if (done.length === 0) return [];
  const all = new Set(packs.keys());
  const written = await writeIndexes(env, packs, rows, all, done);
  const kept = new Set(written.map(({ hash }) => hash));
  for (const hash of done) if (!kept.has(hash)) await env.store.delete(indexName(hash));
  return written;
}

/**
 * Takes packs that are gone out of index objects which the caller has put: a prune that did not see those
 * may have deleted packs they name. The prune looks again behind its deletions, so one of the two sees it.
 */
export async function dropGone(env: VaultEnv, put: readonly IndexState[]): Promise<void> {
  for (let rest = put; rest.length > 0; ) {
    const there = new Set<string>();
    for await (const { name } of env.store.list(packPrefix)) there.add(packHashOf(name) ?? '');
    const gone = new Set(rest.flatMap(({ packs }) => packs.filter((hash) => !there.has(hash))));
    const stale = rest.filter(({ packs }) => packs.some((hash) => gone.has(hash)));
    rest = await mergeIndexes(env, hashesOf(stale), gone);
  }
}

/** Index objects that are there, but for those in `known` (hashes) and those that cannot be read. */
export async function listIndexes(
  { store, vaultId }: VaultEnv,
  known: ReadonlySet<string>,
): Promise<IndexState[]> {
  const listed: string[] = [];
  for await (const { name } of store.list(indexPrefix)) {
    const hash = indexHashOf(name);
    if (hash !== undefined && !known.has(hash)) listed.push(hash);
  }
  const indexes: IndexState[] = [];
  for (const hash of listed) {
    try {
      const bytes = await store.get(indexName(hash), vaultIndexBytesMax);
      const { packs } = decodeVaultIndex(bytes, indexName(hash), vaultId);
      indexes.push({ hash, size: bytes.length, packs: packs.map((pack) => pack.hash) });
    } catch (error) {
      // What is not there has been merged by its run, which looks for packs that are gone behind that.
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION', 'VARVE_NOT_FOUND')) throw error;
    }
  }
  return indexes;
}

/** What the index objects are named by. */
export function hashesOf(indexes: readonly IndexState[]): string[] {
  return indexes.map(({ hash }) => hash);
}
