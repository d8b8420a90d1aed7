/**
 * Finds the chunks of a range of a value, in order, one code path for synchronous and asynchronous reads:
 * `step` says what comes next, and where a list node is missing the caller reads it and `give`s it.
 *
 * Memory: one list node per level.
 *
 * Invariants (test/value/value-reader.test.ts)
 * - every node has the level and the bytes its parent says, and the leaves of siblings add up to their
 *   parent's where all of them are visited (test: "a node that does not fit its parent is damage").
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { corrupt, type Place, type VarveError } from '../base/errors.ts';
import { type ChunkKind, type ChunkLocation, chunkIdBytes } from '../format/chunk-ref.ts';
import { type ListNode, parseListNode } from '../format/list-node.ts';
import { recordForms, refHint, refIdAt, refRawLen, type ValueRecord } from '../format/value-record.ts';

/** Where chunks come from. The source checks frame and id; what it returns is borrowed and never changed. */
export interface ChunkSource {
  /**
   * Bytes of a chunk. `id` is borrowed until the promise settles; `hint` is the place it was last seen at.
   */
  read(id: Uint8Array, hint: ChunkLocation | undefined, kind: ChunkKind): Promise<Uint8Array>;
  readSync(id: Uint8Array, hint: ChunkLocation | undefined, kind: ChunkKind): Uint8Array;
  /**
   * The id, 32 bytes, and behind it the bytes of a chunk that `keep` was given, if they are still there; the
   * id is at buf[idAt] and the place it was last seen at is given.
   */
  cached?(buf: Uint8Array, idAt: number, segment: FileNo, off8: number): Uint8Array | undefined;
  /** Offers a chunk of a small value for keeping, as the source gave it out; the rest is borrowed. */
  keep?(id: Uint8Array, hint: ChunkLocation | undefined, bytes: Uint8Array): void;
  /** Notes that a chunk's bytes are not its id's; the error to throw. Both arguments are borrowed. */
  mismatch(id: Uint8Array, hint: ChunkLocation | undefined): Promise<VarveError>;
  /** Where the chunk lies, for messages about damage. */
  placeOf?(id: Uint8Array): Place | undefined;
}

/** What `step` found. */
export const steps = { end: 0, leaf: 1, node: 2 } as const;
export type WalkStep = (typeof steps)[keyof typeof steps];

/** A node on the way from the root to the current chunk. */
interface Level {
  readonly node: ListNode;
  readonly place: Place;
  /** Offset of the node's first byte in the value. */
  readonly base: number;
  /** First child visited. */
  readonly first: number;
  /** Next child to visit. */
  next: number;
  /** Leaves of the children visited. */
  leaves: number;
}

export class LeafWalker {
  readonly #record: ValueRecord;
  readonly #source: ChunkSource;
  readonly #end: number;
  /** Offset in the value from which chunks are still to be found. */
  #at: number;
  /** Offset of the next reference of a list record, and its index. */
  #refAt = 0;
  #ref = 0;
  readonly #path: Level[] = [];
  #rootGiven = false;
  #idBuf: Uint8Array;
  #idAt = 0;

  /** After `leaf`: where the chunk lies in the value. */
  leafFrom = 0;
  leafTo = 0;
  /** After `leaf` or `node`: the place the chunk was last seen at. */
  hint: ChunkLocation | undefined;

  /** Walks bytes start .. end-1 of a list or tree record; end is at most its size. */
  constructor(record: ValueRecord, start: number, end: number, source: ChunkSource) {
    this.#record = record;
    this.#source = source;
    this.#at = start;
    this.#end = end;
    this.#idBuf = record.buf;
  }

  /**
   * Id of the chunk the last `leaf` or `node` is about: a view, valid as long as the record and its nodes.
   */
  id(): Uint8Array {
    return this.#idBuf.subarray(this.#idAt, this.#idAt + chunkIdBytes);
  }

  /** Copies that id to out[at..at+32). */
  copyId(out: Uint8Array, at: number): void {
    const from = this.#idAt;
    for (let i = 0; i < chunkIdBytes; i++) out[at + i] = this.#idBuf[from + i]!;
  }

