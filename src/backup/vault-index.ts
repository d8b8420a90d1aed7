/**
 * The chunks of a vault by id, whatever its size: index objects in pages, and in memory what no index object
 * has yet: packs of a run under way, and packs that no object names.
 *
 * Index objects go when others are merged from them. A lookup that meets one that is gone looks which there
 * are now and goes on with those; places in index objects (`IndexHit.source`) mean nothing then, so whoever
 * keeps some (`IndexMarks`) compares `generation` and begins again.
 *
 * Invariants (test/backup/vault-index.test.ts)
 * - Finds what a map of all entries would, of several copies one in a pack that is to stay where there is
 *   one, always the same one, however little memory there is ("the index equals a map").
 * - Objects that are merged away meanwhile change no answer ("a lookup goes on where objects are merged").
 */
import { toHex, u32le } from '../base/bytes.ts';
import { corrupt, isVarveError, VarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { vaultIndexEntry } from '../format/vault-index.ts';
import { ChunkTable, RowSet } from './chunk-table.ts';
import type { IndexObject, NeededPage } from './index-object.ts';

/** Where a chunk lies; filled again and again. */
export class IndexHit {
  /** Number of the pack in the state. */
  pack = -1;
  off8 = 0;
  storedLen = 0;
  rawLen = 0;
  kind = 0;
  codec = 0;
  /** Number of the index object, -1: what is in memory; and of the entry in it. */
  source = -1;
  entry = -1;
}

/** An index object, and which pack of the state each of its packs is: -1 where it is not to be used. */
export interface IndexSource {
  readonly object: IndexObject;
  readonly numbers: Int32Array;
  /** Entries that may be used; undefined: all. */
  readonly allowed?: RowSet | undefined;
}

/** What an index needs to know of packs, and how it looks again. */
export interface IndexSurroundings {
  /** Whether a pack is about to go: another copy is better. */
  readonly isPending: (pack: number) => boolean;
  /** The sources that there are now, those that were known being the same. */
  readonly refresh: (known: readonly IndexSource[]) => Promise<readonly IndexSource[]>;
}

/** Told of an entry, whose id is at ids[at..]; all borrowed for the call. */
export type EntryVisit = (hit: IndexHit, ids: Uint8Array, at: number) => void;

/** Answers of `findNow`. */
export const found = 1;
export const absent = 0;
/** A page must be read first: `find` does. */
export const unknown = -1;

const refreshesMax = 20;
const { at } = vaultIndexEntry;

export class VaultIndex {
  /** What is in memory. */
  readonly own: ChunkTable = new ChunkTable();
  #sources: readonly IndexSource[];
  readonly #around: IndexSurroundings;
  readonly #restricted: boolean;
  readonly #needed: NeededPage & { source: number } = { page: 0, source: 0 };
  #generation = 0;
  #refreshing: Promise<void> | undefined;

  constructor(sources: readonly IndexSource[], around: IndexSurroundings, restricted = false) {
    this.#sources = sources;
    this.#around = around;
    this.#restricted = restricted;
  }

  get sources(): readonly IndexSource[] {
    return this.#sources;
  }

  /** Rises when places in sources have lost their meaning. */
  get generation(): number {
    return this.#generation;
  }

  /** Entries of all objects and of what is in memory, copies counted. */
  get entries(): number {
    return this.#sources.reduce((sum, { object }) => sum + object.entries, this.own.count);
  }

  /** An index of what `marks` has of this one; nothing is in memory. */
  restrictedTo(marks: { of(source: number): RowSet }): VaultIndex {
    const sources = this.#sources.map((source, i) => ({ ...source, allowed: marks.of(i) }));
    const restricted = new VaultIndex(sources, this.#around, true);
    const { own } = this;
    for (let row = 0; row < own.count; row++) {
      if (!marks.of(-1).has(row)) continue;
      const { pack, off8, storedLen, rawLen, kind, codec } = own;
      const id = own.idOf(row);
      restricted.own.add(
        id,
        0,
        pack[row]!,
        off8[row]!,
        storedLen[row]!,
        rawLen[row]!,
        kind[row]!,
        codec[row]!,
      );
    }
    return restricted;
  }

  /** An index without anything over the same packs. */
  emptied(): VaultIndex {
    return new VaultIndex([], this.#around, true);
  }

  /** Finds an id without reading: fills `hit` where it answers `found`. */
  findNow(id: Uint8Array, idAt: number, hit: IndexHit): number {
    return this.#look(id, idAt, hit, undefined);
  }

  /** Finds an id; a promise where pages must be read. VARVE_CORRUPT, VARVE_CONFLICT, VARVE_IO. */
  find(id: Uint8Array, idAt: number, hit: IndexHit): boolean | Promise<boolean> {
    const answer = this.#look(id, idAt, hit, undefined);
    return answer === unknown ? this.#findLater(id.slice(idAt, idAt + chunkIdBytes), hit) : answer === found;
  }

  /** As `find`, without the place. */
  has(id: Uint8Array, idAt = 0): boolean | Promise<boolean> {
    return this.find(id, idAt, this.#any);
  }

  readonly #any = new IndexHit();

  /** Every copy of the chunk, the one `find` gives included. */
  async copies(id: Uint8Array): Promise<IndexHit[]> {
    return await this.#steadily(async () => {
      const hits: IndexHit[] = [];
      const row = this.own.find(id, 0);
      if (row >= 0) hits.push(this.#fillOwn(row, new IndexHit()));
      for (let source = 0; source < this.#sources.length; source++) await this.#copiesIn(source, id, hits);
      return hits;
    });
  }

  /** Takes sources in whose packs are no more in memory. */
  spill(sources: readonly IndexSource[]): void {
    this.own.clear();
    this.#sources = [...this.#sources, ...sources];
  }

  /**
   * Goes through all entries of all sources, and through what is in memory (source -1), those with packs
   * that are not to be used left out. `step` is waited for now and then. VARVE_CONFLICT where objects are
   * gone: begin again.
   */
  async each(visit: EntryVisit, step?: () => Promise<void> | undefined): Promise<void> {
    const hit = new IndexHit();
    for (let row = 0; row < this.own.count; row++)
      visit(this.#fillOwn(row, hit), this.own.ids, row * chunkIdBytes);
    for (const [source, { object, numbers }] of this.#sources.entries()) {
      const each = object.each((entry, bytes, pos) => {
        const pack = numbers[packAt(bytes, pos)]!;
        if (pack >= 0) visit(fill(hit, bytes, pos, pack, source, entry), bytes, pos);
      }, step);
      await each.catch(async (error: unknown) => {
        if (!isVarveError(error, 'VARVE_NOT_FOUND')) throw error;
        await this.#refresh();
        throw indexChanged();
      });
    }
  }

  async #findLater(id: Uint8Array, hit: IndexHit): Promise<boolean> {
    return await this.#steadily(async () => {
      const held = new Map<number, Map<number, Uint8Array>>();
      for (;;) {
        const answer = this.#look(id, 0, hit, held);
        if (answer !== unknown) return answer === found;
        const { page, source } = this.#needed;
        const bytes = await this.#sources[source]!.object.load(page);
        const pages = held.get(source) ?? new Map<number, Uint8Array>();
        held.set(source, pages.set(page, bytes));
      }
    });
  }

  async #copiesIn(source: number, id: Uint8Array, hits: IndexHit[]): Promise<void> {
    const { object, numbers } = this.#sources[source]!;
    if (!object.mayHave(id, 0)) return;
    const held = new Map<number, Uint8Array>();
    const needed: NeededPage = { page: 0 };
    const reached = async (look: () => number): Promise<number> => {
      for (;;) {
        const entry = look();
        if (entry !== -2) return entry;
        held.set(needed.page, await object.load(needed.page));
      }
    };
    let entry = await reached(() => object.firstOf(id, 0, needed, held));
    while (entry >= 0) {
      const now = entry;
      const bytes = object.bytesOf(now, held);
      const pack = numbers[packAt(bytes, object.posOf(now))]!;
      if (pack >= 0) hits.push(fill(new IndexHit(), bytes, object.posOf(now), pack, source, now));
      entry = await reached(() => object.nextOf(now, id, 0, needed, held));
    }
  }

  /** Looks again where an object is gone, as often as objects keep going. */
  async #steadily<T>(look: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const before = this.#generation;
      try {
        const result = await look();
        if (this.#generation === before) return result;
      } catch (error) {
        if (!isVarveError(error, 'VARVE_NOT_FOUND')) throw error;
        if (this.#generation === before) await this.#refresh();
      }
      if (tries === refreshesMax) throw indexChanged();
    }
  }

  async #refresh(): Promise<void> {
    this.#refreshing ??= (async () => {
      try {
        const known = new Set(this.#sources.map(({ object }) => object));
        const fresh = await this.#around.refresh(this.#sources);
        // What came meanwhile was not among what this index is restricted to.
        this.#sources = this.#restricted
          ? fresh.map((one) => (known.has(one.object) ? one : { ...one, allowed: new RowSet(0) }))
          : fresh;
        this.#generation++;
      } finally {
        this.#refreshing = undefined;
      }
    })();
    await this.#refreshing;
  }

  #look(
    id: Uint8Array,
    idAt: number,
    hit: IndexHit,
    held: ReadonlyMap<number, ReadonlyMap<number, Uint8Array>> | undefined,
  ): number {
    let pending = false;
    const row = this.own.find(id, idAt);
    if (row >= 0) {
      this.#fillOwn(row, hit);
      if (!this.#around.isPending(hit.pack)) return found;
      pending = true;
    }
    const sources = this.#sources;
    for (let source = 0; source < sources.length; source++) {
      const { object } = sources[source]!;
      if (!object.mayHave(id, idAt)) continue;
      const answer = this.#lookIn(source, id, idAt, hit, pending, held?.get(source));
      if (answer === unknown) {
        this.#needed.source = source;
        return unknown;
      }
      if (answer === found) return found;
      if (answer === aside) pending = true;
    }
    return pending ? found : absent;
  }

  /** `aside`: found, in a pack that is about to go; `hit` says where unless it said so before. */
  #lookIn(
    source: number,
    id: Uint8Array,
    idAt: number,
    hit: IndexHit,
    pendingBefore: boolean,
    held: ReadonlyMap<number, Uint8Array> | undefined,
  ): number {
    const { object, numbers, allowed } = this.#sources[source]!;
    let pending = pendingBefore;
    let entry = object.firstOf(id, idAt, this.#needed, held);
    while (entry >= 0) {
      const bytes = object.bytesOf(entry, held);
      const pos = object.posOf(entry);
      const pack = numbers[packAt(bytes, pos)]!;
      if (pack >= 0 && allowed?.has(entry) !== false) {
        const isPending = this.#around.isPending(pack);
        if (!isPending || !pending) fill(hit, bytes, pos, pack, source, entry);
        if (!isPending) return found;
        pending = true;
      }
      entry = object.nextOf(entry, id, idAt, this.#needed, held);
    }
    if (entry === -2) return unknown;
    return pending && !pendingBefore ? aside : absent;
  }

  #fillOwn(row: number, hit: IndexHit): IndexHit {
    const { pack, off8, storedLen, rawLen, kind, codec } = this.own;
    hit.pack = pack[row]!;
    hit.off8 = off8[row]!;
    hit.storedLen = storedLen[row]!;
    hit.rawLen = rawLen[row]!;
    hit.kind = kind[row]!;
    hit.codec = codec[row]!;
    hit.source = -1;
    hit.entry = row;
    return hit;
  }
}

