/** Chunks in memory, with a record of how they were asked for. */
import { toHex } from '../../src/base/bytes.ts';
import { VarveError } from '../../src/base/errors.ts';
import type { Prng } from '../../src/base/prng.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { type ChunkKind, type ChunkLocation, type ChunkRef, chunkKinds } from '../../src/format/chunk-ref.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { parseValueRecord, type ValueRecord, writeValueRecord } from '../../src/format/value-record.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import type { ChunkSource } from '../../src/value/leaf-walker.ts';
import { type BuilderLimits, type ValueBody, ValueBuilder } from '../../src/value/value-writer.ts';

export class FakeChunks implements ChunkSource {
  readonly chunks: Map<string, Uint8Array> = new Map();
  readonly kinds: Map<string, ChunkKind> = new Map();
  reads = 0;
  underWay = 0;
  bytesUnderWay = 0;
  underWayMax = 0;
  bytesUnderWayMax = 0;
  hints: (ChunkLocation | undefined)[] = [];

  put(bytes: Uint8Array, kind: ChunkKind): ChunkRef {
    const id = sha256(bytes);
    this.chunks.set(toHex(id), bytes);
    this.kinds.set(toHex(id), kind);
    return { id, segment: 1, off8: this.chunks.size, storedLen: bytes.length, rawLen: bytes.length };
  }

  storeNode(bytes: Uint8Array): ChunkRef {
    return this.put(bytes, chunkKinds.list);
  }

  get nodes(): string[] {
    return [...this.kinds].filter(([, kind]) => kind === chunkKinds.list).map(([id]) => id);
  }

  readSync(id: Uint8Array, hint: ChunkLocation | undefined, kind: ChunkKind): Uint8Array {
    this.reads++;
    this.hints.push(hint);
    const found = this.chunks.get(toHex(id));
    if (found === undefined || this.kinds.get(toHex(id)) !== kind)
      throw new VarveError('VARVE_CORRUPT', `no chunk ${toHex(id)} of kind ${kind}`);
    return found;
  }

  async mismatch(id: Uint8Array): Promise<VarveError> {
    return new VarveError('VARVE_CORRUPT', `chunk ${toHex(id)} has other bytes`);
  }

  async read(id: Uint8Array, hint: ChunkLocation | undefined, kind: ChunkKind): Promise<Uint8Array> {
    const length = this.chunks.get(toHex(id))?.length ?? 0;
    if (kind === chunkKinds.data) {
      this.underWayMax = Math.max(this.underWayMax, ++this.underWay);
      this.bytesUnderWay += length;
      this.bytesUnderWayMax = Math.max(this.bytesUnderWayMax, this.bytesUnderWay);
    }
    for (let i = 0; i < 3; i++) await Promise.resolve();
    if (kind === chunkKinds.data) {
      this.underWay--;
      this.bytesUnderWay -= length;
    }
    return this.readSync(id, hint, kind);
  }
}

/** Stores `pieces` as the chunks of one value. */
export async function buildValue(
  store: FakeChunks,
  pieces: readonly Uint8Array[],
  limits?: BuilderLimits,
): Promise<ValueBody> {
  const builder = new ValueBuilder(store, limits);
  for (const piece of pieces) {
    const ref = store.put(piece, chunkKinds.data);
    await builder.addChunk(ref.id, 0, ref.segment, ref.off8, ref.storedLen, ref.rawLen);
  }
  return builder.finish();
}

export function recordOf(body: ValueBody): ValueRecord {
  const w = new ByteWriter();
  writeValueRecord(w, { kind: rowKinds.put, timeMs: 1, body });
  return parseValueRecord(w.bytes, 0, w.pos, { file: 'record' });
}

export function randomPieces(prng: Prng, count: number, lengthMax: number): Uint8Array[] {
  return Array.from({ length: count }, () => prng.bytes(1 + prng.below(lengthMax)));
}

/** Small trees of many levels. */
export const smallLimits: BuilderLimits = { direct: 2, min: 2, max: 6, modulus: 3 };
