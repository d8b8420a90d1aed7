/**
 * Index objects as they are written and merged.
 *
 * Memory: a merge holds one object of `vaultIndexEntriesMax` entries, 56 MiB, and a piece of each that goes
 * into it.
 */
import { compareRange, fromHex, u32le } from '../base/bytes.ts';
import { isVarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import {
  decodeVaultIndex,
  encodeVaultIndex,
  type IndexPackRecord,
  VaultIndexBuilder,
  vaultIndexBytesMax,
  vaultIndexEntriesMax,
  vaultIndexEntry,
} from '../format/vault-index.ts';
import { indexHashOf, indexName, indexPrefix, packHashOf, packPrefix } from '../format/vault-names.ts';
import { sha256Hex } from '../kernels/hash/sha256.ts';
import { IndexRows } from './chunk-table.ts';
import { entriesAtMost, IndexObject, IndexPages } from './index-object.ts';
import type { IndexState, PackState, VaultEnv } from './vault-state.ts';

/**
 * Writes index objects for the rows of `rows` that `packs` (by number in `packStates`) hold. Resolves with
 * them once they are durable.
 */
export async function writeIndexes(
  env: VaultEnv,
  packStates: readonly PackState[],
  rows: IndexRows,
  packs: ReadonlySet<number>,
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
    const order = own.sort(Uint32Array.from({ length: own.count }, (_, i) => i));
    const records = list.map((number) => {
      const { hash, size, frames } = packStates[number]!;
      return { name: fromHex(hash), size, frames };
    });
    const bytes = encodeVaultIndex(env.vaultId, env.random(12), records, [], own, order);
    written.push(
      await putIndex(
        env,
        bytes,
        list.map((number) => packStates[number]!.hash),
      ),
    );
  }
  return written;
}

async function putIndex(env: VaultEnv, bytes: Uint8Array, packs: readonly string[]): Promise<IndexState> {
  const hash = sha256Hex(bytes);
  await env.store.put(indexName(hash), bytes);
  return { hash, size: bytes.length, packs };
}

/**
 * Puts index objects in the place of others, without the packs in `dropped`, then deletes those: as few as
 * hold the entries. Readers find every chunk all the time. Resolves with what was put.
 */
export async function mergeIndexes(
  env: VaultEnv,
  indexes: readonly IndexState[],
  dropped: ReadonlySet<string>,
): Promise<IndexState[]> {
  const written: IndexState[] = [];
  for (const group of groupsOf(indexes)) {
    const merged = await mergeGroup(env, group, dropped);
    if (merged !== undefined) written.push(merged);
  }
  return written;
}

/** Objects that together have no more entries than one may have. */
function groupsOf(indexes: readonly IndexState[]): IndexState[][] {
  const groups: IndexState[][] = [];
  let entries = Number.POSITIVE_INFINITY;
  for (const index of [...indexes].sort((a, b) => a.size - b.size)) {
    const own = entriesAtMost(index);
    if (entries + own > vaultIndexEntriesMax) {
      groups.push([]);
      entries = 0;
    }
    groups.at(-1)!.push(index);
    entries += own;
  }
  return groups;
}

async function mergeGroup(
  env: VaultEnv,
  group: readonly IndexState[],
  dropped: ReadonlySet<string>,
): Promise<IndexState | undefined> {
  const { store, vaultId, random } = env;
  const pages = new IndexPages(store, { cacheBytes: 0, filterBytes: 0 });
  const records: (IndexPackRecord & { hash: string })[] = [];
  const byHash = new Map<string, number>();
  const cursors: Cursor[] = [];
  const done: string[] = [];
  for (const index of group) {
    const object = await IndexObject.open(pages, index, vaultId).catch((error: unknown) => {
      if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
      throw error;
    });
    if (object === undefined) continue;
    const numbers = object.packs.map(({ hash, size, frames }) => {
      if (dropped.has(hash)) return -1;
      const known = byHash.get(hash) ?? records.length;
      if (known === records.length) records.push({ name: fromHex(hash), hash, size, frames });
      byHash.set(hash, known);
      return known;
    });
    cursors.push(new Cursor(object, numbers));
    done.push(index.hash);
  }
  if (done.length === 0) return undefined;
  const entries = cursors.reduce((sum, { object }) => sum + object.entries, 0);
  const builder = new VaultIndexBuilder(vaultId, random(12), records, done.map(fromHex), entries);
  await mergeCursors(cursors, builder);
  const merged = await putIndex(
    env,
    builder.finish(),
    records.map(({ hash }) => hash),
  );
  for (const hash of done) if (hash !== merged.hash) await store.delete(indexName(hash));
  return merged;
}

/** Entries of an object, one after another. */
class Cursor {
  readonly object: IndexObject;
  readonly #numbers: readonly number[];
  readonly #runs: AsyncGenerator<{ readonly bytes: Uint8Array }>;
  bytes: Uint8Array = new Uint8Array(0);
  pos = 0;
  /** In the list of the merged object. */
  pack = -1;

  constructor(object: IndexObject, numbers: readonly number[]) {
    this.object = object;
    this.#numbers = numbers;
    this.#runs = object.runs();
  }

  /** Stands on the next entry of a pack that stays; false at the end. A promise where bytes must be read. */
  next(): boolean | Promise<boolean> {
    for (this.pos += vaultIndexEntry.size; this.pos < this.bytes.length; this.pos += vaultIndexEntry.size) {
      this.pack = this.#numbers[packOf(this.bytes, this.pos)]!;
      if (this.pack >= 0) return true;
    }
    return this.#read();
  }

  async #read(): Promise<boolean> {
    const { value } = await this.#runs.next();
    if (value === undefined) return false;
    this.bytes = value.bytes;
    this.pos = -vaultIndexEntry.size;
    return await this.next();
  }
}

async function mergeCursors(all: readonly Cursor[], builder: VaultIndexBuilder): Promise<void> {
  const cursors: Cursor[] = [];
  for (const cursor of all) if (await cursor.next()) cursors.push(cursor);
  while (cursors.length > 0) {
    let least = 0;
    for (let i = 1; i < cursors.length; i++) if (isBefore(cursors[i]!, cursors[least]!)) least = i;
    const cursor = cursors[least]!;
    builder.addEntry(cursor.bytes, cursor.pos, cursor.pack);
    const more = cursor.next();
    if (!(typeof more === 'boolean' ? more : await more)) cursors.splice(least, 1);
  }
}

/** By id, then by pack. */
function isBefore(a: Cursor, b: Cursor): boolean {
  const order = compareRange(a.bytes, a.pos, a.pos + chunkIdBytes, b.bytes, b.pos, b.pos + chunkIdBytes);
  return order < 0 || (order === 0 && a.pack < b.pack);
}

function packOf(bytes: Uint8Array, pos: number): number {
  const at = pos + vaultIndexEntry.at.pack;
  return u32le(bytes, at);
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
    rest = await mergeIndexes(env, stale, gone);
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
