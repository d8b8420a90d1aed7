/**
 * Chunks a transaction will name in the log (CHUNK ops), in columns: no object per chunk.
 *
 * A birth is either a frame this put has just appended, or a frame found through a trailer (`found`): the
 * second kind is dropped again when the list node above it turns out to be stored already.
 */
import type { ByteWriter } from '../codec/byte-writer.ts';
import { type ChunkKind, type ChunkLocation, chunkIdBytes, chunkKinds, codecs } from '../format/chunk-ref.ts';
import { putChunk, putMove } from '../format/log-ops.ts';

const columns = 5;

/** Most values have few chunks, and there is one of these for each put under way. */
const firstEntries = 2;

export class Births {
  #ids: Uint8Array = new Uint8Array(firstEntries * chunkIdBytes);
  /** segment, off8, storedLen, rawLen, kind | found << 8 per entry. */
  #rows: Uint32Array = new Uint32Array(firstEntries * columns);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(id: Uint8Array, at: number, place: ChunkLocation, kind: ChunkKind, found: boolean): void {
    if ((this.#count + 1) * columns > this.#rows.length) this.#grow();
    const entry = this.#count++;
    for (let i = 0; i < chunkIdBytes; i++) this.#ids[entry * chunkIdBytes + i] = id[at + i]!;
    const row = entry * columns;
    this.#rows[row] = place.segment;
    this.#rows[row + 1] = place.off8;
    this.#rows[row + 2] = place.storedLen;
    this.#rows[row + 3] = place.rawLen;
    this.#rows[row + 4] = kind | (found ? 256 : 0);
  }

  /** Drops the found entries from `from` on. */
  dropFound(from: number): void {
    let keep = from;
    for (let entry = from; entry < this.#count; entry++) {
      const row = entry * columns;
      if ((this.#rows[row + 4]! & 256) !== 0) continue;
      if (keep !== entry) {
        this.#ids.copyWithin(keep * chunkIdBytes, entry * chunkIdBytes, (entry + 1) * chunkIdBytes);
        this.#rows.copyWithin(keep * columns, row, row + columns);
      }
      keep++;
    }
    this.#count = keep;
  }

  /**
   * Appends one op per entry: CHUNK, or MOVE for a list node that `claimBirth` refuses because it is in the
   * tree already (a second birth would count its children twice). Where MOVE is no op of the frame (STAGE),
   * such nodes are added to `later` instead.
   */
  encode(writer: ByteWriter, claimBirth: (id: Uint8Array, at: number) => boolean, later?: Births): void {
    const ids = this.#ids;
    for (let entry = 0; entry < this.#count; entry++) {
      const at = entry * chunkIdBytes;
      const row = entry * columns;
      const segment = this.#rows[row]!;
      const off8 = this.#rows[row + 1]!;
      const storedLen = this.#rows[row + 2]!;
      const rawLen = this.#rows[row + 3]!;
      const kind = this.#rows[row + 4]! & 255;
      if (kind !== chunkKinds.list || claimBirth(ids, at)) {
        putChunk(writer, ids, at, segment, off8, storedLen, rawLen, kind, codecs.raw);
      } else if (later === undefined) putMove(writer, ids, at, segment, off8, storedLen);
      else later.add(ids, at, { segment, off8, storedLen, rawLen }, chunkKinds.list, false);
    }
  }

  clear(): void {
    this.#count = 0;
  }

  #grow(): void {
    const ids = new Uint8Array(this.#ids.length * 4);
    ids.set(this.#ids);
    this.#ids = ids;
    const rows = new Uint32Array(this.#rows.length * 4);
    rows.set(this.#rows);
    this.#rows = rows;
  }
}
