/**
 * Builds the key tree of a backup from rows in order: nodes end where the rows say
 * (format/key-tree-boundary), so equal rows give one root, whatever was there before.
 *
 * Memory: one open node per level.
 *
 * Invariants (test/backup/key-tree.test.ts)
 * - The root is a function of the rows ("a tree does not depend on the way its rows came to be").
 * - A node is given to the sink before any node that names it ("children come before their parents").
 */

import { endsKeyTreeNode } from '../format/key-tree-boundary.ts';
import { KeyTreeNodeBuilder, keyTreeTags } from '../format/key-tree-node.ts';
import { sha256 } from '../kernels/hash/sha256.ts';

/** Takes a finished node (its own array) and its id. A promise is waited for. */
export type NodeTaker = (id: Uint8Array, node: Uint8Array) => void | Promise<void>;

/** The finished tree. */
export interface KeyTree {
  /** 32 bytes; zero where there is no row. */
  readonly rootId: Uint8Array;
  /** Levels; 0 where there is no row. */
  readonly height: number;
  /** Rows of keys, and the bytes of their values. */
  readonly keys: number;
  readonly bytes: number;
}

export class KeyTreeBuilder {
  readonly #take: NodeTaker;
  readonly #levels: KeyTreeNodeBuilder[] = [];
  /** Nodes given out per level. */
  readonly #given: number[] = [];
  #top: { id: Uint8Array; level: number } | undefined;
  #keys = 0;
  #bytes = 0;

  constructor(take: NodeTaker) {
    this.#take = take;
  }

  /**
   * Adds the row with the tree key key[from..to) (rising) and its record. A promise means that nodes are
   * being taken: wait for it before the next call. Arguments are copied.
   */
  add(
    key: Uint8Array,
    from: number,
    to: number,
    seq: number,
    record: Uint8Array,
    recordFrom: number,
    recordTo: number,
    bytes: number,
  ): void | Promise<void> {
    const leaf = this.#level(0);
    const before = leaf.size;
    leaf.addRow(key, from, to, seq, record, recordFrom, recordTo, bytes);
    this.#bytes += bytes;
    if (key[from] === keyTreeTags.keys) this.#keys++;
    if (endsKeyTreeNode(0, key, from, to, before, leaf.size, leaf.count)) return this.#close(0);
  }

  /** Nothing is open up to that level: a node of it that begins here begins a node of its own. */
  isAligned(level: number): boolean {
    return this.#levels.slice(0, level + 1).every(({ count }) => count === 0);
  }

  /**
   * Adds a whole node of another tree and all below it, where `isAligned`: its rows are next, and it ended
   * where its rows say, not because there were no more. `last`: its last key. All its rows are keys. Waits as
   * `add`; arguments are borrowed until then.
   */
  async addSubtree(
    level: number,
    last: Uint8Array,
    id: Uint8Array,
    rows: number,
    bytes: number,
  ): Promise<void> {
    for (let below = 0; below <= level; below++) {
      this.#level(below);
      this.#given[below]!++;
    }
    this.#keys += rows;
    this.#bytes += bytes;
    await this.#placed(level, { last, length: last.length, id, rows, bytes });
  }

  /** Gives out what is open and tells the root. */
  async finish(): Promise<KeyTree> {
    for (let level = 0; level < this.#levels.length; level++) {
      const open = this.#levels[level]!;
      const given = this.#given[level]!;
      // A single child is the root itself: no node stands above a single one.
      if (level > 0 && given === 0 && open.count === 1) break;
      if (open.count > 0) await this.#close(level);
      if (given === 0) break;
    }
    const top = this.#top;
    return {
      rootId: top?.id ?? new Uint8Array(32),
      height: top === undefined ? 0 : top.level + 1,
      keys: this.#keys,
      bytes: this.#bytes,
    };
  }

  #level(level: number): KeyTreeNodeBuilder {
    let open = this.#levels[level];
    if (open === undefined) {
      open = new KeyTreeNodeBuilder(level);
      this.#levels.push(open);
      this.#given.push(0);
    }
    return open;
  }

  async #close(level: number): Promise<void> {
    const open = this.#levels[level]!;
    const { rows, bytes } = open;
    const node = open.finish();
    const id = sha256(node);
    this.#given[level]!++;
    const taken = this.#take(id, node);
    if (taken !== undefined) await taken;
    const { lastKey, lastKeyBytes } = open;
    await this.#placed(level, { last: lastKey, length: lastKeyBytes, id, rows, bytes });
  }

  /** A node of the level was given out: its parent names it. */
  async #placed(level: number, { last, length, id, rows, bytes }: GivenNode): Promise<void> {
    if (this.#top === undefined || level >= this.#top.level) this.#top = { id, level };
    const parent = this.#level(level + 1);
    const before = parent.size;
    parent.addChild(last, 0, length, id, 0, rows, bytes);
    const ends = endsKeyTreeNode(level + 1, last, 0, length, before, parent.size, parent.count);
    if (ends) await this.#close(level + 1);
  }
}

interface GivenNode {
  /** The last key below: last[0..length). */
  readonly last: Uint8Array;
  readonly length: number;
  readonly id: Uint8Array;
  readonly rows: number;
  readonly bytes: number;
}
