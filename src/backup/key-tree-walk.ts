/** Walks key trees of a vault front to back, checking that every node is what its parent says. */
import { compareBytes, compareRange, emptyBytes, isZero, toHex } from '../base/bytes.ts';
import { corrupt, isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { KeyTreeNode } from '../format/key-tree-node.ts';
import { parseListNode } from '../format/list-node.ts';
import { recordForms, refIdAt, refRawLen, type ValueRecord } from '../format/value-record.ts';
import type { VaultReader } from './vault-reader.ts';

/** A tree to walk: as a manifest names it. */
export interface TreeRoot {
  readonly rootNodeId: Uint8Array;
  readonly treeHeight: number;
}

/** Part of a tree that cannot be read: the keys after `after` (undefined: from the first) up to `last`. */
export interface LostKeys {
  readonly error: VarveError;
  /** Id of the node. */
  readonly id: Uint8Array;
  readonly after: Uint8Array | undefined;
  readonly last: Uint8Array | undefined;
}

export interface WalkOptions {
  /** Tree keys from this one on; subtrees below are not read. */
  readonly from?: Uint8Array;
  /** Tree keys below this one. */
  readonly to?: Uint8Array;
  /** False leaves the node and all below it out. */
  readonly enter?: (id: Uint8Array, idAt: number, level: number) => boolean | Promise<boolean>;
  /** Told of what cannot be read, which is left out; without it damage is thrown. */
  readonly onLost?: (lost: LostKeys) => void;
}

/** What a parent says of a child. */
export interface Child {
  readonly id: Uint8Array;
  readonly after: Uint8Array | undefined;
  /** Undefined for the root. */
  readonly last: Uint8Array | undefined;
  readonly rows: number | undefined;
  readonly bytes: number | undefined;
}

/** The rows of one leaf, checked as a whole before any of them is given out; call `next` on it. */
export async function* leavesOf(
  reader: VaultReader,
  root: TreeRoot,
  options: WalkOptions = {},
): AsyncGenerator<KeyTreeNode> {
  if (root.treeHeight === 0) {
    if (!isZero(root.rootNodeId)) throw corrupt('backup has a root and no height', { file: 'snaps' });
    return;
  }
  const child = { id: root.rootNodeId, after: undefined, last: undefined, rows: undefined, bytes: undefined };
  yield* walk(reader, child, root.treeHeight - 1, options);
}

async function* walk(
  reader: VaultReader,
  child: Child,
  level: number,
  options: WalkOptions,
): AsyncGenerator<KeyTreeNode> {
  if (options.enter !== undefined) {
    const entered = options.enter(child.id, 0, level);
    if (!(typeof entered === 'boolean' ? entered : await entered)) return;
  }
  let bytes: Uint8Array;
  let children: Child[];
  try {
    bytes = await reader.read(child.id, 0);
    children = checkNode(bytes, child, level);
  } catch (error) {
    const lost = isDamage(error) || isVarveError(error, 'VARVE_FORMAT_VERSION');
    if (options.onLost === undefined || !lost) throw error;
    options.onLost({ error, id: child.id, after: child.after, last: child.last });
    return;
  }
  if (level === 0) {
    yield new KeyTreeNode(bytes, { file: `node ${toHex(child.id)}` });
    return;
  }
  for (const one of children) {
    if (options.to !== undefined && one.after !== undefined && compareBytes(one.after, options.to) >= 0)
      return;
    if (options.from !== undefined && compareBytes(one.last!, options.from) < 0) continue;
    yield* walk(reader, one, level - 1, options);
  }
}

/**
 * Reads a node to its end and returns what it says of its children; none for a leaf. VARVE_CORRUPT where it
 * is not what its parent says.
 */
export function checkNode(bytes: Uint8Array, child: Child, level: number): Child[] {
  const place = { file: `node ${toHex(child.id)}` };
  const node = new KeyTreeNode(bytes, place);
  if (node.level !== level) throw corrupt('key tree node is of another level', place, level, node.level);
  const sums = child.rows === undefined || (child.rows === node.rows && child.bytes === node.bytes);
  if (!sums) throw corrupt('key tree node has other totals than its parent says', place);
  const children: Child[] = [];
  let after = child.after;
  let first = true;
  while (node.next()) {
    const { key, keyBytes } = node;
    if (
      first &&
      level === 0 &&
      after !== undefined &&
      compareRange(key, 0, keyBytes, after, 0, after.length) <= 0
    )
      throw corrupt('key tree node begins before its place', place);
    first = false;
    if (level === 0) continue;
    const last = key.slice(0, keyBytes);
    const id = bytes.slice(node.idAt, node.idAt + chunkIdBytes);
    children.push({ id, after, last, rows: node.childRows, bytes: node.childBytes });
    after = last;
  }
  const end = child.last ?? emptyBytes;
  if (child.last !== undefined && compareRange(node.key, 0, node.keyBytes, end, 0, end.length) !== 0)
    throw corrupt('key tree node ends elsewhere than its parent says', place);
  return children;
}

/** A chunk that a value consists of. */
export interface ValueChunk {
  /** The id is at buf[idAt]; borrowed. */
  readonly buf: Uint8Array;
  readonly idAt: number;
  readonly kind: number;
  /** Bytes of a data chunk; of a list node where its parent is a record. */
  readonly rawLen: number | undefined;
}

/** What a walk of a value's chunks does with each. */
export interface ChunkVisitor {
  /** A data chunk. */
  data(buf: Uint8Array, idAt: number, rawLen: number): void | Promise<void>;
  /** A list node, before its children: its bytes, or undefined to leave it and all below it out. */
  node(buf: Uint8Array, idAt: number): Promise<Uint8Array | undefined>;
  /** The same node, behind its children. */
  left?(id: Uint8Array, node: Uint8Array): void | Promise<void>;
}

/** Visits the chunks of a record in order. */
export async function visitChunks(record: ValueRecord, visitor: ChunkVisitor): Promise<void> {
  if (record.form === recordForms.inline) return;
  if (record.form === recordForms.list) {
    for (let i = 0; i < record.chunks; i++) {
      const visited = visitor.data(record.buf, refIdAt(record, i), refRawLen(record, i));
      if (visited !== undefined) await visited;
    }
    return;
  }
  await visitNode(record.buf, refIdAt(record, 0), record.height - 1, record.size, visitor);
}

async function visitNode(
  buf: Uint8Array,
  idAt: number,
  level: number,
  size: number,
  visitor: ChunkVisitor,
): Promise<void> {
  const id = buf.slice(idAt, idAt + chunkIdBytes);
  const bytes = await visitor.node(id, 0);
  if (bytes === undefined) return;
  const place = { file: `list node ${toHex(id)}` };
  const node = parseListNode(bytes, place);
  if (node.level !== level || node.totalBytes !== size)
    throw corrupt('list node is another one than its parent says', place);
  for (let i = 0; i < node.count; i++) {
    const at = node.childIdAt(i);
    const length = node.childEnd(i) - node.childStart(i);
    if (level > 0) await visitNode(bytes, at, level - 1, length, visitor);
    else {
      const visited = visitor.data(bytes, at, length);
      if (visited !== undefined) await visited;
    }
  }
  const left = visitor.left?.(id, bytes);
  if (left !== undefined) await left;
}
