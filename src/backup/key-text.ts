/** Keys as people read them. */
import { decodeUtf8, toHex } from '../base/bytes.ts';
import { decodeInternalKey, encodeInternalKey } from '../format/internal-key.ts';
import { keyTreeTags } from '../format/key-tree-node.ts';

/** A row prefix of the key tree: the key as text, or hex; with the number of its space where it has one. */
export function keyText(prefix: Uint8Array): string {
  const { space, userKey } = decodeInternalKey(encodeInternalKey(prefix, 0), 0, prefix.length + 8);
  const text = decodeUtf8(userKey) ?? `0x${toHex(userKey)}`;
  return space === 0 ? text : `${space}:${text}`;
}

/** A key of a backup's tree: its first byte names the tree. */
export function treeKeyText(key: Uint8Array): string {
  return key[0] === keyTreeTags.keys ? keyText(key.subarray(1)) : `system row 0x${toHex(key.subarray(1))}`;
}
