/**
 * An index object of a vault that is read in pages: its entries rise by digests, and of each page the first
 * ones are kept, so one page as a rule tells.
 *
 * Memory: of each object the list of its packs, 16 B a page and a filter; pages and filters of all objects
 * together are bounded (`IndexPages`).
 *
 * Invariants (test/backup/chunk-source.test.ts, test/backup/vault-index.test.ts)
 * - Every entry of an id is found, whatever the ids and however small the memory ("every copy of an id is
 *   found in an object of any spread").
 * - What a page gives is what was checked when the object was opened ("a page that comes back with another
 *   bit is damage").
 */
import { compareRange, i32le, u32be } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { StreamingChecksum, xxh64 } from '../codec/checksum.ts';
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
import { BloomFilter, bucketsFor } from '../tree/bloom.ts';
import type { BlobStore } from './blob-store.ts';

/** Entries of a page. */
const pageEntries: number = Math.floor((64 * KiB) / vaultIndexEntry.size);
const pageBytes: number = pageEntries * vaultIndexEntry.size;
/** Bytes of one read while an object is checked or gone through: whole pages. */
const runBytes: number = 16 * pageBytes;
const cacheBytesDefault: number = 32 * MiB;
const filterBytesDefault: number = 24 * MiB;
/** More bits gain nothing; fewer tell next to nothing. */
const filterBitsMax = 12;
const filterBitsMin = 2;

/** Memory that index objects may take together. */
export interface IndexBounds {
  readonly cacheBytes?: number | undefined;
  readonly filterBytes?: number | undefined;
}

interface Page {
  bytes: Uint8Array;
  /** Where it is found: `slots[at]`. */
  slots: (Page | undefined)[];
  at: number;
  used: boolean;
}

/** Pages of index objects, those used last, and their filters. */
export class IndexPages {
  readonly store: BlobStore;
  readonly #max: number;
  readonly #ring: Page[] = [];
  #hand = 0;
  #filterBytes: number;

  constructor(store: BlobStore, { cacheBytes, filterBytes }: IndexBounds = {}) {
    this.store = store;
    this.#max = Math.max(2, Math.floor((cacheBytes ?? cacheBytesDefault) / pageBytes));
    this.#filterBytes = filterBytes ?? filterBytesDefault;
  }

  /** Pages held; for tests. */
  get pages(): number {
    return this.#ring.length;
  }

  /** Whether a page more is kept without another one going. */
  get hasRoom(): boolean {
    return this.#ring.length < this.#max;
  }

  /** Keeps a page (taken) at `slots[at]`, in the place of one that was not used for long. */
  keep(slots: (Page | undefined)[], at: number, bytes: Uint8Array): void {
    if (this.hasRoom) {
      const page = { bytes, slots, at, used: false };
      this.#ring.push(page);
      slots[at] = page;
      return;
    }
    for (;;) {
      const page = this.#ring[this.#hand]!;
      this.#hand = (this.#hand + 1) % this.#ring.length;
      if (page.used) {
        page.used = false;
        continue;
      }
      page.slots[page.at] = undefined;
      Object.assign(page, { bytes, slots, at });
      slots[at] = page;
      return;
    }
  }

