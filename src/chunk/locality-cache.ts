/**
 * Trailers of segments in memory: what lies next to a chunk that was just found. A backup of slightly changed
 * data asks for chunks in the order they were stored, so one trailer read answers hundreds of lookups.
 *
 * An entry proves that a frame with this id lies in that segment, not that the chunk is in the chunk tree:
 * whoever uses a hit logs a CHUNK op for it. Segments being written have their growing trailer here too.
 *
 * Invariants (test/chunk/locality-cache.test.ts):
 * - a hit names the segment, offset and lengths given for exactly that id;
 * - the budget is exceeded only by the trailers of open segments and the one newest;
 * - evicting a segment removes all its entries.
 *
 * About 61 B per entry: 32 id + 13 columns + 16 hash slots at half load.
 */
import type { FileNo } from '../base/brands.ts';
import { u32le } from '../base/bytes.ts';
import { grownBytes, grownWords, pagedWords } from '../base/own-pages.ts';
import { type ChunkLocation, chunkIdBytes } from '../format/chunk-ref.ts';

/** Columns of one segment's trailer, in the order the frames were appended. */
export interface TrailerColumns {
  readonly count: number;
  readonly ids: Uint8Array;
  readonly off8: Uint32Array;
  readonly storedLen: Uint32Array;
  readonly rawLen: Uint32Array;
}

interface Held {
  readonly segment: FileNo;
  open: boolean;
  count: number;
  ids: Uint8Array;
  off8: Uint32Array;
  storedLen: Uint32Array;
  rawLen: Uint32Array;
  /** Lookups this trailer has answered. */
  hits: number;
}

const entryBytes = 61;
const none = 0xffffffff;

export class LocalityCache {
  readonly bytesMax: number;
  #held: (Held | undefined)[] = [];
  readonly #bySegment = new Map<FileNo, number>();
  #slotHolder: Uint32Array = new Uint32Array(1024).fill(none);
  #slotEntry: Uint32Array = new Uint32Array(1024);
  #slotsUsed = 0;
  #entries = 0;
  #lastHolder = -1;
  #lastEntry = -1;
  /** Moving average of the hits a loaded trailer earns before it is evicted. */
  #earned = 16;
  hits = 0;
  misses = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytesUsed(): number {
    return this.#entries * entryBytes;
  }

  has(segment: FileNo): boolean {
    return this.#bySegment.has(segment);
  }

  /** False while loaded trailers earn less than they cost (scattered duplicates): then do not load more. */
  get worthLoading(): boolean {
    return this.#earned >= 4;
  }

