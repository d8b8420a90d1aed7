/** What differs between two backups: trees are walked side by side, and what they share is not read. */
import { compareBytes, decodeUtf8, equalBytes, toHex } from '../base/bytes.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { decodeInternalKey, encodeInternalKey } from '../format/internal-key.ts';
import { KeyTreeNode, keyTreeTags } from '../format/key-tree-node.ts';
import { IndexMarks } from './index-marks.ts';
import { leavesOf, type TreeRoot } from './key-tree-walk.ts';
import { spaceNamed, sysKeyOf } from './system-rows.ts';
import { IndexHit, missingChunk, type VaultIndex } from './vault-index.ts';
import type { VaultReader } from './vault-reader.ts';

/** A key that differs. */
export interface BackupDifference {
  /** Text where it is UTF-8, else bytes. */
  readonly key: string | Uint8Array;
  /** Name of its space; absent for the store's own keys. */
  readonly space?: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** Bytes of the value before and after, where there is one. */
  readonly before?: number;
  readonly after?: number;
}

interface Row {
  readonly key: Uint8Array;
  readonly seq: number;
  readonly record: Uint8Array;
  readonly size: number;
}

/** Differences in key order. Spaces are told apart by number; one that was dropped and made again is new. */
export async function* diffTrees(
  reader: VaultReader,
  a: TreeRoot,
  b: TreeRoot,
): AsyncGenerator<BackupDifference> {
  const names = new Map<number, string>();
  const inA = await nodesOf(reader, a);
  const inB = await nodesOf(reader, b);
  const before = rowsOf(reader, a, inB, names);
  const after = rowsOf(reader, b, inA, names);
  let left = await before.next();
  let right = await after.next();
  while (left.done !== true || right.done !== true) {
    const order =
      left.done === true ? 1 : right.done === true ? -1 : compareBytes(left.value.key, right.value.key);
    if (order < 0) yield difference(names, left.value as Row, undefined);
    else if (order > 0) yield difference(names, undefined, right.value as Row);
    else if (!sameRow(left.value as Row, right.value as Row))
      yield difference(names, left.value as Row, right.value as Row);
    if (order <= 0) left = await before.next();
    if (order >= 0) right = await after.next();
  }
}

function sameRow(a: Row, b: Row): boolean {
  return a.seq === b.seq && equalBytes(a.record, b.record);
}

function difference(
  names: ReadonlyMap<number, string>,
  before: Row | undefined,
  after: Row | undefined,
): BackupDifference {
  const { key } = (before ?? after)!;
  const internal = encodeInternalKey(key.subarray(1), 0);
  const { space, userKey } = decodeInternalKey(internal, 0, internal.length);
  const change = before === undefined ? 'added' : after === undefined ? 'removed' : 'changed';
  return {
    key: decodeUtf8(userKey) ?? userKey,
    ...(space === 0 ? {} : { space: names.get(space) ?? `#${space}` }),
    change,
    ...(before === undefined ? {} : { before: before.size }),
    ...(after === undefined ? {} : { after: after.size }),
  };
}

/** The nodes of a tree: a bit for each. */
class TreeNodes {
  readonly #index: VaultIndex;
  readonly #marks: IndexMarks;
  readonly #hit = new IndexHit();

  constructor(index: VaultIndex) {
    this.#index = index;
    this.#marks = new IndexMarks(index);
  }

  /** VARVE_CONFLICT where the index has changed: begin again. */
  async add(id: Uint8Array): Promise<void> {
    if (!(await this.#index.find(id, 0, this.#hit))) throw missingChunk(id, 0);
    this.#marks.add(this.#hit);
  }

  async has(id: Uint8Array, at: number): Promise<boolean> {
    if (!(await this.#index.find(id, at, this.#hit))) return false;
    this.#marks.check();
    return this.#marks.has(this.#hit);
  }
}

/** All nodes of a tree, leaves included, which are not read. */
async function nodesOf(reader: VaultReader, root: TreeRoot): Promise<TreeNodes> {
  const nodes = new TreeNodes(reader.index);
  const visit = async (id: Uint8Array, level: number): Promise<void> => {
    await nodes.add(id);
    if (level === 0) return;
    const bytes = await reader.read(id, 0);
    const node = new KeyTreeNode(bytes, { file: `node ${toHex(id)}` });
    while (node.next()) await visit(bytes.slice(node.idAt, node.idAt + chunkIdBytes), level - 1);
  };
  if (root.treeHeight > 0) await visit(root.rootNodeId, root.treeHeight - 1);
  return nodes;
}

/** Rows of keys outside the nodes of `shared`; names of spaces are noted on the way. */
async function* rowsOf(
  reader: VaultReader,
  root: TreeRoot,
  shared: TreeNodes,
  names: Map<number, string>,
): AsyncGenerator<Row, undefined> {
  const enter = async (id: Uint8Array, at: number): Promise<boolean> => !(await shared.has(id, at));
  // Names lie in the first leaves, which both may share.
  for await (const leaf of leavesOf(reader, root, { to: Uint8Array.of(keyTreeTags.keys) })) {
    while (leaf.next() && leaf.key[0] === keyTreeTags.system) {
      const sysKey = sysKeyOf(leaf.key.subarray(1, leaf.keyBytes));
      const named = spaceNamed(sysKey, leaf.buf.subarray(leaf.recordFrom, leaf.recordTo));
      if (named !== undefined) names.set(named.number, named.name);
    }
  }
  for await (const leaf of leavesOf(reader, root, { enter })) {
    while (leaf.next()) {
      if (leaf.record === undefined) continue;
      const { seq, recordFrom, recordTo } = leaf;
      const key = leaf.key.slice(0, leaf.keyBytes);
      yield { key, seq, record: leaf.buf.subarray(recordFrom, recordTo), size: leaf.record.size };
    }
  }
  return undefined;
}
