/**
 * Which frames are live, by one sequential scan of the chunk tree. A frame is live when the tree names this
 * very frame for its chunk and the chunk is referenced; a list node is live as long as the tree has it,
 * whatever its count, because its bytes are needed to release its children. Everything else in a segment is
 * garbage: frames of puts that were given up, second copies, chunks whose last reference is gone.
 *
 * Nothing is counted while the store runs, so nothing can drift.
 *
 * Invariants (test/chunk/liveness.test.ts)
 * - Live bytes of a segment are the bytes of the frames the tree names there ("live bytes equal a count over
 *   a model").
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { segmentBytesMax } from '../base/limits.ts';
import { chunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { type ChunkColumns, chunkEntry, chunkEntryFlags } from '../format/chunk-table.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';
import type { MergePace } from '../tree/merge-slice.ts';
import type { HeldIds } from './put-guard.ts';

const entryBytes = chunkEntry.size;
const at = chunkEntry.at;

/** What a scan has found. */
export interface Liveness {
  /** Bytes of live frames of each segment; segments without one are not there. */
  readonly live: ReadonlyMap<FileNo, number>;
  readonly liveBytes: number;
  readonly liveFrames: number;
  /** Entries seen. */
  readonly entries: number;
  /** Entries of chunks nobody references, whose frames are gone: a merge may drop them. */
  readonly spent: number;
  /** Ids of some list nodes nobody references: of puts that were given up, or under way. */
  readonly orphans: readonly Uint8Array[];
}

/** True for a location that must not go. A negative count is a fault, and no reason to drop anything. */
function isLive(flags: number, refs: number, kind: number): boolean {
  if ((flags & chunkEntryFlags.hasLocation) === 0) return false;
  return refs !== 0 || kind !== chunkKinds.data || (flags & chunkEntryFlags.saturated) !== 0;
}

function isOrphan(flags: number, refs: number, kind: number): boolean {
  return refs === 0 && kind === chunkKinds.list && (flags & chunkEntryFlags.saturated) === 0;
}

/** Orphans told of at a time. */
export const orphansMax = 4096;

/**
 * Sums live bytes. `isThere` says whether a segment is a live file. VARVE_CORRUPT and VARVE_IO of the tables,
 * VARVE_ABORTED when the pace says cancelled.
 */
export async function measureLiveness(
  chunks: ChunkTree,
  isThere: (segment: FileNo) => boolean,
  pace: MergePace,
): Promise<Liveness> {
  const sums = new LivenessSums(isThere);
  await chunks.scanStretches((bytes, view, from, to) => sums.add(bytes, view, from, to), pace);
  return sums.result();
}

/** Adds up entries as they come. */
class LivenessSums {
  readonly #isThere: (segment: FileNo) => boolean;
  readonly #sums = new SegmentSums();
  readonly #orphans: Uint8Array[] = [];
  #entries = 0;
  #located = 0;
  #spent = 0;

  constructor(isThere: (segment: FileNo) => boolean) {
    this.#isThere = isThere;
  }

  add(bytes: Uint8Array, view: DataView, from: number, to: number): void {
    let located = 0;
    for (let entry = from; entry < to; entry += entryBytes) {
      const flags = view.getUint16(entry + at.flags, true);
      const refs = view.getInt32(entry + at.refs, true);
      if ((flags & chunkEntryFlags.hasLocation) === 0) {
        if (refs === 0 && (flags & chunkEntryFlags.saturated) === 0) this.#spent++;
        continue;
      }
      located++;
      const segment = view.getUint32(entry + at.segment, true);
      const kind = bytes[entry + at.kind]!;
      if (isLive(flags, refs, kind)) {
        if (isOrphan(flags, refs, kind)) this.#addOrphan(bytes, entry);
        this.#sums.addLive(segment, frameBytes(view.getUint32(entry + at.storedLen, true)));
      } else this.#sums.addDead(segment);
    }
    this.#entries += (to - from) / entryBytes;
    this.#located += located;
  }

  result(): Liveness {
    const { live, liveBytes, dead, gone } = this.#sums.result(this.#isThere);
    return {
      live,
      liveBytes,
      liveFrames: this.#located - dead,
      entries: this.#entries,
      spent: this.#spent + gone,
      orphans: this.#orphans,
    };
  }

  #addOrphan(bytes: Uint8Array, entry: number): void {
    if (this.#orphans.length < orphansMax) this.#orphans.push(bytes.slice(entry, entry + chunkIdBytes));
  }
}

/** True for an entry that says nothing any more, once no other source has a part of its count. */
export function isSpent(
  { flags, refs, kind, segment }: ChunkColumns,
  isThere: (segment: FileNo) => boolean,
): boolean {
  if (refs !== 0 || (flags & chunkEntryFlags.saturated) !== 0) return false;
  if ((flags & chunkEntryFlags.hasLocation) === 0) return true;
  return kind === chunkKinds.data && !isThere(segment);
}

/** Frames of one segment, at most, and the last place of one; a place behind it has no frame. */
const framesMax = segmentBytesMax / chunkFrame.size;
const off8Max = segmentBytesMax / 8 - 1;

/** Live frames of one segment. 44 B each. */
export class LiveFrames {
  count = 0;
  ids: Uint8Array;
  off8: Uint32Array;
  storedLen: Uint32Array;
  bytes = 0;