  /** Looks `id[at..at+32)` up; fills `out` and returns true on a hit. */
  find(id: Uint8Array, at: number, out: ChunkLocation): boolean {
    const next = this.#lastHolder < 0 ? undefined : this.#held[this.#lastHolder];
    if (
      next !== undefined &&
      this.#lastEntry + 1 < next.count &&
      sameId(next.ids, this.#lastEntry + 1, id, at)
    ) {
      this.#lastEntry++;
      return this.#hit(next, this.#lastEntry, out);
    }
    const slot = this.#slotOf(id, at);
    const holder = this.#slotHolder[slot]!;
    const held = holder === none ? undefined : this.#held[holder];
    if (held === undefined) {
      this.misses++;
      return false;
    }
    this.#lastHolder = holder;
    this.#lastEntry = this.#slotEntry[slot]!;
    return this.#hit(held, this.#lastEntry, out);
  }

  /** Starts the trailer of a segment that is being written. */
  open(segment: FileNo): void {
    const capacity = 256;
    this.#hold({
      segment,
      open: true,
      count: 0,
      ids: new Uint8Array(capacity * chunkIdBytes),
      off8: new Uint32Array(capacity),
      storedLen: new Uint32Array(capacity),
      rawLen: new Uint32Array(capacity),
      hits: 0,
    });
  }

  /** Adds a frame just appended to an open segment. */
  append(segment: FileNo, id: Uint8Array, at: number, off8: number, storedLen: number, rawLen: number): void {
    this.#makeRoom(1);
    const holder = this.#bySegment.get(segment);
    const held = holder === undefined ? undefined : this.#held[holder];
    if (held === undefined) return;
    if (held.count === held.off8.length) grow(held);
    const entry = held.count++;
    for (let i = 0; i < chunkIdBytes; i++) held.ids[entry * chunkIdBytes + i] = id[at + i]!;
    held.off8[entry] = off8;
    held.storedLen[entry] = storedLen;
    held.rawLen[entry] = rawLen;
    this.#entries++;
    this.#index(holder!, entry);
  }

  /** The segment is sealed: its trailer may be evicted from now on. */
  seal(segment: FileNo): void {
    const holder = this.#bySegment.get(segment);
    if (holder !== undefined) this.#held[holder]!.open = false;
    this.#evict(segment);
  }

  /** Takes the trailer of a sealed segment; the arrays are kept. */
  load(segment: FileNo, trailer: TrailerColumns): void {
    if (this.has(segment)) return;
    this.#makeRoom(trailer.count);
    const holder = this.#hold({ ...trailer, segment, open: false, hits: 0 });
    this.#entries += trailer.count;
    for (let entry = 0; entry < trailer.count; entry++) this.#index(holder, entry);
    this.#evict(segment);
  }

  /** Forgets a segment (gone, or damaged). */
  forget(segment: FileNo): void {
    const holder = this.#bySegment.get(segment);
    if (holder === undefined) return;
    this.#bySegment.delete(segment);
    this.#entries -= this.#held[holder]!.count;
    this.#held[holder] = undefined;
    if (this.#lastHolder === holder) this.#lastHolder = -1;
  }

  /** Forgets everything but open segments. */
  clear(): void {
    for (const [segment, holder] of this.#bySegment) if (!this.#held[holder]!.open) this.forget(segment);
  }

  #hit(held: Held, entry: number, out: ChunkLocation): true {
    held.hits++;
    this.hits++;
    out.segment = held.segment;
    out.off8 = held.off8[entry]!;
    out.storedLen = held.storedLen[entry]!;
    out.rawLen = held.rawLen[entry]!;
    return true;
  }

  #hold(held: Held): number {
    this.#held.push(held);
    this.#bySegment.set(held.segment, this.#held.length - 1);
    return this.#held.length - 1;
  }

  #evict(keep: FileNo): void {
    for (const [segment, holder] of this.#bySegment) {
      if (this.bytesUsed <= this.bytesMax) return;
      const held = this.#held[holder]!;
      if (held.open || segment === keep) continue;
      this.#earned = this.#earned * 0.9 + Math.min(held.hits, 256) * 0.1;
      this.forget(segment);
    }
  }

  /**
   * The slot that holds the id, or the free slot where it would go. Slots of evicted segments are passed
   * over.
   */
  #slotOf(id: Uint8Array, at: number): number {
    const mask = this.#slotHolder.length - 1;
    let slot = u32le(id, at) & mask;
    for (;;) {
      const holder = this.#slotHolder[slot]!;
      if (holder === none) return slot;
      const held = this.#held[holder];
      if (held !== undefined && sameId(held.ids, this.#slotEntry[slot]!, id, at)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #index(holder: number, entry: number): void {
    const held = this.#held[holder]!;
    const slot = this.#slotOf(held.ids, entry * chunkIdBytes);
    if (this.#slotHolder[slot] === none) this.#slotsUsed++;
    this.#slotHolder[slot] = holder;
    this.#slotEntry[slot] = entry;
  }

  /** Keeps the table at most half full; holders are renumbered when it is made anew for the live entries. */
  #makeRoom(entries: number): void {
    if ((this.#slotsUsed + entries) * 2 <= this.#slotHolder.length) return;
    const live = this.#held.filter((held) => held !== undefined);
    const lastSegment = this.#lastHolder < 0 ? undefined : this.#held[this.#lastHolder]?.segment;
    let size = 1024;
    while (size < (this.#entries + entries) * 4) size *= 2;
    this.#slotHolder = pagedWords(size).fill(none);
    this.#slotEntry = pagedWords(size);
    this.#slotsUsed = 0;
    this.#held = live;
    this.#bySegment.clear();
    live.forEach((held, holder) => {
      this.#bySegment.set(held.segment, holder);
      for (let entry = 0; entry < held.count; entry++) {
        const slot = this.#slotOf(held.ids, entry * chunkIdBytes);
        if (this.#slotHolder[slot] === none) this.#slotsUsed++;
        this.#slotHolder[slot] = holder;
        this.#slotEntry[slot] = entry;
      }
    });
    this.#lastHolder = lastSegment === undefined ? -1 : (this.#bySegment.get(lastSegment) ?? -1);
  }
}

function sameId(ids: Uint8Array, entry: number, id: Uint8Array, at: number): boolean {
  const from = entry * chunkIdBytes;
  for (let i = 0; i < chunkIdBytes; i++) if (ids[from + i] !== id[at + i]) return false;
  return true;
}

function grow(held: Held): void {
  const entries = held.off8.length * 2;
  held.ids = grownBytes(held.ids, entries * chunkIdBytes);
  held.off8 = grownWords(held.off8, entries);
  held.storedLen = grownWords(held.storedLen, entries);
  held.rawLen = grownWords(held.rawLen, entries);
}
