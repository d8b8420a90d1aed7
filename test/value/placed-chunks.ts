/** Chunks as frames in files in memory, in an order and with gaps that a seed says. */
import { fromHex, toHex } from '../../src/base/bytes.ts';
import type { Prng } from '../../src/base/prng.ts';
import { encodeChunkFrame, frameBytes } from '../../src/format/chunk-frame.ts';
import { type ChunkLocation, chunkKinds, codecs } from '../../src/format/chunk-ref.ts';
import type { PlacedSource } from '../../src/value/placed-leaves.ts';
import { turn } from '../engine/engine-kit.ts';
import { FakeChunks } from './fake-chunks.ts';

export interface Layout {
  /** Chances in a hundred that a chunk lies apart from the one before. */
  readonly apart?: number;
  /** That memory does not know the place, and that nobody does. */
  readonly unknown?: number;
  readonly lost?: number;
}

interface Placed {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

const segmentBytes = 400_000;

export class PlacedChunks extends FakeChunks implements PlacedSource {
  readonly files: Map<number, Uint8Array> = new Map();
  readonly places: Map<string, Placed> = new Map();
  readonly #unknown = new Set<string>();
  readonly #lost = new Set<string>();
  /** Chunks that were asked for one by one. */
  readonly alone: string[] = [];
  readonly lengths: number[] = [];
  bytesReading = 0;

  /** Writes the frame of every data chunk, in the order they were stored. */
  layOut(prng: Prng, { apart = 0, unknown = 0, lost = 0 }: Layout = {}): void {
    let segment = 10;
    let at = 64;
    for (const [name, bytes] of this.chunks) {
      if (this.kinds.get(name) !== chunkKinds.data) continue;
      if (prng.below(100) < apart) {
        if (prng.below(2) === 0) segment = 10 + prng.below(4);
        at = 64 + 8 * prng.below((segmentBytes - 64) / 8);
      }
      const next = frameBytes(bytes.length);
      const from = this.#free(segment, at, next) ? at : undefined;
      if (from === undefined) {
        segment = 10 + this.files.size + 4;
        at = 64;
      }
      const file = this.files.get(segment) ?? new Uint8Array(segmentBytes);
      this.files.set(segment, file);
      file.set(bytes, at + 64);
      encodeChunkFrame(file, at, fromHex(name), 0, bytes.length, bytes.length, chunkKinds.data, codecs.raw);
      this.places.set(name, { segment, offset: at, length: bytes.length });
      if (prng.below(100) < unknown) this.#unknown.add(name);
      if (prng.below(100) < lost) this.#lost.add(name);
      at += next;
    }
  }

  #free(segment: number, at: number, length: number): boolean {
    if (at + length > segmentBytes) return false;
    for (const place of this.places.values()) {
      if (place.segment !== segment) continue;
      if (at < place.offset + frameBytes(place.length) && place.offset < at + length) return false;
    }
    return true;
  }

  placeNow(ids: Uint8Array, at: number, out: ChunkLocation): boolean {
    const name = toHex(ids.subarray(at, at + 32));
    return !this.#unknown.has(name) && this.#find(name, out);
  }

  async place(id: Uint8Array, out: ChunkLocation): Promise<boolean> {
    await turn();
    return this.#find(toHex(id), out);
  }

  #find(name: string, out: ChunkLocation): boolean {
    const place = this.places.get(name);
    if (place === undefined || this.#lost.has(name)) return false;
    out.segment = place.segment;
    out.off8 = place.offset / 8;
    out.storedLen = place.length;
    out.rawLen = place.length;
    return true;
  }

  hasSegment(segment: number): boolean {
    return this.files.has(segment);
  }

  async readBytes(segment: number, offset: number, into: Uint8Array): Promise<number> {
    this.lengths.push(into.length);
    this.bytesReading += into.length;
    await turn();
    this.bytesReading -= into.length;
    const file = this.files.get(segment);
    if (file === undefined) return 0;
    const bytes = file.subarray(offset, offset + into.length);
    into.set(bytes);
    return bytes.length;
  }

  override async read(...args: Parameters<FakeChunks['read']>): Promise<Uint8Array> {
    if (args[2] === chunkKinds.data) this.alone.push(toHex(args[0]));
    return await super.read(...args);
  }

  /** The bytes of the chunk's frame, to be changed. */
  frameOf(name: string): Uint8Array {
    const { segment, offset, length } = this.places.get(name)!;
    return this.files.get(segment)!.subarray(offset, offset + frameBytes(length));
  }
}
