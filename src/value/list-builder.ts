/**
 * Builds the tree of list nodes over a stream of chunks: level upon level until one node remains.
 *
 * Memory: one open node per level, at most 2,048 x 40 B each, ids and ends in typed arrays.
 *
 * Invariants (test/value/value-writer.test.ts)
 * - where nodes end depends on the ids alone, so an insert changes O(1) nodes per level
 *   (test: "inserting chunks into a long list changes a bounded number of nodes per level");
 * - no node stands above a single node (test: "a tree has the height its nodes need and no more").
 */
import { assert } from '../base/assert.ts';
import { invalid } from '../base/errors.ts';
import { listHeightMax, listNodeEntriesMax } from '../base/limits.ts';
import { type ChunkRef, chunkIdBytes } from '../format/chunk-ref.ts';
import { encodeListNode, endsListNode, type ListLimits, listLimits } from '../format/list-node.ts';

/** Where finished list nodes go. */
export interface NodeSink {
  /**
   * Stores one encoded node and says where. `bytes` is taken. Called again only after the last call settled.
   */
  storeNode(bytes: Uint8Array): Promise<ChunkRef> | ChunkRef;
}

/** The finished tree. */
export interface ListTree {
  readonly root: ChunkRef;
  /** Levels of list nodes. */
  readonly height: number;
}

const firstCapacity = 128;

/** The node being filled on one level. */
class OpenNode {
  readonly level: number;
  ids: Uint8Array = new Uint8Array(firstCapacity * chunkIdBytes);
  ends: Float64Array = new Float64Array(firstCapacity);
  count = 0;
  bytes = 0;
  leaves = 0;
  /** Nodes of this level that are finished. */
  emitted = 0;

  constructor(level: number) {
    this.level = level;
  }

  add(id: Uint8Array, idAt: number, bytes: number, leaves: number): void {
    if (this.count === this.ends.length) this.#grow();
    const to = this.count * chunkIdBytes;
    for (let i = 0; i < chunkIdBytes; i++) this.ids[to + i] = id[idAt + i]!;
    this.bytes += bytes;
    this.leaves += leaves;
    this.ends[this.count++] = this.bytes;
  }

  close(): Uint8Array {
    const node = encodeListNode(this.level, this.ids, this.ends, this.count, this.leaves);
    this.count = 0;
    this.bytes = 0;
    this.leaves = 0;
    this.emitted++;
    return node;
  }

  #grow(): void {
    const capacity = Math.min(this.ends.length * 4, listNodeEntriesMax);
    const ids = new Uint8Array(capacity * chunkIdBytes);
    ids.set(this.ids);
    const ends = new Float64Array(capacity);
    ends.set(this.ends);
    this.ids = ids;
    this.ends = ends;
  }
}

/** Collects children in order and stores each node as it ends. A failure of the sink ends its use. */
export class ListBuilder {
  readonly #sink: NodeSink;
  readonly #limits: ListLimits;
  readonly #levels: OpenNode[] = [];
  /** The node stored last on the highest level that has one. */
  #top: ChunkRef | undefined;
  #topLevel = -1;

  constructor(sink: NodeSink, limits: ListLimits = listLimits) {
    assert(limits.min >= 2 && limits.max >= limits.min, 'a list node has at least two children');
    assert(limits.max <= listNodeEntriesMax, 'a list node has at most 2048 children');
    this.#sink = sink;
    this.#limits = limits;
  }

  /**
   * Adds the data chunk with the id at id[idAt..idAt+32) (borrowed) and its length. A promise means that a
   * node is being stored: wait for it before the next call. VARVE_INVALID_ARGUMENT when the value outgrows
   * the greatest height.
   */
  add(id: Uint8Array, idAt: number, rawLen: number): void | Promise<void> {
    return this.#add(0, id, idAt, rawLen, 1);
  }

  /** Stores what is open and returns the root. At least one chunk was added. */
  async finish(): Promise<ListTree> {
    for (let level = 0; ; level++) {
      const open = this.#levels[level];
      assert(open !== undefined, 'a list has at least one child');
      const single = open.emitted === 0 && open.count === 1 && level > 0;
      if (single) break;
      const last = open.emitted === 0;
      if (open.count > 0) await this.#close(open);
      if (last) break;
    }
    assert(this.#top !== undefined, 'the root is stored');
    return { root: this.#top, height: this.#topLevel + 1 };
  }

  #add(level: number, id: Uint8Array, idAt: number, bytes: number, leaves: number): void | Promise<void> {
    const open = this.#open(level);
    open.add(id, idAt, bytes, leaves);
    if (endsListNode(id, idAt, open.count, this.#limits)) return this.#close(open);
  }

  #open(level: number): OpenNode {
    let open = this.#levels[level];
    if (open === undefined) {
      open = new OpenNode(level);
      this.#levels.push(open);
    }
    return open;
  }

  #close(open: OpenNode): void | Promise<void> {
    if (open.level >= listHeightMax)
      throw invalid('the value has more chunks than a tree of five levels holds');
    const { bytes, leaves } = open;
    const stored = this.#sink.storeNode(open.close());
    if (stored instanceof Promise) return stored.then((ref) => this.#stored(open.level, ref, bytes, leaves));
    return this.#stored(open.level, stored, bytes, leaves);
  }

  #stored(level: number, ref: ChunkRef, bytes: number, leaves: number): void | Promise<void> {
    if (level >= this.#topLevel) {
      this.#top = ref;
      this.#topLevel = level;
    }
    return this.#add(level + 1, ref.id, 0, bytes, leaves);
  }
}
