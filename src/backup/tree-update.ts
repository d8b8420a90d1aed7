/**
 * The key tree of a backup out of the one before and what was changed since: nodes that nothing touches are
 * taken as they are, unread.
 *
 * Where a node ends is decided by its own rows alone, so a node of before that begins where a new one begins,
 * with the same rows, is that node. Nodes at the right edge of the tree ended because there were no more
 * rows: those are read and built again. So are those with system rows, which come from the store itself.
 *
 * Invariants (test/backup/tree-update.test.ts)
 * - The root is that of a tree built from the rows ("an updated tree is the tree of its rows", "an
 *   incremental backup has the root from scratch, whatever was changed").
 * - What is read of the vault is the way to what was changed ("few changes read few nodes").
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, equalBytes, toHex } from '../base/bytes.ts';
import { KeyTreeNode, keyTreeTags } from '../format/key-tree-node.ts';
import type { KeyTreeBuilder } from './key-tree-builder.ts';
import { type Child, checkNode, type TreeRoot } from './key-tree-walk.ts';
import type { ChangedRow } from './logged-changes.ts';

/** What of LoggedChanges is needed here. */
export interface TreeChanges {
  keys(): readonly ChangedRow[];
  hides(prefix: Uint8Array, seq: Seq): boolean;
  deletesWithin(after: Uint8Array, last: Uint8Array): boolean;
}

export interface TreeUpdateOptions {
  /** Bytes of a node of the tree before. */
  readonly read: (id: Uint8Array) => Promise<Uint8Array>;
  /** Takes a changed key that is there, in order, and adds it to the builder. */
  readonly put: (prefix: Uint8Array, seq: Seq, record: Uint8Array) => Promise<void>;
  /** Called for each row and node. */
  readonly step: () => Promise<void> | undefined;
}

/** Adds all keys to `builder`, which has the system rows already. VARVE_CORRUPT when a node is damaged. */
export async function updateTree(
  base: TreeRoot,
  changes: TreeChanges,
  builder: KeyTreeBuilder,
  options: TreeUpdateOptions,
): Promise<void> {
  await new TreeUpdate(changes, builder, options).run(base);
}

class TreeUpdate {
  readonly #changes: TreeChanges;
  readonly #keys: readonly ChangedRow[];
  readonly #builder: KeyTreeBuilder;
  readonly #options: TreeUpdateOptions;
  #next = 0;

  constructor(changes: TreeChanges, builder: KeyTreeBuilder, options: TreeUpdateOptions) {
    this.#changes = changes;
    this.#keys = changes.keys();
    this.#builder = builder;
    this.#options = options;
  }

  async run({ rootNodeId: id, treeHeight }: TreeRoot): Promise<void> {
    const root = { id, after: undefined, last: undefined, rows: undefined, bytes: undefined };
    if (treeHeight > 0) await this.#visit(root, treeHeight - 1, true);
    await this.#changedBelow(undefined);
  }

  async #visit(child: Child, level: number, isRight: boolean): Promise<void> {
    const rest = this.#options.step();
    if (rest !== undefined) await rest;
    const { id, last, rows, bytes } = child;
    if (!isRight && last !== undefined && this.#builder.isAligned(level) && this.#isUntouched(child)) {
      await this.#builder.addSubtree(level, last, id, rows!, bytes!);
      return;
    }
    const node = await this.#options.read(id);
    const children = checkNode(node, child, level);
    if (level === 0) await this.#leaf(new KeyTreeNode(node, { file: `node ${toHex(id)}` }));
    for (const [i, one] of children.entries())
      await this.#visit(one, level - 1, isRight && i === children.length - 1);
  }

  /** All of its rows are keys, and none of them was changed, nor any put between them. */
  #isUntouched({ after, last }: Child): boolean {
    if (after === undefined || after[0] !== keyTreeTags.keys) return false;
    const to = last!.subarray(1);
    const next = this.#keys[this.#next];
    if (next !== undefined && compareBytes(next.prefix, to) <= 0) return false;
    return !this.#changes.deletesWithin(after.subarray(1), to);
  }

  async #leaf(leaf: KeyTreeNode): Promise<void> {
    while (leaf.next()) {
      if (leaf.record === undefined) continue;
      const { key, keyBytes, seq, buf, recordFrom, recordTo, record } = leaf;
      const prefix = key.subarray(1, keyBytes);
      await this.#changedBelow(prefix);
      const next = this.#keys[this.#next];
      if (next !== undefined && equalBytes(next.prefix, prefix)) {
        this.#next++;
        await this.#changed(next);
        continue;
      }
      if (this.#changes.hides(prefix, seq)) continue;
      const added = this.#builder.add(key, 0, keyBytes, seq, buf, recordFrom, recordTo, record.size);
      if (added !== undefined) await added;
      const rest = this.#options.step();
      if (rest !== undefined) await rest;
    }
  }

  /** Changed keys below `prefix`; all that are left without one. */
  async #changedBelow(prefix: Uint8Array | undefined): Promise<void> {
    for (; this.#next < this.#keys.length; this.#next++) {
      const row = this.#keys[this.#next]!;
      if (prefix !== undefined && compareBytes(row.prefix, prefix) >= 0) return;
      await this.#changed(row);
    }
  }

  async #changed({ prefix, seq, value }: ChangedRow): Promise<void> {
    if (value !== undefined && !this.#changes.hides(prefix, seq)) await this.#options.put(prefix, seq, value);
  }
}
