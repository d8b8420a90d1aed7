/**
 * Turns the chunks of a value, in order, into the body of its record: up to 16 references directly, beyond
 * that a tree of list nodes.
 *
 * Digests (content addresses): SHA-256 of the bytes for an inline value and for a single chunk, the id of the
 * list node its references would make for 2 to 16 chunks, the id of the root beyond. Equal bytes cut with
 * equal parameters have equal digests.
 *
 * Invariants (test/value/value-writer.test.ts)
 * - no object per chunk; at most 16 references and one open node per level are in memory;
 * - the body does not depend on what the sink does asynchronously
 *   (test: "a sink that answers later gives the same tree").
 */
import { assert } from '../base/assert.ts';
import { emptyBytes } from '../base/bytes.ts';
import { directChunksMax } from '../base/limits.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { chunkRefBytes, chunkRefRawLen, writeChunkRef } from '../format/chunk-ref-bytes.ts';
import { encodeListNode, type ListLimits, listLimits } from '../format/list-node.ts';
import { type RecordBody, recordForms, type ValueRecord } from '../format/value-record.ts';
import { sha256 } from '../kernels/hash/sha256.ts';
import { ListBuilder, type NodeSink } from './list-builder.ts';

/** What a value consists of: the body of its record, its data chunks (0 = inline) and its 32-byte digest. */
export type ValueBody = RecordBody & { readonly chunks: number; readonly digest: Uint8Array };

/** Body of a value that is kept in its record. `bytes` is taken. */
export function inlineBody(bytes: Uint8Array): ValueBody {
  return { form: recordForms.inline, size: bytes.length, bytes, chunks: 0, digest: sha256(bytes) };
}

/** Body of a value of `size` bytes that is 1 to 16 chunks. `refs`: their encoded references (taken). */
export function listBody(refs: Uint8Array, size: number): ValueBody {
  const chunks = refs.length / chunkRefBytes;
  return { form: recordForms.list, size, refs, chunks, digest: listDigest(refs, 0, chunks) };
}

/** Limits of a value's shape; others than the defaults serve tests only. */
export interface BuilderLimits extends ListLimits {
  /** References held directly, at most 16. */
  readonly direct: number;
}

const builderLimits: BuilderLimits = { ...listLimits, direct: directChunksMax };

/** Collects the chunks of one value. One call at a time; after a failure nothing may be called. */
export class ValueBuilder {
  readonly #limits: BuilderLimits;
  readonly #list: ListBuilder;
  #refs: Uint8Array = new Uint8Array(chunkRefBytes);
  #chunks = 0;
  #size = 0;
  #busy = false;

  constructor(sink: NodeSink, limits: BuilderLimits = builderLimits) {
    assert(limits.direct >= 1 && limits.direct <= directChunksMax, 'at most 16 chunks are held directly');
    this.#limits = limits;
    this.#list = new ListBuilder(sink, limits);
  }

  /** Bytes of the value so far. */
  get size(): number {
    return this.#size;
  }

  /** Chunks so far. */
  get chunks(): number {
    return this.#chunks;
  }

  /**
   * Adds the chunk with the id at id[idAt..idAt+32) (borrowed for the call) and where it lies. A promise
   * means that a list node is being stored: wait for it before the next call.
   */
  addChunk(
    id: Uint8Array,
    idAt: number,
    segment: number,
    off8: number,
    storedLen: number,
    rawLen: number,
  ): void | Promise<void> {
    assert(!this.#busy, 'one call of a value builder at a time');
    assert(rawLen > 0, 'a chunk has bytes');
    const n = this.#chunks++;
    this.#size += rawLen;
    if (n < this.#limits.direct) {
      const at = n * chunkRefBytes;
      if (at === this.#refs.length) this.#growRefs();
      writeChunkRef(this.#refs, at, id, idAt, { segment, off8, storedLen, rawLen });
      return;
    }
    const listed =
      n === this.#limits.direct ? this.#listAll(id, idAt, rawLen) : this.#list.add(id, idAt, rawLen);
    if (listed !== undefined) return this.#wait(listed);
  }

  /**
   * Ends the value: stores the nodes that are open and returns its body. A value without chunks is empty,
   * inline.
   */
  async finish(): Promise<ValueBody> {
    assert(!this.#busy, 'one call of a value builder at a time');
    this.#busy = true;
    const chunks = this.#chunks;
    const size = this.#size;
    if (chunks === 0) return inlineBody(emptyBytes);
    if (chunks <= this.#limits.direct) return listBody(this.#refs.slice(0, chunks * chunkRefBytes), size);
    const { root, height } = await this.#list.finish();
    return {
      form: recordForms.tree,
      size,
      root,
      height,
      leafCount: chunks,
      chunks,
      digest: root.id.slice(0, chunkIdBytes),
    };
  }

  #growRefs(): void {
    const grown = new Uint8Array(Math.min(this.#refs.length * 4, this.#limits.direct * chunkRefBytes));
    grown.set(this.#refs);
    this.#refs = grown;
  }

  /** Moves the direct references into the list, then the chunk that did not fit. */
  #listAll(id: Uint8Array, idAt: number, rawLen: number): void | Promise<void> {
    const refs = this.#refs;
    const own = id.slice(idAt, idAt + chunkIdBytes);
    const from = (i: number): void | Promise<void> => {
      for (; i < this.#limits.direct; i++) {
        const at = i * chunkRefBytes;
        const listed = this.#list.add(refs, at, chunkRefRawLen(refs, at));
        if (listed !== undefined) return listed.then(() => from(i + 1));
      }
      return this.#list.add(own, 0, rawLen);
    };
    return from(0);
  }

  async #wait(listed: Promise<void>): Promise<void> {
    this.#busy = true;
    await listed;
    this.#busy = false;
  }
}

/** The 32-byte digest of a parsed PUT record's value, a fresh array. Reads nothing but the record. */
export function recordDigest(record: ValueRecord): Uint8Array {
  const { buf, bodyFrom, form } = record;
  if (form === recordForms.inline) return sha256(buf.subarray(bodyFrom, bodyFrom + record.size));
  if (form === recordForms.tree) return buf.slice(bodyFrom, bodyFrom + chunkIdBytes);
  return listDigest(buf, bodyFrom, record.chunks);
}

/** Digest of `count` encoded references from `from` on. */
function listDigest(refs: Uint8Array, from: number, count: number): Uint8Array {
  if (count === 1) return refs.slice(from, from + chunkIdBytes);
  const ids = new Uint8Array(count * chunkIdBytes);
  const ends = new Float64Array(count);
  let end = 0;
  for (let i = 0; i < count; i++) {
    const at = from + i * chunkRefBytes;
    ids.set(refs.subarray(at, at + chunkIdBytes), i * chunkIdBytes);
    end += chunkRefRawLen(refs, at);
    ends[i] = end;
  }
  return sha256(encodeListNode(0, ids, ends, count, count));
}
