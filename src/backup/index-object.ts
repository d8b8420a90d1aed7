/**
 * An index object of a vault that is read in pages: its entries rise by digests, which are spread evenly, so
 * where an id lies is nearly known and one page as a rule tells.
 *
 * Memory: the list of its packs, and pages in a cache that all objects share (`IndexPages`).
 *
 * Invariants (test/backup/chunk-source.test.ts)
 * - Every entry of an id is found, whatever the ids ("every copy of an id is found in an object of any
 *   spread").
 */
import { compareRange, viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { StreamingChecksum } from '../codec/checksum.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { fileHeader } from '../format/file-header.ts';
import {
  checkVaultIndexEntries,
  decodeVaultIndexTables,
  type IndexedPack,
  vaultIndexEntriesFrom,
  vaultIndexEntry,
  vaultIndexFrontBytes,
} from '../format/vault-index.ts';
import { indexName } from '../format/vault-names.ts';
import type { BlobStore } from './blob-store.ts';

/** Entries of a page. */
const pageEntries: number = Math.floor((64 * KiB) / vaultIndexEntry.size);
const pageBytes: number = pageEntries * vaultIndexEntry.size;
/** Bytes of one read while an object is checked. */
const checkBytes: number = 16 * pageBytes;
const cacheBytesDefault: number = 32 * MiB;
const { at } = vaultIndexEntry;

/** Where a copy of a chunk lies. */
export interface ChunkPlace {
  /** The pack, 64 hex digits. */
  readonly hash: string;
  readonly off8: number;
  readonly storedLen: number;
  readonly rawLen: number;
  readonly kind: number;
  readonly codec: number;
}

/** Pages of index objects, those used last. */
export class IndexPages {
  readonly #store: BlobStore;
  readonly #max: number;
  /** Used last last. */
  readonly #pages = new Map<string, Uint8Array>();

  constructor(store: BlobStore, cacheBytes: number = cacheBytesDefault) {
    this.#store = store;
    this.#max = Math.max(2, Math.floor(cacheBytes / pageBytes));
  }

  /** Bytes of an object, borrowed; VARVE_CORRUPT when it is shorter, VARVE_NOT_FOUND when it is gone. */
  async read(name: string, from: number, length: number): Promise<Uint8Array> {
    const key = `${name} ${from}`;
    const known = this.#pages.get(key);
    if (known !== undefined) {
      this.#pages.delete(key);
      this.#pages.set(key, known);
      return known;
    }
    const bytes = await readExactly(this.#store, name, from, length);
    this.#pages.set(key, bytes);
    if (this.#pages.size > this.#max) {
      for (const oldest of this.#pages.keys()) {
        this.#pages.delete(oldest);
        break;
      }
    }
    return bytes;
  }
}

export class IndexObject {
  readonly name: string;
  readonly packs: readonly IndexedPack[];
  readonly superseded: readonly string[];
  readonly entries: number;
  readonly #pages: IndexPages;
  readonly #entriesFrom: number;

  private constructor(
    name: string,
    pages: IndexPages,
    tables: { packs: readonly IndexedPack[]; superseded: readonly string[] },
    entries: number,
    entriesFrom: number,
  ) {
    this.name = name;
    this.packs = tables.packs;
    this.superseded = tables.superseded;
    this.entries = entries;
    this.#pages = pages;
    this.#entriesFrom = entriesFrom;
  }

  /**
   * Reads the object `hash` once from end to end, in pieces, and checks it. VARVE_CORRUPT,
   * VARVE_FORMAT_VERSION, VARVE_NOT_FOUND.
   */
  static async open(
    store: BlobStore,
    hash: string,
    size: number,
    vaultId: Uint8Array,
    pages: IndexPages,
  ): Promise<IndexObject> {
    const name = indexName(hash);
    if (size < vaultIndexFrontBytes) throw corrupt('vault index is cut off', { file: name });
    const first = await readExactly(store, name, 0, vaultIndexFrontBytes);
    const entriesFrom = vaultIndexEntriesFrom(first, size, name);
    const front = await readExactly(store, name, 0, entriesFrom);
    const tables = decodeVaultIndexTables(front, name, vaultId);
    const sum = new StreamingChecksum(tables.seed.at(fileHeader.size));
    sum.update(front.subarray(fileHeader.size + 8));
    // With the last entry of the piece before in front, so that their order is checked across pieces.
    let carried = new Uint8Array(0);
    for (let from = entriesFrom; from < size; from += checkBytes) {
      const piece = await readExactly(store, name, from, Math.min(checkBytes, size - from));
      sum.update(piece);
      const run = new Uint8Array(carried.length + piece.length);
      run.set(carried);
      run.set(piece, carried.length);
      checkVaultIndexEntries(run, 0, run.length / vaultIndexEntry.size, tables.packs, name);
      carried = run.slice(-vaultIndexEntry.size);
    }
    if (sum.digest() !== tables.checksum)
      throw corrupt('vault index fails its checksum', { file: name, offset: fileHeader.size });
    return new IndexObject(name, pages, tables, tables.entries, entriesFrom);
  }

  /** Every place the object has for the id at id[idAt..+32). */
  async find(id: Uint8Array, idAt = 0): Promise<ChunkPlace[]> {
    const places: ChunkPlace[] = [];
    const from = await this.#lowerBound(id, idAt);
    for (let entry = from; entry < this.entries; entry++) {
      const { bytes, pos } = await this.#entry(entry);
      if (compareRange(bytes, pos, pos + chunkIdBytes, id, idAt, idAt + chunkIdBytes) !== 0) break;
      const view = viewOf(bytes);
      places.push({
        hash: this.packs[view.getUint32(pos + at.pack, true)]!.hash,
        off8: view.getUint32(pos + at.off8, true),
        storedLen: view.getUint32(pos + at.storedLen, true),
        rawLen: view.getUint32(pos + at.rawLen, true),
        kind: bytes[pos + at.kind]!,
        codec: bytes[pos + at.codec]!,
      });
    }
    return places;
  }

  /** Number of the first entry whose id is not below. */
  async #lowerBound(id: Uint8Array, idAt: number): Promise<number> {
    const share = viewOf(id).getUint32(idAt, false) / 2 ** 32;
    let low = 0;
    let high = this.entries;
    for (let tries = 0; low < high; tries++) {
      const middle = low + Math.floor((high - low) / 2);
      const guess = Math.min(high - 1, Math.max(low, Math.floor(share * this.entries)));
      const page = Math.floor((tries < guessesMax ? guess : middle) / pageEntries);
      const first = page * pageEntries;
      const last = Math.min(first + pageEntries, this.entries) - 1;
      const { bytes } = await this.#entry(first);
      if (compareEntry(bytes, 0, id, idAt) >= 0) {
        // The first of the page may be the one: only what is in front of it is left.
        if (first <= low) return low;
        high = first;
        const before = await this.#entry(first - 1);
        if (compareEntry(before.bytes, before.pos, id, idAt) < 0) return first;
      } else if (compareEntry(bytes, (last - first) * vaultIndexEntry.size, id, idAt) < 0) low = last + 1;
      else return first + lowerBoundIn(bytes, last - first + 1, id, idAt);
    }
    return low;
  }

  async #entry(entry: number): Promise<{ bytes: Uint8Array; pos: number }> {
    const page = Math.floor(entry / pageEntries);
    const first = page * pageEntries;
    const count = Math.min(pageEntries, this.entries - first);
    const from = this.#entriesFrom + first * vaultIndexEntry.size;
    const bytes = await this.#pages.read(this.name, from, count * vaultIndexEntry.size);
    return { bytes, pos: (entry - first) * vaultIndexEntry.size };
  }
}

/** Guesses by the share of the id; then halves, whatever the spread. */
const guessesMax = 4;

function compareEntry(bytes: Uint8Array, pos: number, id: Uint8Array, idAt: number): number {
  return compareRange(bytes, pos, pos + chunkIdBytes, id, idAt, idAt + chunkIdBytes);
}

function lowerBoundIn(bytes: Uint8Array, count: number, id: Uint8Array, idAt: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareEntry(bytes, middle * vaultIndexEntry.size, id, idAt) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function readExactly(
  store: BlobStore,
  name: string,
  from: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = await store.getRange(name, from, length);
  if (bytes.length !== length)
    throw corrupt('object is cut off', { file: name, offset: from }, length, bytes.length);
  return bytes;
}