  /** A filter for `entries` ids of `total` that there are; undefined where memory is too short for one. */
  filterFor(entries: number, total: number): BloomFilter | undefined {
    const bits = Math.min(filterBitsMax, (this.#filterBytes * 8) / Math.max(1, total));
    return bits < filterBitsMin ? undefined : new BloomFilter(bucketsFor(entries, bits));
  }
}

/** Called for entries in order: the entry lies at bytes[pos..], borrowed for the call. */
export type EntryVisitor = (entry: number, bytes: Uint8Array, pos: number) => void;

/** A look into an object ended at a page that is not in memory. */
export interface NeededPage {
  page: number;
}

export class IndexObject {
  readonly hash: string;
  readonly name: string;
  readonly size: number;
  readonly packs: readonly IndexedPack[];
  readonly superseded: readonly string[];
  readonly entries: number;
  readonly #pages: IndexPages;
  readonly #entriesFrom: number;
  readonly #slots: (Page | undefined)[];
  /** The first six bytes of the first id of each page. */
  readonly #firsts: Float64Array;
  readonly #sums: BigUint64Array;
  readonly #filter: BloomFilter | undefined;

  private constructor(
    pages: IndexPages,
    object: { hash: string; size: number; entriesFrom: number; filter: BloomFilter | undefined },
    { packs, superseded, entries }: Tables,
  ) {
    this.hash = object.hash;
    this.name = indexName(object.hash);
    this.size = object.size;
    this.packs = packs;
    this.superseded = superseded;
    this.entries = entries;
    this.#pages = pages;
    this.#entriesFrom = object.entriesFrom;
    this.#filter = object.filter;
    const count = Math.ceil(entries / pageEntries);
    this.#slots = Array.from({ length: count }, () => undefined);
    this.#firsts = new Float64Array(count);
    this.#sums = new BigUint64Array(count);
  }

  /**
   * Reads the object `hash` once from end to end, in pieces, and checks it. `total`: entries of all objects
   * that share `pages`, about. VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_NOT_FOUND.
   */
  static async open(
    pages: IndexPages,
    { hash, size }: { readonly hash: string; readonly size: number },
    vaultId: Uint8Array,
    total = 0,
  ): Promise<IndexObject> {
    const name = indexName(hash);
    if (size < vaultIndexFrontBytes) throw corrupt('vault index is cut off', { file: name });
    const { store } = pages;
    // Small objects, which are most, are read at once.
    const first = await readExactly(store, name, 0, Math.min(size, runBytes));
    const entriesFrom = vaultIndexEntriesFrom(first, size, name);
    const front =
      entriesFrom <= first.length
        ? first.subarray(0, entriesFrom)
        : await readExactly(store, name, 0, entriesFrom);
    const tables = decodeVaultIndexTables(front, name, vaultId);
    const filter = pages.filterFor(tables.entries, Math.max(total, tables.entries));
    const object = new IndexObject(pages, { hash, size, entriesFrom, filter }, tables);
    const sum = new StreamingChecksum(tables.seed.at(fileHeader.size));
    sum.update(front.subarray(fileHeader.size + 8));
    // With the last entry of the piece before in front, so that their order is checked across pieces.
    let carried = new Uint8Array(0);
    for (let from = entriesFrom; from < size; from += runBytes) {
      const length = Math.min(runBytes, size - from);
      const piece =
        from + length <= first.length
          ? first.subarray(from, from + length)
          : await readExactly(store, name, from, length);
      sum.update(piece);
      const run = new Uint8Array(carried.length + length);
      run.set(carried);
      run.set(piece, carried.length);
      checkVaultIndexEntries(run, 0, run.length / vaultIndexEntry.size, tables.packs, name);
      object.#take(run.subarray(carried.length), (from - entriesFrom) / pageBytes);
      carried = run.slice(-vaultIndexEntry.size);
    }
    if (sum.digest() !== tables.checksum)
      throw corrupt('vault index fails its checksum', { file: name, offset: fileHeader.size });
    return object;
  }

  /** False where the object surely has no entry of the id. */
  mayHave(id: Uint8Array, idAt: number): boolean {
    return (
      this.#filter === undefined || this.#filter.mayContainPair(i32le(id, idAt + 8), i32le(id, idAt + 12))
    );
  }

  /**
   * Number of the first entry of the id, -1 where there is none; -2 where `needed` says which page is to be
   * loaded first. `held`: pages that were loaded for this look.
   */
  firstOf(id: Uint8Array, idAt: number, needed: NeededPage, held?: ReadonlyMap<number, Uint8Array>): number {
    const wanted = prefixOf(id, idAt);
    const firsts = this.#firsts;
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (firsts[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    // The page in front of the first that begins so, and those behind it that do.
    for (let page = Math.max(0, low - 1); page < firsts.length; page++) {
      const bytes = this.#page(page, held);
      if (bytes === undefined) {
        needed.page = page;
        return -2;
      }
      const count = bytes.length / vaultIndexEntry.size;
      const at = lowerBoundIn(bytes, count, id, idAt);
      if (at < count) return isEntry(bytes, at, id, idAt) ? page * pageEntries + at : -1;
      if (page + 1 < firsts.length && firsts[page + 1]! > wanted) return -1;
    }
    return -1;
  }

  /** As `firstOf` for the entry behind `entry`: the same, where it is of this id, else -1; or -2. */
  nextOf(
    entry: number,
    id: Uint8Array,
    idAt: number,
    needed: NeededPage,
    held?: ReadonlyMap<number, Uint8Array>,
  ): number {
    const next = entry + 1;
    if (next >= this.entries) return -1;
    const page = Math.floor(next / pageEntries);
    const bytes = this.#page(page, held);
    if (bytes === undefined) {
      needed.page = page;
      return -2;
    }
    return isEntry(bytes, next - page * pageEntries, id, idAt) ? next : -1;
  }

  /** Bytes of the page of an entry that was just found, borrowed; the entry lies at `posOf`. */
  bytesOf(entry: number, held?: ReadonlyMap<number, Uint8Array>): Uint8Array {
    return this.#page(Math.floor(entry / pageEntries), held)!;
  }

  posOf(entry: number): number {
    return (entry % pageEntries) * vaultIndexEntry.size;
  }

  /** Loads a page into memory; its bytes. VARVE_NOT_FOUND when the object is gone, VARVE_CORRUPT. */
  async load(page: number): Promise<Uint8Array> {
    const from = page * pageBytes;
    const length = Math.min(pageBytes, this.entries * vaultIndexEntry.size - from);
    const bytes = await readExactly(this.#pages.store, this.name, this.#entriesFrom + from, length);
    this.#check(page, bytes);
    if (this.#slots[page] === undefined) this.#pages.keep(this.#slots, page, bytes);
    return bytes;
  }

  /** Goes through all entries in order, past the memory. `step` is waited for. Errors as `load`. */
  async each(visit: EntryVisitor, step?: () => Promise<void> | undefined): Promise<void> {
    for await (const { from, bytes } of this.runs()) {
      const count = bytes.length / vaultIndexEntry.size;
      for (let i = 0; i < count; i++) visit(from + i, bytes, i * vaultIndexEntry.size);
      const rest = step?.();
      if (rest !== undefined) await rest;
    }
  }

  /** All entries in order, in pieces: `from` is the number of the first. Errors as `load`. */
  async *runs(): AsyncGenerator<{ readonly from: number; readonly bytes: Uint8Array }> {
    const length = this.entries * vaultIndexEntry.size;
    for (let from = 0; from < length; from += runBytes) {
      const want = Math.min(runBytes, length - from);
      const bytes = await readExactly(this.#pages.store, this.name, this.#entriesFrom + from, want);
      for (let at = 0; at < want; at += pageBytes)
        this.#check((from + at) / pageBytes, bytes.subarray(at, Math.min(want, at + pageBytes)));
      yield { from: from / vaultIndexEntry.size, bytes };
    }
  }

  /** Takes in whole pages that were read while the object is opened. */
  #take(bytes: Uint8Array, firstPage: number): void {
    const filter = this.#filter;
    for (let from = 0, page = firstPage; from < bytes.length; from += pageBytes, page++) {
      const one = bytes.subarray(from, from + pageBytes);
      this.#firsts[page] = prefixOf(one, 0);
      this.#sums[page] = xxh64(one);
      if (this.#pages.hasRoom) this.#pages.keep(this.#slots, page, one.slice());
      if (filter === undefined) continue;
      for (let pos = 0; pos < one.length; pos += vaultIndexEntry.size)
        filter.addPair(i32le(one, pos + 8), i32le(one, pos + 12));
    }
  }

  #check(page: number, bytes: Uint8Array): void {
    if (xxh64(bytes) !== this.#sums[page])
      throw corrupt('vault index is not what it was', {
        file: this.name,
        offset: this.#entriesFrom + page * pageBytes,
      });
  }

  #page(page: number, held: ReadonlyMap<number, Uint8Array> | undefined): Uint8Array | undefined {
    const known = this.#slots[page];
    if (known === undefined) return held?.get(page);
    known.used = true;
    return known.bytes;
  }
}

/** An object of that size has no more entries. */
export function entriesAtMost({ size }: { readonly size: number }): number {
  return Math.floor(size / vaultIndexEntry.size);
}

interface Tables {
  readonly packs: readonly IndexedPack[];
  readonly superseded: readonly string[];
  readonly entries: number;
}

function isEntry(bytes: Uint8Array, at: number, id: Uint8Array, idAt: number): boolean {
  const pos = at * vaultIndexEntry.size;
  return compareRange(bytes, pos, pos + chunkIdBytes, id, idAt, idAt + chunkIdBytes) === 0;
}

function lowerBoundIn(bytes: Uint8Array, count: number, id: Uint8Array, idAt: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const pos = middle * vaultIndexEntry.size;
    if (compareRange(bytes, pos, pos + chunkIdBytes, id, idAt, idAt + chunkIdBytes) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Six bytes as a number, in the order of ids. */
function prefixOf(id: Uint8Array, at: number): number {
  return u32be(id, at) * 2 ** 16 + ((id[at + 4]! << 8) | id[at + 5]!);
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
