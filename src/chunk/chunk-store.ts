/**
 * The chunk store: finds a chunk by its SHA-256, stores it once, reads it back checked.
 *
 * Lookup order: chunk memtables, trailers in memory (locality), filters and tables. A hit in the chunk tree
 * is authoritative; a hit in a trailer only proves that a frame exists, so its user logs a CHUNK op naming
 * it.
 *
 * Invariants (test/chunk/chunk-store.test.ts):
 * - a filter, trailer or cache never changes what is read back, only what a lookup costs;
 * - two puts that store one new chunk at the same time share one frame;
 * - a damaged frame, or another chunk's in its place, is never relied on again: a put of the same bytes
 *   stores them anew;
 * - a lookup that fails on damage is reported and counts as a miss, so a put never fails because of it;
 * - nothing in a condemned segment is a hit (test/engine/cleaner.test.ts).
 */
import type { FileNo } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { corrupt, isPassing, isVarveError, type VarveError } from '../base/errors.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import { type ChunkKind, type ChunkLocation, chunkIdBytes, chunkKinds, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import type { SegmentWriter } from '../segment/segment-writer.ts';
import { ChunkHit } from '../tree/chunk-table-reader.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';
import { MISS, OK, type Step } from '../tree/cursor.ts';
import { withId } from './kept-chunk.ts';
import type { LocalityCache } from './locality-cache.ts';
import { PutGuard } from './put-guard.ts';
import type { SegmentLanes } from './segment-lanes.ts';

/** What a lookup found: nothing, an entry of the chunk tree, or a frame that no entry names yet. */
export const found = { absent: 0, entry: 1, frame: 2 } as const;
export type Found = (typeof found)[keyof typeof found];

/** So often the tree is asked for a list node where its answer is damage. */
const nodeLookupsMax = 4;

export interface ChunkStoreOptions {
  readonly chunks: ChunkTree;
  readonly segments: SegmentSet;
  readonly lanes: SegmentLanes;
  readonly locality: LocalityCache;
  /** What puts under way rely on; one of its own where it is left out. */
  readonly guard?: PutGuard | undefined;
  /** Keeps chunks of small values; none are kept where it is left out. */
  readonly cache?: BlockCache;
  /** Damage met by a lookup or a read; health() lists it. */
  readonly onDamage: (error: unknown) => void;
}

export class ChunkStore {
  readonly lanes: SegmentLanes;
  readonly locality: LocalityCache;
  /** What puts under way rely on. */
  readonly guard: PutGuard;
  readonly #chunks: ChunkTree;
  readonly #segments: SegmentSet;
  readonly #onDamage: (error: unknown) => void;
  readonly #cache: BlockCache | undefined;
  readonly #distrusted = new Set<FileNo>();
  /** Of lookups that end in the turn they began in. */
  readonly #placed = new ChunkHit();
  #isIndexSound = true;
  readonly counters: { lookups: number; stored: number; storedBytes: number; trailerLoads: number } = {
    lookups: 0,
    stored: 0,
    storedBytes: 0,
    trailerLoads: 0,
  };

  constructor(options: ChunkStoreOptions) {
    this.#chunks = options.chunks;
    this.#segments = options.segments;
    this.lanes = options.lanes;
    this.locality = options.locality;
    this.guard = options.guard ?? new PutGuard();
    this.#onDamage = options.onDamage;
    this.#cache = options.cache;
  }

  /** No damage of the chunk tree has been met: what it holds of a known chunk can be relied on unread. */
  get isIndexSound(): boolean {
    return this.#isIndexSound;
  }

  /**
   * Looks a chunk up without leaving the thread; undefined when a block must be read first (then `find`).
   * Fills `out` unless absent.
   */
  findNow(id: Uint8Array, at: number, row: ChunkHit, out: ChunkLocation): Found | undefined {
    this.counters.lookups++;
    let step: Step = OK;
    if (this.#chunks.findInMemory(id, at, row) !== OK) {
      if (this.locality.find(id, at, out)) return found.frame;
      step = this.#findInTables(id, at, row);
      if (step === MISS) return undefined;
    }
    return step === OK && this.#usable(row) ? take(row, out, found.entry) : found.absent;
  }

