/**
 * The chunks of a range ahead of its reader, in order, with the places they lie at.
 *
 * Memory: `leavesMax` rows, and one list node per level.
 *
 * Invariants (test/value/bulk-reader.test.ts)
 * - what ends the walk is told behind the chunks before it ("damage ends a read behind the bytes before it").
 */
import type { FileNo } from '../base/brands.ts';
import { equalBytes } from '../base/bytes.ts';
import { type ChunkLocation, chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import type { ValueRecord } from '../format/value-record.ts';
import { sha256 } from '../kernels/hash/sha256.ts';
import { LeafColumns } from './leaf-columns.ts';
import { type ChunkSource, LeafWalker, steps } from './leaf-walker.ts';

/** Rows at most. */
const leavesMax = 1024;
/** Places that are looked for at the same time where memory does not know them. */
const lookupsMax = 64;

/** A source whose chunks lie as frames in files, and which says where. */
export interface PlacedSource extends ChunkSource {
  /** Where the chunk with the id at ids[at..at+32) lies, as far as memory tells; false: ask `place`. */
  placeNow(ids: Uint8Array, at: number, out: ChunkLocation): boolean;
  /** The same, reading what is needed; `id` is borrowed. False where nobody knows: `read` says why. */
  place(id: Uint8Array, out: ChunkLocation): Promise<boolean>;
  /** There is such a file. */
  hasSegment(segment: FileNo): boolean;
  /**
   * Bytes of the file from `offset` on, unchecked, into `into`: how many there were, 0 also where they
   * cannot be read, for which `read` says why.
   */
  readBytes(segment: FileNo, offset: number, into: Uint8Array): Promise<number>;
}

export class PlacedLeaves {
  /** The next chunks; whoever has dealt with some drops them with `drop`. */
  readonly leaves: LeafColumns = new LeafColumns();
  /** What comes behind the leaves, if it is damage. */
  failure: { readonly error: unknown } | undefined;
  readonly walker: LeafWalker;
  readonly #source: PlacedSource;
  readonly #verify: boolean;
  readonly #place: ChunkLocation = { segment: 0, off8: 0, storedLen: 0, rawLen: 0 };
  #bytes = 0;
  #done = false;

  /** Of bytes start .. end-1 of a list or tree record. `verify`: list nodes are held against their ids. */
  constructor(record: ValueRecord, start: number, end: number, source: PlacedSource, verify: boolean) {
    this.walker = new LeafWalker(record, start, end, source);
    this.#source = source;
    this.#verify = verify;
  }

  /** All chunks were found and dealt with, and no damage is left to be told. */
  get isOver(): boolean {
    return this.#done && this.leaves.count === 0 && this.failure === undefined;
  }

  /** Finds chunks until there are `bytes` bytes of them, as far as there is room. One call at a time. */
  async fill(bytes: number): Promise<void> {
    const { walker, leaves } = this;
    const lookups: Promise<void>[] = [];
    const hasRoom = (): boolean => leaves.count < leavesMax && lookups.length < lookupsMax;
    try {
      while (!this.#done && this.#bytes < bytes && hasRoom()) {
        const step = walker.step();
        if (step === steps.leaf) this.#add(lookups);
        else if (step === steps.node) walker.give(await this.#node(walker.id(), walker.hint));
        else this.#done = true;
      }
    } catch (error) {
      this.failure = { error };
      this.#done = true;
    }
    await Promise.all(lookups);
  }

  /** Takes the first `count` leaves away. */
  drop(count: number): void {
    for (let i = 0; i < count; i++) this.#bytes -= this.leaves.length[i]!;
    this.leaves.drop(count);
  }

  async #node(id: Uint8Array, hint: ChunkLocation | undefined): Promise<Uint8Array> {
    const bytes = await this.#source.read(id, hint, chunkKinds.list);
    if (this.#verify && !equalBytes(sha256(bytes), id)) throw await this.#source.mismatch(id, hint);
    return bytes;
  }

  #add(lookups: Promise<void>[]): void {
    const { walker, leaves } = this;
    const i = leaves.add();
    const length = walker.leafTo - walker.leafFrom;
    leaves.from[i] = walker.leafFrom;
    leaves.length[i] = length;
    walker.copyId(leaves.ids, i * chunkIdBytes);
    this.#bytes += length;
    const { hint } = walker;
    leaves.hinted[i] = hint === undefined ? 0 : 1;
    // A place of before may be out of date.
    if (hint !== undefined && this.#source.hasSegment(hint.segment)) this.#put(i, hint);
    else if (this.#source.placeNow(leaves.ids, i * chunkIdBytes, this.#place)) this.#put(i, this.#place);
    else lookups.push(this.#find(i));
  }

  async #find(i: number): Promise<void> {
    const place: ChunkLocation = { segment: 0, off8: 0, storedLen: 0, rawLen: 0 };
    const isKnown = await this.#source.place(this.leaves.id(i).slice(), place);
    if (isKnown) this.#put(i, place);
    else this.leaves.segment[i] = 0;
  }

  #put(i: number, { segment, off8, storedLen }: ChunkLocation): void {
    // Another length is damage, or a form of chunk that is not read in runs.
    this.leaves.segment[i] = storedLen === this.leaves.length[i] ? segment : 0;
    this.leaves.off8[i] = off8;
  }
}