const aside = 2;

/** VARVE_CONFLICT: what was known of places in index objects means nothing any more. */
export function indexChanged(): VarveError {
  return new VarveError('VARVE_CONFLICT', 'the index of the vault keeps changing; try again', {
    retryable: true,
  });
}

/** Does `task` again where the index changed under it. VARVE_CONFLICT where it keeps changing. */
export async function steadily<T>(task: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await task();
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CONFLICT') || tries === refreshesMax) throw error;
    }
  }
}

function packAt(bytes: Uint8Array, pos: number): number {
  return u32le(bytes, pos + at.pack);
}

function fill(
  hit: IndexHit,
  bytes: Uint8Array,
  pos: number,
  pack: number,
  source: number,
  entry: number,
): IndexHit {
  hit.pack = pack;
  hit.off8 = u32le(bytes, pos + at.off8);
  hit.storedLen = u32le(bytes, pos + at.storedLen);
  hit.rawLen = u32le(bytes, pos + at.rawLen);
  hit.kind = bytes[pos + at.kind]!;
  hit.codec = bytes[pos + at.codec]!;
  hit.source = source;
  hit.entry = entry;
  return hit;
}

/** VARVE_CORRUPT for a chunk that no pack has. */
export function missingChunk(id: Uint8Array, idAt: number): VarveError {
  const hex = toHex(id.subarray(idAt, idAt + chunkIdBytes));
  return corrupt(`chunk ${hex} is in no pack of the vault`, { file: 'vault' });
}