  /** Looks a chunk up, reading what is needed. Damage is reported and counts as absent. */
  async find(id: Uint8Array, at: number, out: ChunkLocation): Promise<Found> {
    const row = new ChunkHit();
    try {
      const step = await this.#chunks.findAsync(id, at, row);
      if (step !== OK || !this.#usable(row)) return found.absent;
      take(row, out, found.entry);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO')) throw error;
      this.#isIndexSound = false;
      this.#onDamage(error);
      return found.absent;
    }
    await this.#loadTrailer(out.segment);
    return found.entry;
  }

  /**
   * What was stored since a lookup said absent: by somebody else, while the caller waited. Asks memory only.
   * Fills `out` unless absent.
   */
  findNew(id: Uint8Array, at: number, row: ChunkHit, out: ChunkLocation): Found {
    if (this.#chunks.findInMemory(id, at, row) === OK) {
      return this.#usable(row) ? take(row, out, found.entry) : found.absent;
    }
    return this.locality.find(id, at, out) ? found.frame : found.absent;
  }

  /**
   * True when the chunk tree has an entry for the list node, exactly. Damage is reported, and asked again: a
   * read that went wrong on its way is right the next time. Damage that stays counts as absent: the children
   * of the node may then be counted twice, which keeps them until a repair counts anew. Errors of the moment
   * are thrown: counts of a sound store stay exact.
   */
  async isNodePresent(id: Uint8Array, at: number): Promise<boolean> {
    const row = new ChunkHit();
    for (let tries = 1; tries <= nodeLookupsMax; tries++) {
      try {
        // Bytes stored as data under the same id have counted no children.
        return (await this.#chunks.findAsync(id, at, row)) === OK && row.kind === chunkKinds.list;
      } catch (error) {
        if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO') || isPassing(error)) throw error;
        this.#onDamage(error);
      }
    }
    return false;
  }

  /**
   * Appends a frame with `bytes[from..to)` to `writer` (copied) and fills `out` with its place.
   * VARVE_POISONED after a failed write of that segment.
   */
  append(
    writer: SegmentWriter,
    id: Uint8Array,
    at: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    kind: ChunkKind,
    out: ChunkLocation,
  ): void {
    const length = to - from;
    let off8: number;
    try {
      off8 = writer.append(id, at, bytes, from, to, kind, codecs.raw, length);
    } catch (error) {
      this.lanes.reportFailure(error);
      throw error;
    }
    this.locality.append(writer.no, id, at, off8, length, length);
    this.counters.stored++;
    this.counters.storedBytes += length;
    out.segment = writer.no;
    out.off8 = off8;
    out.storedLen = length;
    out.rawLen = length;
  }

  /**
   * Bytes of a chunk, verified (frame checksum, id, length). The hint is tried first; a stale or damaged one
   * costs a lookup. VARVE_CORRUPT when the chunk is not there or fails a check.
   */
  async read(id: Uint8Array, hint: ChunkLocation | undefined, _kind: ChunkKind): Promise<Uint8Array> {
    let damage: VarveError | undefined;
    if (hint !== undefined) {
      try {
        const bytes = await this.#segments.readFrame(hint.segment, hint.off8, hint.storedLen, id);
        if (bytes !== undefined) return bytes;
      } catch (error) {
        damage = this.#damaged(error, hint.segment);
      }
    }
    const row = new ChunkHit();
    const step = await this.#chunks.findAsync(id, 0, row).catch((error: unknown) => this.#unindexed(error));
    if (step !== OK) throw damage ?? missing(id, row);
    try {
      const bytes = await this.#segments.readFrame(row.segment, row.off8, row.storedLen, id);
      if (bytes !== undefined) return bytes;
    } catch (error) {
      throw this.#damaged(error, row.segment);
    }
    throw damage ?? this.#damaged(missing(id, row), row.segment);
  }

  /**
   * Where the chunk tree says the chunk lies, as far as memory tells: false when a block must be read first
   * (then `place`), or it is nowhere. The id is at ids[at..at+32).
   */
  placeNow(ids: Uint8Array, at: number, out: ChunkLocation): boolean {
    const row = this.#placed;
    if (this.#chunks.findInMemory(ids, at, row) !== OK && this.#findInTables(ids, at, row) !== OK) {
      row.pending.clear();
      return false;
    }
    take(row, out, found.entry);
    return true;
  }

  /** `placeNow`, reading what is needed. False where that fails too: `read` says why. */
  async place(id: Uint8Array, out: ChunkLocation): Promise<boolean> {
    const row = new ChunkHit();
    try {
      if ((await this.#chunks.findAsync(id, 0, row)) !== OK) return false;
    } catch (error) {
      if (!isVarveError(error)) throw error;
      return false;
    }
    take(row, out, found.entry);
    return true;
  }

  hasSegment(segment: FileNo): boolean {
    return this.#segments.has(segment);
  }

  /**
   * Bytes of a segment from `offset` on, unchecked, into `into`: how many there were, 0 also where they
   * cannot be read: `read` of a chunk in them says why.
   */
  async readBytes(segment: FileNo, offset: number, into: Uint8Array): Promise<number> {
    try {
      return await this.#segments.readBytes(segment, offset, into);
    } catch (error) {
      if (!isVarveError(error)) throw error;
      return 0;
    }
  }

  /** Notes that the bytes of a chunk, whole as their frame is, are not its id's; the error to throw. */
  async mismatch(id: Uint8Array, hint: ChunkLocation | undefined): Promise<VarveError> {
    const place = newLocation();
    const at = hint ?? ((await this.place(id, place)) ? place : undefined);
    const what = `chunk ${toHex(id)} has other bytes than its id says`;
    if (at === undefined) return corrupt(what, { file: 'chunk tree' });
    return this.#damaged(
      corrupt(what, { file: filePath('seg', at.segment), offset: at.off8 * 8 }),
      at.segment,
    );
  }

  /** `read` without promises; blocks the thread for a disk read. */
  readSync(id: Uint8Array, hint: ChunkLocation | undefined, _kind: ChunkKind): Uint8Array {
    let damage: VarveError | undefined;
    if (hint !== undefined) {
      try {
        const bytes = this.#segments.readFrameSync(hint.segment, hint.off8, hint.storedLen, id);
        if (bytes !== undefined) return bytes;
      } catch (error) {
        damage = this.#damaged(error, hint.segment);
      }
    }
    const row = new ChunkHit();
    if (this.#findSync(id, row) !== OK) throw damage ?? missing(id, row);
    try {
      const bytes = this.#segments.readFrameSync(row.segment, row.off8, row.storedLen, id);
      if (bytes !== undefined) return bytes;
    } catch (error) {
      throw this.#damaged(error, row.segment);
    }
    throw damage ?? this.#damaged(missing(id, row), row.segment);
  }

  /** Id and bytes of a chunk kept in memory, whose id is at buf[idAt]; undefined when it is not. */
  cached(buf: Uint8Array, idAt: number, segment: FileNo, off8: number): Uint8Array | undefined {
    const kept = segment === 0 ? undefined : this.#cache?.get(segment, off8 * 8);
    if (kept === undefined) return undefined;
    // The place may be out of date, and another chunk's by now.
    for (let i = 0; i < chunkIdBytes; i++) if (kept[i] !== buf[idAt + i]) return undefined;
    return kept;
  }

  /** Keeps a chunk that was read (taken, never changed), under the place the next reader will name. */
  keep(id: Uint8Array, hint: ChunkLocation | undefined, bytes: Uint8Array): void {
    // A number that is no live segment's may be a table's, whose blocks lie in the same cache.
    if (hint === undefined || this.#cache === undefined || !this.#segments.has(hint.segment)) return;
    this.#cache.set(hint.segment, hint.off8 * 8, withId(id, bytes), true);
  }

  /**
   * Frames of this segment are damaged: its chunks are no hits any more, so that a put of the same bytes
   * stores them anew instead of relying on them.
   */
  distrust(segment: FileNo): void {
    this.#distrusted.add(segment);
    if (this.lanes.writerOf(segment) === undefined) this.locality.forget(segment);
  }

  #findSync(id: Uint8Array, row: ChunkHit): Step {
    try {
      return this.#chunks.findSync(id, 0, row);
    } catch (error) {
      return this.#unindexed(error);
    }
  }

  /** Throws what a lookup failed with. */
  #unindexed(error: unknown): never {
    if (isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO')) this.#isIndexSound = false;
    throw error;
  }

  /** The segment is to be cleaned away: its chunks are no hits any more, until `pardon`. It is sealed. */
  condemn(segment: FileNo): void {
    this.guard.condemn(segment);
    this.locality.forget(segment);
  }

  /** Cleaning leaves the segment as it is. */
  pardon(segment: FileNo): void {
    this.guard.pardon(segment);
  }

  /** Damage was met in the segment: it cannot be emptied. */
  isDistrusted(segment: FileNo): boolean {
    return this.#distrusted.has(segment);
  }

  /** Notes damage met in a read; errors that are not about the bytes are thrown. */
  #damaged(error: unknown, segment: FileNo): VarveError {
    if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
    this.distrust(segment);
    this.#onDamage(error);
    return error;
  }

  /** A damaged table answers MISS: the slow path reports it. */
  #findInTables(id: Uint8Array, at: number, row: ChunkHit): Step {
    try {
      return this.#chunks.find(id, at, row);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO')) throw error;
      return MISS;
    }
  }

  #usable(row: ChunkHit): boolean {
    const { segment } = row;
    return this.#segments.has(segment) && !this.#distrusted.has(segment) && !this.guard.isCondemned(segment);
  }

  async #loadTrailer(segment: FileNo): Promise<void> {
    if (this.locality.has(segment) || !this.locality.worthLoading) return;
    if (this.lanes.writerOf(segment) !== undefined || this.guard.isCondemned(segment)) return;
    try {
      const trailer = await this.#segments.readTrailer(segment);
      if (this.guard.isCondemned(segment) || !this.#segments.has(segment)) return;
      this.counters.trailerLoads++;
      this.locality.load(segment, trailer);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO', 'VARVE_NOT_FOUND')) throw error;
      this.#onDamage(error);
    }
  }
}

export function newLocation(): ChunkLocation {
  return { segment: 0, off8: 0, storedLen: 0, rawLen: 0 };
}

function take(row: ChunkHit, out: ChunkLocation, how: Found): Found {
  out.segment = row.segment;
  out.off8 = row.off8;
  out.storedLen = row.storedLen;
  out.rawLen = row.rawLen;
  return how;
}

function missing(id: Uint8Array, row: ChunkHit): VarveError {
  const hex = toHex(id.subarray(0, chunkIdBytes));
  return corrupt(`chunk ${hex} is missing`, { file: filePath('seg', row.segment), offset: row.off8 * 8 });
}
