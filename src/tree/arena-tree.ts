/**
 * B+tree over the records of an arena, fanout 64, insert-only, on one shared Int32Array.
 *
 * Node, in words: 8 of header, then three columns of 64 (four in an inner node):
 *   head, rest  bytes skip .. skip+3 and skip+4 .. skip+7 of the key, big-endian, sign bit flipped so that a
 *               signed compare orders them; bytes past the key's end count as zero
 *   handle      the record (leaf) or the record whose key separates this child from the one before (inner)
 *   child       word offset of the child (inner)
 * An inner node's first separator is not looked at: everything below the second goes to the first child.
 *
 * Invariants
 * - In order traversal is ascending by key; of equal keys the one inserted later comes first: a search goes
 *   to the leftmost place ("equal keys come newest first, also across leaves").
 * - Every key of a node, and every key a search brings to it, lies between its fences (the separators around
 *   it) and shares the first `sure` bytes with them.
 * - All entries of a node share their first `skip` >= `sure` bytes; the two differ only on the tree's left
 *   and right edge, where a fence is missing ("keys with long shared prefixes sort like any others").
 * - A failed allocation changes nothing: room for every split is made before the first write.
 */
import { assert } from '../base/assert.ts';
import { compareRange } from '../base/bytes.ts';
import { growShared, type RecordArena, roomFor } from './arena.ts';

const fanout = 64;
const half = fanout / 2;
const none = -1;

/** Header words. `inner` is 0 or 1 and thereby the index of the first entry a search looks at. */
const inner = 0;
const count = 1;
const skip = 2;
const sure = 3;
const lowFence = 4;
const highFence = 5;
const before = 6;
const after = 7;

const heads = 8;
const rests = heads + fanout;
const handles = rests + fanout;
const children = handles + fanout;
const leafWords = handles + fanout;
const innerWords = children + fanout;
/** 32-fold at least per level, and fewer than 2^29 records. */
const heightMax = 12;
const splitWordsMax = leafWords + (heightMax + 1) * innerWords;

/** One empty leaf. Every tree starts with it; an insert makes room, and so a copy, before it writes. */
const emptyTree = new Int32Array(new SharedArrayBuffer(leafWords * 4));
emptyTree.fill(none, lowFence, after + 1);

/** Ordered set of record handles. Positions it returns are good until the next insert. */
export class ArenaTree {
  readonly #arena: RecordArena;
  #nodes = emptyTree;
  #usedWords = leafWords;
  #root = 0;
  #firstLeaf = 0;
  #lastLeaf = 0;
  #entries = 0;
  readonly #pathNode = new Int32Array(heightMax);
  readonly #pathIndex = new Int32Array(heightMax);
  #pathLength = 0;
  /** Where the last `seek` ended. */
  foundLeaf = none;
  foundIndex = 0;
  /** Grows with every `seek` and insert: as long as it stays, the found place is the last seek's and good. */
  moves = 0;

  constructor(arena: RecordArena) {
    this.#arena = arena;
  }

  get entries(): number {
    return this.#entries;
  }

  /** Bytes taken by nodes. */
  get bytesUsed(): number {
    return this.#usedWords * 4;
  }

  get firstLeaf(): number {
    return this.#firstLeaf;
  }

  get lastLeaf(): number {
    return this.#lastLeaf;
  }

  /** Entries of a leaf; zero only in the one leaf of an empty tree. */
  countOf(leaf: number): number {
    return this.#nodes[leaf + count]!;
  }

  handleAt(leaf: number, index: number): number {
    return this.#nodes[leaf + handles + index]!;
  }

  /** The leaf after this one, or -1. */
  leafAfter(leaf: number): number {
    return this.#nodes[leaf + after]!;
  }

  /** The leaf before this one, or -1. */
  leafBefore(leaf: number): number {
    return this.#nodes[leaf + before]!;
  }