  /** Moves to the next chunk of the range. After `node`, `give` comes first. */
  step(): WalkStep {
    return this.#record.form === recordForms.list ? this.#stepList() : this.#stepTree();
  }

  #stepList(): WalkStep {
    const record = this.#record;
    while (this.#at < this.#end) {
      const i = this.#ref++;
      const from = this.#refAt;
      const to = from + refRawLen(record, i);
      this.#refAt = to;
      if (to <= this.#at) continue;
      this.hint = refHint(record, i);
      this.#idAt = refIdAt(record, i);
      return this.#leaf(from, to);
    }
    return steps.end;
  }

  #stepTree(): WalkStep {
    if (this.#at >= this.#end && !this.#rootGiven) return steps.end;
    if (!this.#rootGiven) {
      this.#idAt = refIdAt(this.#record, 0);
      this.hint = refHint(this.#record, 0);
      return steps.node;
    }
    this.#leaveFinished();
    const top = this.#path.at(-1);
    if (top === undefined || this.#at >= this.#end) return steps.end;
    const { node, base } = top;
    const i = top.next;
    this.#idBuf = node.bytes;
    this.#idAt = node.childIdAt(i);
    this.hint = undefined;
    if (node.level > 0) return steps.node;
    top.next++;
    return this.#leaf(base + node.childStart(i), base + node.childEnd(i));
  }

  #leaf(from: number, to: number): WalkStep {
    this.leafFrom = from;
    this.leafTo = to;
    this.#at = to;
    return steps.leaf;
  }

  /** Goes up from nodes whose children have all been visited. */
  #leaveFinished(): void {
    for (let top = this.#path.at(-1); top !== undefined; top = this.#path.at(-1)) {
      const { node } = top;
      if (top.next < node.count) return;
      if (node.level > 0 && top.first === 0 && top.leaves !== node.totalLeaves)
        throw corrupt('list node has leaves that do not add up', top.place, node.totalLeaves, top.leaves);
      this.#path.pop();
    }
  }

  /** Takes the node the last step asked for; `bytes` is borrowed for the rest of the walk. */
  give(bytes: Uint8Array): void {
    const id = this.id();
    const place = this.#placeOf(id);
    const record = this.#record;
    const parent = this.#path.at(-1);
    const node = parseListNode(bytes, place);
    let base = 0;
    if (parent === undefined) {
      assert(!this.#rootGiven, 'a walk has one root');
      if (bytes.length !== refRawLen(record, 0))
        throw corrupt('root node has another length', place, refRawLen(record, 0), bytes.length);
      if (node.totalLeaves !== record.chunks)
        throw corrupt('root node has another leaf count', place, record.chunks, node.totalLeaves);
      this.#fits(node, record.height - 1, record.size, place);
      this.#rootGiven = true;
    } else {
      const i = parent.next++;
      const start = parent.node.childStart(i);
      this.#fits(node, parent.node.level - 1, parent.node.childEnd(i) - start, place);
      base = parent.base + start;
      parent.leaves += node.totalLeaves;
      if (parent.leaves > parent.node.totalLeaves)
        throw corrupt('list node has more leaves than its parent', place);
    }
    const first = node.childAt(Math.max(0, this.#at - base));
    this.#path.push({ node, place, base, first, next: first, leaves: 0 });
  }

  #fits(node: ListNode, level: number, bytes: number, place: Place): void {
    if (node.level !== level) throw corrupt('list node is of another level', place, level, node.level);
    if (node.totalBytes !== bytes)
      throw corrupt('list node has another size than its parent says', place, bytes, node.totalBytes);
  }

  /** VARVE_CORRUPT unless the chunk has the length its place in the value gives it. */
  checkLeaf(id: Uint8Array, chunk: Uint8Array, length: number): void {
    if (chunk.length !== length)
      throw corrupt(
        'chunk has another length than its place in the value',
        this.#placeOf(id),
        length,
        chunk.length,
      );
  }

  #placeOf(id: Uint8Array): Place {
    return this.#source.placeOf?.(id) ?? { file: `chunk ${toHex(id)}` };
  }
}
