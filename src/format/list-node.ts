/**
 * List node: an interior node of a large value, itself a chunk of kind LIST named by the SHA-256 of its
 * bytes.
 *
 *   head 24 B | count x { child id 32, end of the child u64, counted from the start of this node }
 *
 * There are no places of chunks inside, so equal lists are one chunk, and no offsets from the start of the
 * value, so an insert leaves later nodes as they are. Where a node ends is decided by the ids alone
 * (`endsListNode`).
 */
import { assert } from '../base/assert.ts';
import { u32le, viewOf } from '../base/bytes.ts';
import { corrupt, type Place, VarveError } from '../base/errors.ts';
import { chunkMaxCeiling, listHeightMax, listNodeEntriesMax, listNodeEntriesMin } from '../base/limits.ts';
import { decodeLayout, defineLayout, encodeLayout, f, readU64, writeU64 } from '../codec/layout.ts';
import { chunkIdBytes } from './chunk-ref.ts';

export const listNodeVersion = 1;

/** 'LN' as u16. */
export const listNodeMagic = 0x4e4c;

export const listNodeHead = defineLayout('listnode', 'list node head', 24, {
  magic: f(0, 'u16', "'LN'. guards: a data chunk in place of a node"),
  version: f(2, 'u8', '1. guards: newer format'),
  level: f(3, 'u8', '0 = children are data chunks. guards: a node of another level'),
  count: f(4, 'u32', 'children, 1 .. 2048'),
  totalBytes: f(8, 'u64', 'bytes of the value below. guards: a child list that does not add up'),
  totalLeaves: f(16, 'u64', 'data chunks below'),
});

export const listNodeEntry = defineLayout('listentry', 'list node entry', 40, {
  childId: f(0, chunkIdBytes, 'SHA-256 of the child'),
  end: f(32, 'u64', 'where the child ends, counted from the start of this node; rises'),
});

/** Longest list node, bytes. */
export const listNodeBytesMax: number = listNodeHead.size + listNodeEntriesMax * listNodeEntry.size;

/** One entry in so many ends a node: 512 more entries are expected after the fewest. */
export const listNodeModulus = 512;

/** When a node ends; other values than the default serve tests only. */
export interface ListLimits {
  readonly min: number;
  readonly max: number;
  readonly modulus: number;
}

export const listLimits: ListLimits = {
  min: listNodeEntriesMin,
  max: listNodeEntriesMax,
  modulus: listNodeModulus,
};

/**
 * Whether a node ends after the entry with the id at ids[idAt..idAt+32), which makes it `count` entries long.
 */
export function endsListNode(ids: Uint8Array, idAt: number, count: number, limits: ListLimits): boolean {
  if (count < limits.min) return false;
  if (count >= limits.max) return true;
  const at = idAt + chunkIdBytes - 4;
  const word = u32le(ids, at);
  return word % limits.modulus === 0;
}

/** Children a node of `bytes` bytes has; 0 when no node has that length. */
export function listNodeCountOf(bytes: number): number {
  const count = (bytes - listNodeHead.size) / listNodeEntry.size;
  return Number.isInteger(count) && count >= 1 && count <= listNodeEntriesMax ? count : 0;
}

/**
 * Encodes a node into a fresh array: `count` ids of 32 bytes each, and where each child ends. Both are
 * borrowed. `totalLeaves` counts data chunks below.
 */
export function encodeListNode(
  level: number,
  ids: Uint8Array,
  ends: Float64Array,
  count: number,
  totalLeaves: number,
): Uint8Array {
  assert(count >= 1 && count <= listNodeEntriesMax, 'a list node has 1 to 2048 children');
  assert(level >= 0 && level < listHeightMax, 'a list node has a level below the greatest height');
  const out = new Uint8Array(listNodeHead.size + count * listNodeEntry.size);
  const totalBytes = ends[count - 1]!;
  encodeLayout(
    listNodeHead,
    { magic: listNodeMagic, version: listNodeVersion, level, count, totalBytes, totalLeaves },
    out,
  );
  const view = viewOf(out);
  let at = listNodeHead.size;
  for (let i = 0; i < count; i++) {
    out.set(ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes), at);
    writeU64(view, at + listNodeEntry.at.end, ends[i]!);
    at += listNodeEntry.size;
  }
  return out;
}

/** A checked node over its bytes, which are borrowed and must not change. */
export class ListNode {
  readonly bytes: Uint8Array;
  readonly level: number;
  readonly count: number;
  readonly totalBytes: number;
  readonly totalLeaves: number;
  readonly #view: DataView;

  /** Use `parseListNode`. */
  constructor(bytes: Uint8Array, level: number, count: number, totalBytes: number, totalLeaves: number) {
    this.bytes = bytes;
    this.level = level;
    this.count = count;
    this.totalBytes = totalBytes;
    this.totalLeaves = totalLeaves;
    this.#view = viewOf(bytes);
  }

  /** Where the id of child `i` starts in `bytes`. */
  childIdAt(i: number): number {
    return listNodeHead.size + i * listNodeEntry.size;
  }

  /** Where child `i` starts, bytes from the start of this node. */
  childStart(i: number): number {
    return i === 0 ? 0 : this.childEnd(i - 1);
  }

  /** Where child `i` ends, bytes from the start of this node. */
  childEnd(i: number): number {
    return readU64(this.#view, this.childIdAt(i) + listNodeEntry.at.end);
  }

  /** The child that holds byte `offset` of this node; offset < totalBytes. */
  childAt(offset: number): number {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.childEnd(middle) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/**
 * Checks a whole node and returns it. VARVE_CORRUPT when a field is out of range or the parts do not add up,
 * VARVE_FORMAT_VERSION on a newer version. `bytes` is borrowed by the node.
 */
export function parseListNode(bytes: Uint8Array, place: Place): ListNode {
  const head = decodeLayout(listNodeHead, bytes, 0, place);
  const fail = (what: string, at: number): VarveError =>
    corrupt(what, { file: place.file, offset: (place.offset ?? 0) + at });
  if (head.magic !== listNodeMagic) throw fail('list node has a wrong magic', 0);
  if (head.version !== listNodeVersion) {
    throw new VarveError(
      'VARVE_FORMAT_VERSION',
      `${place.file}: list node of version ${head.version} is not known to this build`,
      { file: place.file, offset: (place.offset ?? 0) + listNodeHead.at.version },
    );
  }
  const { level, count, totalBytes, totalLeaves } = head;
  if (level >= listHeightMax) throw fail('list node has a level out of range', listNodeHead.at.level);
  if (count === 0 || listNodeCountOf(bytes.length) !== count)
    throw fail('list node has a count that does not fit its length', listNodeHead.at.count);
  if (level === 0 ? totalLeaves !== count : totalLeaves < count || totalLeaves > totalBytes)
    throw fail('list node has a leaf count that does not fit its children', listNodeHead.at.totalLeaves);
  const node = new ListNode(bytes, level, count, totalBytes, totalLeaves);
  let last = 0;
  for (let i = 0; i < count; i++) {
    const end = node.childEnd(i);
    if (end <= last || end > totalBytes || (level === 0 && end - last > chunkMaxCeiling))
      throw fail('list node entry has an end out of range', node.childIdAt(i) + listNodeEntry.at.end);
    last = end;
  }
  if (last !== totalBytes) throw fail('list node does not add up to its total', listNodeHead.at.totalBytes);
  return node;
}
