/**
 * A value of a few chunks that is in memory as a whole: cut, hashed, looked up and stored in one synchronous
 * section, from the caller's bytes, so that nothing is copied twice and no window is held while others run.
 * Where its transaction is not sequenced in the same turn, the chunks it relies on are claimed until then.
 *
 * Invariants (test/value/whole-ingest.test.ts):
 * - the value is stored as ValueIngest stores it ("a whole value is stored like the same value as a stream");
 * - what has to wait is refused before anything is stored ("nothing is stored when a lane has no segment to
 *   append to");
 * - a value that is there needs no segment ("a value that is there needs no lane");
 * - what is found or stored is claimed for who gives claims ("a whole value that waits claims what it relies
 *   on").
 */

import { assert } from '../base/assert.ts';
import { directChunksMax, KiB } from '../base/limits.ts';
import { Births } from '../chunk/births.ts';
import { type ChunkStore, type Found, found, newLocation } from '../chunk/chunk-store.ts';
import type { PutClaims } from '../chunk/put-guard.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { chunkRefBytes, writeChunkRef } from '../format/chunk-ref-bytes.ts';
import type { ChunkerPool } from '../kernels/chunker/chunker.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import type { NamedFile } from '../log/group-end.ts';
import type { SegmentWriter } from '../segment/segment-writer.ts';
import { ChunkHit } from '../tree/chunk-table-reader.ts';
import type { NamedChunks } from './value-ingest.ts';
import { listBody, type ValueBody } from './value-writer.ts';

/** Larger values would hold the thread for too long. */
const wholeBytesMax = 256 * KiB;

const hitColumns = 5;

/** A value whose chunks are stored; `named` goes into the transaction that makes it visible. */
export interface WholeValue {
  readonly body: ValueBody;
  readonly named: NamedChunks;
  readonly newChunks: number;
  readonly newBytes: number;
}

export class WholeIngest {
  readonly #store: ChunkStore;
  readonly #chunkers: ChunkerPool;
  /** Values up to this many bytes have at most 16 chunks. */
  readonly bytesMax: number;
  readonly #ids = new Uint8Array(directChunksMax * chunkIdBytes);
  readonly #ends = new Uint32Array(directChunksMax);
  /** What the lookup of each chunk said: `found`, segment, off8, storedLen, rawLen. */
  readonly #hits = new Uint32Array(directChunksMax * hitColumns);
  readonly #row = new ChunkHit();
  readonly #place = newLocation();

  constructor(store: ChunkStore, chunkers: ChunkerPool) {
    this.#store = store;
    this.#chunkers = chunkers;
    this.bytesMax = Math.min(wholeBytesMax, chunkers.params.min * directChunksMax);
  }

  /**
   * Stores the chunks of `bytes` (borrowed for the call), 1 to `bytesMax` of them. Undefined, with nothing
   * stored, when it would have to wait: for a block, a segment or a slow disk. `claims` are needed unless the
   * transaction that names the value is sequenced in this turn. Errors as ChunkStore.append.
   */
  take(bytes: Uint8Array, claims?: PutClaims): WholeValue | undefined {
    const { lanes } = this.#store;
    const lane = lanes.acquireData();
    lanes.releaseData(lane);
    const writer = lanes.current(lane);
    if (writer === undefined && lanes.isFull(lane)) return undefined;
    const count = this.#cut(bytes);
    for (let i = 0, from = 0; i < count; i++) {
      const to = this.#ends[i]!;
      sha256Into(bytes, from, to, this.#ids, i * chunkIdBytes);
      const how = this.#store.findNow(this.#ids, i * chunkIdBytes, this.#row, this.#place);
      if (how === undefined || (how === found.absent && writer === undefined)) return undefined;
      this.#note(i, how);
      from = to;
    }
    return this.#storeAll(writer, bytes, count, claims);
  }

  #note(i: number, how: Found): void {
    const { segment, off8, storedLen, rawLen } = this.#place;
    this.#hits.set([how, segment, off8, storedLen, rawLen], i * hitColumns);
  }

  /** What was found of chunk `i`, or has been stored since: by this very value. Fills the place. */
  #foundOf(i: number): Found {
    const at = i * hitColumns;
    const how = this.#hits[at] as Found;
    if (how === found.absent) return this.#store.findNew(this.#ids, i * chunkIdBytes, this.#row, this.#place);
    this.#place.segment = this.#hits[at + 1]!;
    this.#place.off8 = this.#hits[at + 2]!;
    this.#place.storedLen = this.#hits[at + 3]!;
    this.#place.rawLen = this.#hits[at + 4]!;
    return how;
  }

  /** Fills `#ends`; returns the number of chunks. */
  #cut(bytes: Uint8Array): number {
    if (bytes.length <= this.#chunkers.params.min) {
      this.#ends[0] = bytes.length;
      return 1;
    }
    const chunker = this.#chunkers.open();
    let count = 0;
    let end = 0;
    for (let taken = 0; end < bytes.length; ) {
      taken += chunker.write(bytes, taken);
      const atEnd = taken === bytes.length;
      for (let length = chunker.next(atEnd); length > 0; length = chunker.next(atEnd)) {
        end += length;
        this.#ends[count++] = end;
        chunker.consume();
      }
    }
    chunker.release();
    return count;
  }

  /** `writer`: undefined where nothing is to be stored. */
  #storeAll(
    writer: SegmentWriter | undefined,
    bytes: Uint8Array,
    count: number,
    claims: PutClaims | undefined,
  ): WholeValue {
    const store = this.#store;
    const births = new Births();
    const files = new Set<NamedFile>();
    const refs = new Uint8Array(count * chunkRefBytes);
    const place = this.#place;
    let newChunks = 0;
    let newBytes = 0;
    for (let i = 0, from = 0; i < count; i++) {
      const to = this.#ends[i]!;
      const at = i * chunkIdBytes;
      const how = this.#foundOf(i);
      if (how === found.entry) claims?.entry(this.#ids, at);
      else if (how === found.frame) {
        claims?.frame(place.segment);
        births.add(this.#ids, at, place, chunkKinds.data, true);
        const holder = store.lanes.writerOf(place.segment);
        if (holder !== undefined) files.add(holder);
      } else {
        assert(writer !== undefined, 'what is not there has a segment to go to');
        claims?.frame(writer.no);
        store.append(writer, this.#ids, at, bytes, from, to, chunkKinds.data, place);
        births.add(this.#ids, at, place, chunkKinds.data, false);
        files.add(writer);
        newChunks++;
        newBytes += to - from;
      }
      writeChunkRef(refs, i * chunkRefBytes, this.#ids, at, place);
      from = to;
    }
    const named = { births, nodes: new Map<string, Uint8Array>(), files };
    return { body: listBody(refs, bytes.length), named, newChunks, newBytes };
  }
}