  /** Grows where there are more than `expected`. */
  constructor(expected = 0) {
    const room = Math.max(16, expected);
    this.ids = new Uint8Array(room * chunkIdBytes);
    this.off8 = new Uint32Array(room);
    this.storedLen = new Uint32Array(room);
  }

  add(id: Uint8Array, at: number, off8: number, storedLen: number): void {
    if (this.count === this.off8.length) this.#grow();
    for (let i = 0; i < chunkIdBytes; i++) this.ids[this.count * chunkIdBytes + i] = id[at + i]!;
    this.off8[this.count] = off8;
    this.storedLen[this.count] = storedLen;
    this.bytes += frameBytes(storedLen);
    this.count++;
  }

  /** Indexes in the order of the offsets. */
  inOrder(): Uint32Array {
    assert(this.count <= framesMax, 'a segment has room for its frames');
    // Place and index in one number below 2^53: numbers sort many times as fast as with a comparison.
    const places = new Float64Array(this.count);
    for (let i = 0; i < this.count; i++) places[i] = Math.min(this.off8[i]!, off8Max) * framesMax + i;
    places.sort();
    const order = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) order[i] = places[i]! % framesMax;
    return order;
  }

  #grow(): void {
    const room = this.count * 2;
    const ids = new Uint8Array(room * chunkIdBytes);
    ids.set(this.ids);
    this.ids = ids;
    const off8 = new Uint32Array(room);
    off8.set(this.off8);
    this.off8 = off8;
    const storedLen = new Uint32Array(room);
    storedLen.set(this.storedLen);
    this.storedLen = storedLen;
  }
}

/**
 * The live frames of condemned segments that no put claims any more, as of the call; those of chunks in
 * `held` count as live. No later commit can bring another one to life: hits are refused. `expected`: about
 * how many of a segment are live. Errors as measureLiveness.
 */
export async function findLiveFrames(
  chunks: ChunkTree,
  segments: readonly FileNo[],
  held: HeldIds,
  pace: MergePace,
  expected: (segment: FileNo) => number = () => 0,
): Promise<Map<FileNo, LiveFrames>> {
  const found = new Map(segments.map((no) => [no, new LiveFrames(expected(no))]));
  const low = Math.min(...segments);
  const high = Math.max(...segments);
  await chunks.scanStretches((bytes, view, from, to) => {
    for (let entry = from; entry < to; entry += entryBytes) {
      const segment = view.getUint32(entry + at.segment, true);
      if (segment < low || segment > high) continue;
      const frames = found.get(segment);
      const flags = view.getUint16(entry + at.flags, true);
      if (frames === undefined || (flags & chunkEntryFlags.hasLocation) === 0) continue;
      const refs = view.getInt32(entry + at.refs, true);
      if (isLive(flags, refs, bytes[entry + at.kind]!) || held.has(bytes, entry)) {
        const off8 = view.getUint32(entry + at.off8, true);
        frames.add(bytes, entry, off8, view.getUint32(entry + at.storedLen, true));
      }
    }
  }, pace);
  return found;
}

/** Sums by file number: in an array while numbers lie close together, else in a map. */
class SegmentSums {
  /** Of segment n bytes of live frames at 2n, dead frames at 2n + 1. */
  #near: Float64Array = new Float64Array(2 * 1024);
  readonly #far = new Map<FileNo, { bytes: number; dead: number }>();

  addLive(segment: FileNo, bytes: number): void {
    const i = 2 * segment;
    if (i < this.#near.length) this.#near[i]! += bytes;
    else this.#addFar(segment, bytes, 0);
  }

  addDead(segment: FileNo): void {
    const i = 2 * segment + 1;
    if (i < this.#near.length) this.#near[i]!++;
    else this.#addFar(segment, 0, 1);
  }

  /** Live bytes, dead frames, and those of them in segments that are gone. */
  result(isThere: (segment: FileNo) => boolean): {
    live: Map<FileNo, number>;
    liveBytes: number;
    dead: number;
    gone: number;
  } {
    const found = { live: new Map<FileNo, number>(), liveBytes: 0, dead: 0, gone: 0 };
    const add = (segment: FileNo, bytes: number, dead: number): void => {
      if (bytes > 0) found.live.set(segment, bytes);
      found.liveBytes += bytes;
      found.dead += dead;
      if (dead > 0 && !isThere(segment)) found.gone += dead;
    };
    for (const [segment, { bytes, dead }] of this.#far) add(segment, bytes, dead);
    for (let i = 0; i < this.#near.length; i += 2) add(i / 2, this.#near[i]!, this.#near[i + 1]!);
    return found;
  }

  #addFar(segment: FileNo, bytes: number, dead: number): void {
    if (segment < nearMax) {
      const wider = new Float64Array(2 * Math.min(nearMax, Math.max(segment + 1, this.#near.length)));
      wider.set(this.#near);
      this.#near = wider;
      if (dead > 0) this.addDead(segment);
      else this.addLive(segment, bytes);
      return;
    }
    const sums = this.#far.get(segment);
    if (sums === undefined) this.#far.set(segment, { bytes, dead });
    else {
      sums.bytes += bytes;
      sums.dead += dead;
    }
  }
}

const nearMax = 1 << 20;
