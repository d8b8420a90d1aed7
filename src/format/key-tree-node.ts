/**
 * Nodes of a backup's key tree: META chunks, named by the SHA-256 of their bytes.
 *
 *   head 24 B
 *   leaf       count x { varint shared, varint unshared, rest of the key, varint seq, varint length, record }
 *   interior   count x { varint shared, varint unshared, rest of the child's last key, child id 32,
 *                        varint rows below, varint bytes below }
 *
 * A key is one byte for the tree (0 system rows, 1 keys), then the row prefix of that tree. `shared` counts
 * the bytes taken from the key before, as many as there are: one encoding only. Records of keys are canonical
 * value records; those of system rows are the value as it was put.
 */
import { assert } from '../base/assert.ts';
import { corrupt, type Place, type VarveError } from '../base/errors.ts';
import { inlineBytesMax, integerMax, KiB, metadataBytesMax } from '../base/limits.ts';
import { ByteReader } from '../codec/byte-reader.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { decodeLayout, defineLayout, encodeLayout, f } from '../codec/layout.ts';
import { parseCanonicalRecord } from './canonical-record.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { newerFormat } from './format-ladder.ts';
import { rowPrefixBytesMax } from './internal-key.ts';
import { keyTreeEntryOverhead } from './key-tree-boundary.ts';
import { recordSize, type ValueRecord } from './value-record.ts';

export const keyTreeNodeVersion = 1;

/** 'KT' as u16. */
export const keyTreeNodeMagic = 0x544b;

/** First byte of a key in the tree. Never changed, never reused. */
export const keyTreeTags = { system: 0, keys: 1 } as const;

/** Levels a tree may have: two entries a node, 2^53 rows. */
export const keyTreeHeightMax = 53;

/** Longest node: one that grew to just below its greatest size, and the longest entry. */
export const keyTreeNodeBytesMax: number = 768 * KiB;
const keyBytesMax = 1 + rowPrefixBytesMax;
const recordBytesMax = inlineBytesMax + metadataBytesMax + 2 * KiB;

export const keyTreeHead = defineLayout('keytreenode', 'key tree node head', 24, {
  magic: f(0, 'u16', "'KT'. guards: another chunk in place of a node"),
  version: f(2, 'u8', '1. guards: newer format'),
  level: f(3, 'u8', '0 = leaf. guards: a node of another level'),
  count: f(4, 'u32', 'entries of this node, at least 1'),
  rows: f(8, 'u64', 'rows below. guards: a child list that does not add up'),
  bytes: f(16, 'u64', 'bytes of the values below'),
});

/** Collects the entries of one node. Keys come in rising order (trusted, our own). */
export class KeyTreeNodeBuilder {
  readonly level: number;
  /** Bytes that decide where the node ends, see key-tree-boundary.ts. */
  size = 0;
  count = 0;
  rows = 0;
  bytes = 0;
  /** The last key: lastKey[0..lastKeyBytes). */
  lastKey: Uint8Array = new Uint8Array(256);
  lastKeyBytes = 0;
  readonly #out = new ByteWriter(4 * KiB);

  constructor(level: number) {
    this.level = level;
    this.#out.pos = keyTreeHead.size;
  }

  /** Adds a row to a leaf; `bytes`: of its value. Copies everything. */
  addRow(
    key: Uint8Array,
    from: number,
    to: number,
    seq: number,
    record: Uint8Array,
    recordFrom: number,
    recordTo: number,
    bytes: number,
  ): void {
    assert(this.level === 0, 'rows are in leaves');
    this.#addKey(key, from, to);
    this.#out.varint(seq);
    this.#out.varint(recordTo - recordFrom);
    this.#out.raw(record.subarray(recordFrom, recordTo));
    this.#added(to - from + recordTo - recordFrom, 1, bytes);
  }

  /** Adds a child to an interior node. */
  addChild(
    key: Uint8Array,
    from: number,
    to: number,
    id: Uint8Array,
    idAt: number,
    rows: number,
    bytes: number,
  ): void {
    assert(this.level > 0, 'children are in interior nodes');
    this.#addKey(key, from, to);
    this.#out.raw(id.subarray(idAt, idAt + chunkIdBytes));
    this.#out.varint(rows);
    this.#out.varint(bytes);
    this.#added(to - from + chunkIdBytes, rows, bytes);
  }

  /** The node, a fresh array; the builder is empty then and keeps its last key. */
  finish(): Uint8Array {
    assert(this.count > 0, 'a node has entries');
    const { level, count, rows, bytes } = this;
    const head = { magic: keyTreeNodeMagic, version: keyTreeNodeVersion, level, count, rows, bytes };
    encodeLayout(keyTreeHead, head, this.#out.bytes, 0);
    const node = this.#out.take();
    assert(node.length <= keyTreeNodeBytesMax, 'a node keeps its bound');
    this.#out.pos = keyTreeHead.size;
    this.size = 0;
    this.count = 0;
    this.rows = 0;
    this.bytes = 0;
    return node;
  }

  #addKey(key: Uint8Array, from: number, to: number): void {
    const length = to - from;
    let shared = 0;
    if (this.count > 0) {
      const most = Math.min(length, this.lastKeyBytes);
      while (shared < most && key[from + shared] === this.lastKey[shared]) shared++;
    }
    this.#out.varint(shared);
    this.#out.varint(length - shared);
    this.#out.raw(key.subarray(from + shared, to));
    if (length > this.lastKey.length) this.lastKey = new Uint8Array(2 * length);
    this.lastKey.set(key.subarray(from, to));
    this.lastKeyBytes = length;
  }