  /**
   * Sets foundLeaf and foundIndex to the first entry with a key >= key[from..to) (borrowed). The index may be
   * one past the end of the leaf: the entry is then the first of the leaf after it, if any.
   */
  seek(key: Uint8Array, from: number, to: number): void {
    this.foundLeaf = this.#descend(key, from, to);
    this.foundIndex = this.#search(this.foundLeaf, key, from, to);
    this.moves++;
  }

  /** Adds a record, before all records with an equal key. */
  insert(handle: number): void {
    this.#reserve();
    const key = this.#arena.bytes;
    const from = this.#arena.keyFrom(handle);
    const leaf = this.#descend(key, from, this.#arena.keyTo(handle));
    const index = this.#search(leaf, key, from, this.#arena.keyTo(handle));
    this.#insertAt(leaf, index, handle);
  }

  /**
   * Adds a record where the last seek ended, without another search, if it belongs there; else returns false
   * and changes nothing. Nothing was sought or inserted since, and the record's key is not below the one
   * sought.
   */
  insertFound(handle: number): boolean {
    const leaf = this.foundLeaf;
    const index = this.foundIndex;
    if (index < this.#nodes[leaf + count]!) {
      if (this.#compareRecords(handle, this.#nodes[leaf + handles + index]!) > 0) return false;
    } else if (leaf !== this.#lastLeaf) return false;
    this.#reserve();
    this.#insertAt(leaf, index, handle);
    return true;
  }

  #insertAt(leaf: number, index: number, handle: number): void {
    if (this.#nodes[leaf + count]! < fanout) this.#put(leaf, index, handle, none);
    else this.#insertSplitting(leaf, index, handle);
    this.#entries++;
    this.moves++;
  }

  #compareRecords(a: number, b: number): number {
    const { bytes } = this.#arena;
    return compareRange(
      bytes,
      this.#arena.keyFrom(a),
      this.#arena.keyTo(a),
      bytes,
      this.#arena.keyFrom(b),
      this.#arena.keyTo(b),
    );
  }

  /** Walks to the leaf that holds the first entry >= key, or would; leaves the way down in the path. */
  #descend(key: Uint8Array, from: number, to: number): number {
    const nodes = this.#nodes;
    let node = this.#root;
    let level = 0;
    while (nodes[node + inner] !== 0) {
      const index = this.#search(node, key, from, to) - 1;
      this.#pathNode[level] = node;
      this.#pathIndex[level] = index;
      level++;
      node = nodes[node + children + index]!;
    }
    this.#pathLength = level;
    return node;
  }

  /** Index of the first entry of `node` with a key >= key[from..to); its count when there is none. */
  #search(node: number, key: Uint8Array, from: number, to: number): number {
    const nodes = this.#nodes;
    let low = nodes[node + inner]!;
    let high = nodes[node + count]!;
    if (low >= high) return low;
    const shared = nodes[node + skip]!;
    if (shared !== nodes[node + sure]) {
      const first = this.#arena.keyFrom(nodes[node + handles + low]!);
      const known = nodes[node + sure]!;
      const keyEnd = Math.min(to, from + shared);
      const side = compareRange(key, from + known, keyEnd, this.#arena.bytes, first + known, first + shared);
      if (side !== 0) return side < 0 ? low : high;
    }
    const head = word(key, from + shared, to);
    const rest = word(key, from + shared + 4, to);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entryHead = nodes[node + heads + middle]!;
      let isBelow = entryHead < head;
      if (entryHead === head) {
        const entryRest = nodes[node + rests + middle]!;
        isBelow = entryRest < rest;
        if (entryRest === rest) {
          isBelow = this.#compareTail(nodes[node + handles + middle]!, key, from, to, shared + 8) < 0;
        }
      }
      if (isBelow) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Compares a record's key with key[from..to), which are known to agree on their first `known` bytes. */
  #compareTail(handle: number, key: Uint8Array, from: number, to: number, known: number): number {
    const entryFrom = this.#arena.keyFrom(handle);
    const entryTo = this.#arena.keyTo(handle);
    const equal = Math.min(known, entryTo - entryFrom, to - from);
    return compareRange(this.#arena.bytes, entryFrom + equal, entryTo, key, from + equal, to);
  }

  /** Puts an entry at `index` of a node that has room. */
  #put(node: number, index: number, handle: number, child: number): void {
    const nodes = this.#nodes;
    const n = nodes[node + count]!;
    if (nodes[node + skip] !== nodes[node + sure] || n <= nodes[node + inner]!) this.#shareWith(node, handle);
    // Plain loops: on shared memory copyWithin costs several times as much for a few words.
    const headAt = node + heads;
    const restAt = node + rests;
    const handleAt = node + handles;
    for (let i = n; i > index; i--) {
      nodes[headAt + i] = nodes[headAt + i - 1]!;
      nodes[restAt + i] = nodes[restAt + i - 1]!;
      nodes[handleAt + i] = nodes[handleAt + i - 1]!;
    }
    nodes[handleAt + index] = handle;
    this.#cache(node, index, nodes[node + skip]!);
    if (nodes[node + inner] !== 0) {
      const childAt = node + children;
      for (let i = n; i > index; i--) nodes[childAt + i] = nodes[childAt + i - 1]!;
      nodes[childAt + index] = child;
    }
    nodes[node + count] = n + 1;
  }

