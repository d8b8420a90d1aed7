/**
 * Chunks in the order in which they are about to be moved, with what a lookup would say of each, by a caller
 * who knows: their places were found by a scan of the whole tree.
 */
import { chunkIdBytes } from '../format/chunk-ref.ts';

export class ToldChunks {
  readonly #ids: Uint8Array;
  readonly #entries: { readonly at: number; readonly rawLen: number; readonly kind: number }[] = [];
  #next = 0;

  /** `ids` has the ids of all chunks that are told of (borrowed). */
  constructor(ids: Uint8Array) {
    this.#ids = ids;
  }

  /** The chunk with the id at `at` comes next. */
  add(at: number, rawLen: number, kind: number): void {
    this.#entries.push({ at, rawLen, kind });
  }

  /** What was told of this id when its turn has come, which is then over; else undefined. */
  next(id: Uint8Array, idAt: number): { readonly rawLen: number; readonly kind: number } | undefined {
    const entry = this.#entries[this.#next];
    if (entry === undefined) return undefined;
    for (let i = 0; i < chunkIdBytes; i++) if (id[idAt + i] !== this.#ids[entry.at + i]) return undefined;
    this.#next++;
    return entry;
  }
}