  #added(size: number, rows: number, bytes: number): void {
    this.size += size + keyTreeEntryOverhead;
    this.count++;
    this.rows += rows;
    this.bytes += bytes;
  }
}

/**
 * Reads a node front to back. Everything is checked as it is met, sums with the last entry: call `next` until
 * it is false before relying on the whole. VARVE_CORRUPT with file and offset, VARVE_FORMAT_VERSION on a
 * newer version. Borrows the bytes.
 */
export class KeyTreeNode {
  readonly buf: Uint8Array;
  readonly level: number;
  readonly count: number;
  readonly rows: number;
  readonly bytes: number;
  /** After `next`: the key is key[0..keyBytes), changed by the next call. */
  key: Uint8Array = new Uint8Array(256);
  keyBytes = 0;
  /** Leaf: number of the row's commit, and where its record lies in `buf`. */
  seq = 0;
  recordFrom = 0;
  recordTo = 0;
  /** Leaf, rows of keys only: the record. */
  record: ValueRecord | undefined;
  /** Interior: where the child's id starts in `buf`, and what is below it. */
  idAt = 0;
  childRows = 0;
  childBytes = 0;
  readonly #r: ByteReader;
  readonly #place: Place;
  #entries = 0;
  #rowsSeen = 0;
  #bytesSeen = 0;

  constructor(buf: Uint8Array, place: Place) {
    const head = decodeLayout(keyTreeHead, buf, 0, place);
    this.#place = place;
    this.#r = new ByteReader(buf, place, keyTreeHead.size);
    this.buf = buf;
    if (head.magic !== keyTreeNodeMagic) throw this.#fail('key tree node has a wrong magic');
    if (head.version !== keyTreeNodeVersion)
      throw newerFormat(`key tree node of version ${head.version} is not known to this build`, place);
    if (head.level >= keyTreeHeightMax) throw this.#fail('key tree node has a level out of range');
    if (head.count === 0 || buf.length > keyTreeNodeBytesMax)
      throw this.#fail('key tree node has a size out of range');
    this.level = head.level;
    this.count = head.count;
    this.rows = head.rows;
    this.bytes = head.bytes;
  }

  /** True: stands on the next entry. False after the last one; then the whole node is as it must be. */
  next(): boolean {
    if (this.#entries === this.count) {
      this.#r.finish();
      if (this.#rowsSeen !== this.rows || this.#bytesSeen !== this.bytes)
        throw this.#fail('key tree node does not add up to its totals');
      return false;
    }
    this.#entries++;
    this.#nextKey();
    const r = this.#r;
    if (this.level > 0) {
      this.idAt = r.pos;
      r.view(chunkIdBytes);
      this.childRows = r.varint();
      this.childBytes = r.varint();
      if (this.childRows === 0) throw this.#fail('child of a key tree node is empty');
      this.#add(this.childRows, this.childBytes);
      return true;
    }
    this.seq = r.varint();
    const length = r.varint();
    if (length > recordBytesMax) throw this.#fail('record of a key tree node exceeds its bound');
    this.recordFrom = r.pos;
    r.view(length);
    this.recordTo = r.pos;
    this.record = undefined;
    if (this.key[0] === keyTreeTags.keys) {
      this.record = parseCanonicalRecord(this.buf, this.recordFrom, this.recordTo, this.#place);
      this.#add(1, recordSize(this.buf, this.recordFrom));
    } else if (this.key[0] === keyTreeTags.system) this.#add(1, 0);
    else throw this.#fail('key of a key tree node belongs to an unknown tree');
    return true;
  }

  #nextKey(): void {
    const r = this.#r;
    const shared = r.varint();
    const unshared = r.varint();
    if (shared > this.keyBytes || unshared === 0 || shared + unshared > keyBytesMax)
      throw this.#fail('key of a key tree node has a length out of range');
    const rest = r.view(unshared);
    // A byte more that were shared, or a key that does not rise, would be another encoding.
    if (shared < this.keyBytes && this.#entries > 1 && rest[0]! <= this.key[shared]!)
      throw this.#fail('keys of a key tree node do not rise');
    const length = shared + unshared;
    if (length > this.key.length) {
      const grown = new Uint8Array(2 * length);
      grown.set(this.key.subarray(0, shared));
      this.key = grown;
    }
    this.key.set(rest, shared);
    this.keyBytes = length;
  }

  #add(rows: number, bytes: number): void {
    this.#rowsSeen += rows;
    this.#bytesSeen += bytes;
    if (this.#rowsSeen > integerMax || this.#bytesSeen > integerMax)
      throw this.#fail('key tree node has totals out of range');
  }

  #fail(what: string): VarveError {
    return corrupt(what, { file: this.#place.file, offset: (this.#place.offset ?? 0) + (this.#r?.pos ?? 0) });
  }
}