  /** Lowers the skip of a node on the edge to what its entries share with a new one. */
  #shareWith(node: number, handle: number): void {
    const nodes = this.#nodes;
    const first = nodes[node + inner]!;
    const hasNone = nodes[node + count]! <= first;
    const peer = hasNone ? handle : nodes[node + handles + first]!;
    const limit = hasNone ? Number.MAX_SAFE_INTEGER : nodes[node + skip]!;
    const shared = this.#sharedPrefix(peer, handle, nodes[node + sure]!, limit);
    this.#setSkip(node, shared);
  }

  #insertSplitting(leaf: number, index: number, handle: number): void {
    // Appending at the end of the tree leaves full nodes behind, all the way up its right edge.
    const isAppend = index === fanout && leaf === this.#lastLeaf;
    let right = this.#split(leaf, isAppend ? fanout : half, handle);
    let separator = isAppend ? handle : this.#nodes[right + handles]!;
    this.#putInPair(leaf, right, index, handle, none);
    for (let level = this.#pathLength - 1; level >= 0; level--) {
      const node = this.#pathNode[level]!;
      const at = this.#pathIndex[level]! + 1;
      if (this.#nodes[node + count]! < fanout) {
        this.#put(node, at, separator, right);
        return;
      }
      const upper = this.#split(node, isAppend ? fanout : half, separator);
      const promoted = isAppend ? separator : this.#nodes[upper + handles]!;
      this.#putInPair(node, upper, at, separator, right);
      separator = promoted;
      right = upper;
    }
    const left = this.#root;
    this.#root = this.#newNode(1, none, none);
    this.#nodes[this.#root + children] = left;
    this.#nodes[this.#root + count] = 1;
    this.#put(this.#root, 1, separator, right);
  }

  /**
   * After a split at `middle`: an entry exactly between the halves belongs to the left one if it has room.
   */
  #putInPair(left: number, right: number, index: number, handle: number, child: number): void {
    const middle = this.#nodes[left + count]!;
    if (index <= middle && middle < fanout) this.#put(left, index, handle, child);
    else this.#put(right, index - middle, handle, child);
  }

  /** Moves the entries from `middle` on to a new node after this one; `incoming` separates an empty one. */
  #split(node: number, middle: number, incoming: number): number {
    const nodes = this.#nodes;
    const separator = middle === fanout ? incoming : nodes[node + handles + middle]!;
    const right = this.#newNode(nodes[node + inner]!, separator, nodes[node + highFence]!);
    const columns = nodes[node + inner] === 0 ? handles : children;
    for (let column = heads; column <= columns; column += fanout) {
      nodes.copyWithin(right + column, node + column + middle, node + column + fanout);
    }
    nodes[right + count] = fanout - middle;
    nodes[right + skip] = nodes[node + skip]!;
    nodes[right + sure] = nodes[node + sure]!;
    nodes[node + count] = middle;
    nodes[node + highFence] = separator;
    if (nodes[node + inner] === 0) this.#link(node, right);
    this.#refence(node);
    this.#refence(right);
    return right;
  }

  #link(left: number, right: number): void {
    const nodes = this.#nodes;
    const next = nodes[left + after]!;
    nodes[right + before] = left;
    nodes[right + after] = next;
    nodes[left + after] = right;
    if (next === none) this.#lastLeaf = right;
    else nodes[next + before] = right;
  }

  /** Works out `sure` and `skip` again after a fence has moved in. */
  #refence(node: number): void {
    const nodes = this.#nodes;
    const low = nodes[node + lowFence]!;
    const high = nodes[node + highFence]!;
    const known = nodes[node + sure]!;
    if (low !== none && high !== none) {
      nodes[node + sure] = this.#sharedPrefix(low, high, known, Number.MAX_SAFE_INTEGER);
      this.#setSkip(node, nodes[node + sure]!);
      return;
    }
    const first = nodes[node + inner]!;
    const n = nodes[node + count]!;
    if (n <= first) return;
    const firstEntry = nodes[node + handles + first]!;
    const lastEntry = nodes[node + handles + n - 1]!;
    this.#setSkip(node, this.#sharedPrefix(firstEntry, lastEntry, known, Number.MAX_SAFE_INTEGER));
  }

  #setSkip(node: number, value: number): void {
    if (this.#nodes[node + skip] === value) return;
    this.#nodes[node + skip] = value;
    const n = this.#nodes[node + count]!;
    for (let i = this.#nodes[node + inner]!; i < n; i++) this.#cache(node, i, value);
  }

  #cache(node: number, index: number, skipped: number): void {
    const handle = this.#nodes[node + handles + index]!;
    const from = this.#arena.keyFrom(handle) + skipped;
    const to = this.#arena.keyTo(handle);
    this.#nodes[node + heads + index] = word(this.#arena.bytes, from, to);
    this.#nodes[node + rests + index] = word(this.#arena.bytes, from + 4, to);
  }

  /** Length of the common prefix of two records' keys, at most `limit`; `known` bytes of it are known. */
  #sharedPrefix(a: number, b: number, known: number, limit: number): number {
    const bytes = this.#arena.bytes;
    const aFrom = this.#arena.keyFrom(a);
    const bFrom = this.#arena.keyFrom(b);
    const end = Math.min(this.#arena.keyTo(a) - aFrom, this.#arena.keyTo(b) - bFrom, limit);
    let n = Math.min(known, end);
    while (n < end && bytes[aFrom + n] === bytes[bFrom + n]) n++;
    return n;
  }

  #newNode(isInner: number, low: number, high: number): number {
    const node = this.#usedWords;
    this.#usedWords += isInner === 0 ? leafWords : innerWords;
    assert(this.#usedWords <= this.#nodes.length, 'room for splits is reserved');
    const nodes = this.#nodes;
    nodes[node + inner] = isInner;
    nodes[node + lowFence] = low;
    nodes[node + highFence] = high;
    nodes[node + before] = none;
    nodes[node + after] = none;
    return node;
  }

  /** Makes room for every split one insert may cause, so that none of them can fail half way. */
  #reserve(): void {
    const needed = this.#usedWords + splitWordsMax;
    if (needed <= this.#nodes.length) return;
    const old = new Uint8Array(this.#nodes.buffer);
    this.#nodes = new Int32Array(
      growShared(old, roomFor(old.length, needed * 4)).buffer as SharedArrayBuffer,
    );
  }
}

/** Four key bytes at `at` for a signed compare; bytes from `to` on count as zero. */
function word(bytes: Uint8Array, at: number, to: number): number {
  if (at + 4 <= to) {
    return ((bytes[at]! ^ 0x80) << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  }
  let value = 0;
  for (let shift = 24; shift >= 0; shift -= 8, at++) if (at < to) value |= bytes[at]! << shift;
  return value ^ 0x80000000;
}
