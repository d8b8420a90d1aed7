/**
 * Where a node of a backup's key tree ends. A pure function of the rows since the node began, so equal rows
 * give equal nodes, however a store came to hold them.
 *
 * The chance that an entry ends its node rises with the cube of the node's size, so sizes stay near the mean:
 * P(ends at or before x) = 1 - exp(-(x / scale)^4), mean 0.906 * scale. Only multiplications and divisions of
 * doubles, which every engine rounds alike: no exponential, whose last digit differs between versions.
 */
import { KiB } from '../base/limits.ts';
import { hashKey32, mix32 } from '../codec/key-hash.ts';

/** Version of the rule; a vault says which one its trees are built by. */
export const keyTreeBoundaryVersion = 1;

/** Sizes in bytes before prefix compression. */
export const keyTreeScale: number = 22 * KiB;
export const keyTreeNodeMin: number = 4 * KiB;
/** A node of this size ends whatever its keys. */
export const keyTreeNodeMax: number = 64 * KiB;
/** What an entry counts beside the bytes of its key and, in a leaf, its record. */
export const keyTreeEntryOverhead = 16;

/**
 * Whether the node of `level` ends behind the entry with the key key[from..to), which brings it from `before`
 * to `size` bytes and to `count` entries. Interior nodes have two entries at least, so that trees end.
 */
export function endsKeyTreeNode(
  level: number,
  key: Uint8Array,
  from: number,
  to: number,
  before: number,
  size: number,
  count: number,
): boolean {
  if (level > 0 && count < 2) return false;
  if (size >= keyTreeNodeMax) return true;
  if (size < keyTreeNodeMin) return false;
  const a = before / keyTreeScale;
  const b = size / keyTreeScale;
  const chance = b * b * b * b - a * a * a * a;
  // Another hash for each level: keys that end a leaf would otherwise end the node above too.
  const hash = mix32(hashKey32(key, from, to) ^ Math.imul(level + 1, 0x9e3779b1));
  return hash < chance * 4294967296;
}
