/**
 * Where the chunk index says that chunks lie, for a group of segments at a time, so that each segment can be
 * compared with it frame by frame in one pass.
 *
 * Memory: 48 B per place, `placesMax` places in a group (more only where one segment alone has more).
 */

import type { FileNo } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { type ChunkColumns, chunkEntryFlags } from '../format/chunk-table.ts';
import { filePath } from '../format/file-names.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';

/** Places held at once. */
export const placesMax = 1_000_000;

/** A segment to be compared, and the frames it has at most. */
export interface PlacedSegment {
  readonly no: FileNo;
  readonly framesMax: number;
}

/** The segments of the next group: from the front, as many as fit. */
export function nextGroup<T extends PlacedSegment>(segments: readonly T[], most: number = placesMax): T[] {
  let frames = 0;
  const group: T[] = [];
  for (const segment of segments) {
    frames += segment.framesMax;
    if (group.length > 0 && frames > most) break;
    group.push(segment);
  }
  return group;
}

/** A chunk's place, reused from step to step. */
export interface Place {
  offset: number;
  storedLen: number;
  rawLen: number;
  kind: number;
  /** The id is ids[idAt..idAt+32). */
  readonly ids: Uint8Array;
  idAt: number;
  /** Something needs the chunk. */
  isNeeded: boolean;
}

/** Places of one segment in the order of their offsets. */
export class SegmentPlaces {
  ids = new Uint8Array(64 * chunkIdBytes);
  off8 = new Uint32Array(64);
  storedLen = new Uint32Array(64);
  rawLen = new Uint32Array(64);
  /** Kind, and 0x80 where something needs the chunk. */
  kind = new Uint8Array(64);
  count = 0;
  #order: Uint32Array = new Uint32Array(0);

  add(id: Uint8Array, idAt: number, columns: ChunkColumns, isNeeded: boolean): void {
    const i = this.count;
    if (i === this.off8.length) this.#grow();
    this.ids.set(id.subarray(idAt, idAt + chunkIdBytes), i * chunkIdBytes);
    this.off8[i] = columns.off8;
    this.storedLen[i] = columns.storedLen;
    this.rawLen[i] = columns.rawLen;
    this.kind[i] = columns.kind | (isNeeded ? 0x80 : 0);
    this.count++;
  }

  /** Ends the adding. */
  sort(): void {
    this.#order = Uint32Array.from({ length: this.count }, (_, i) => i);
    this.#order.sort((a, b) => this.off8[a]! - this.off8[b]!);
  }

  /** Index of the i-th place by offset. */
  at(i: number): number {
    return this.#order[i]!;
  }

  hex(index: number): string {
    return toHex(this.ids.subarray(index * chunkIdBytes, (index + 1) * chunkIdBytes));
  }

  #grow(): void {
    const length = this.off8.length * 2;
    const grow = <T extends Uint32Array | Uint8Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.ids = grow(this.ids, new Uint8Array(length * chunkIdBytes));
    this.off8 = grow(this.off8, new Uint32Array(length));
    this.storedLen = grow(this.storedLen, new Uint32Array(length));
    this.rawLen = grow(this.rawLen, new Uint32Array(length));
    this.kind = grow(this.kind, new Uint8Array(length));
  }
}

/** Told of a chunk that something needs and that has no place. */
export type OnHomeless = (error: VarveError, id: string) => void;

/**
 * Reads the whole index and keeps the places in the segments of `group`. `onHomeless` is told of chunks with
 * references and no place in any segment of `live`; give it once per check.
 */
export async function collectPlaces(
  chunks: ChunkTree,
  group: readonly PlacedSegment[],
  live: ReadonlySet<FileNo>,
  onHomeless: OnHomeless | undefined,
): Promise<Map<FileNo, SegmentPlaces>> {
  const places = new Map(group.map(({ no }) => [no, new SegmentPlaces()]));
  await chunks.scanAll(({ idBytes, idAt, columns }) => {
    const { flags, refs, kind, segment } = columns;
    const isDropped = (flags & chunkEntryFlags.dropped) !== 0;
    const isNeeded = !isDropped && (refs > 0 || kind === chunkKinds.list);
    if ((flags & chunkEntryFlags.hasLocation) === 0) {
      if (refs > 0) onHomeless?.(...homeless('is referenced and has no place', idBytes, idAt, undefined));
      return;
    }
    const there = places.get(segment);
    if (there !== undefined) there.add(idBytes, idAt, columns, isNeeded);
    else if (isNeeded && !live.has(segment))
      onHomeless?.(...homeless('lies in a segment that is not there', idBytes, idAt, columns));
  });
  for (const each of places.values()) each.sort();
  return places;
}

function homeless(
  what: string,
  idBytes: Uint8Array,
  idAt: number,
  columns: ChunkColumns | undefined,
): [VarveError, string] {
  const id = toHex(idBytes.subarray(idAt, idAt + chunkIdBytes));
  const place =
    columns === undefined
      ? { file: 'chunk index' }
      : { file: filePath('seg', columns.segment), offset: columns.off8 * 8 };
  return [corrupt(`chunk ${id} ${what}`, place), id];
}
