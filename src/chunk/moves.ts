/** Where copied frames lay and lie now. */
import type { FileNo } from '../base/brands.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { sortSlots } from '../tree/slot-sort.ts';

/** From segment, from off8, to segment, to off8, storedLen, rawLen, kind. */
const columns = 7;

/** Where frames lay and lie now, in columns: 60 B each. */
export class Moves {
  count = 0;
  ids: Uint8Array;
  #rows: Uint32Array;

  /** Grows where there are more than `expected`. */
  constructor(expected = 0) {
    const room = Math.max(16, expected);
    this.ids = new Uint8Array(room * chunkIdBytes);
    this.#rows = new Uint32Array(room * columns);
  }

  /** Copies the id at id[at..]. The frame lay in `from` at `fromOff8`, and lies in `to` at `toOff8` now. */
  add(
    id: Uint8Array,
    at: number,
    from: FileNo,
    fromOff8: number,
    to: FileNo,
    toOff8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
  ): void {
    if ((this.count + 1) * columns > this.#rows.length) this.#grow();
    for (let i = 0; i < chunkIdBytes; i++) this.ids[this.count * chunkIdBytes + i] = id[at + i]!;
    const rows = this.#rows;
    const row = this.count * columns;
    rows[row] = from;
    rows[row + 1] = fromOff8;
    rows[row + 2] = to;
    rows[row + 3] = toOff8;
    rows[row + 4] = storedLen;
    rows[row + 5] = rawLen;
    rows[row + 6] = kind;
    this.count++;
  }

  /** The moves in the order of their ids; the caller's. */
  byId(): Uint32Array {
    return sortSlots(this.ids, chunkIdBytes, chunkIdBytes, this.count);
  }

  fromSegment(i: number): FileNo {
    return this.#rows[i * columns]!;
  }

  fromOff8(i: number): number {
    return this.#rows[i * columns + 1]!;
  }

  toSegment(i: number): FileNo {
    return this.#rows[i * columns + 2]!;
  }

  toOff8(i: number): number {
    return this.#rows[i * columns + 3]!;
  }

  storedLen(i: number): number {
    return this.#rows[i * columns + 4]!;
  }

  rawLen(i: number): number {
    return this.#rows[i * columns + 5]!;
  }

  kind(i: number): number {
    return this.#rows[i * columns + 6]!;
  }

  #grow(): void {
    const ids = new Uint8Array(this.ids.length * 2);
    ids.set(this.ids);
    this.ids = ids;
    const rows = new Uint32Array(this.#rows.length * 2);
    rows.set(this.#rows);
    this.#rows = rows;
  }
}
