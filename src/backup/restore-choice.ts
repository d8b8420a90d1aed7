/** Which keys of a backup are meant. */
import { compareBytes, concatBytes, encodeUtf8, toHex } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import { boundsOf } from '../format/internal-key.ts';
import { type KeyTreeNode, keyTreeTags } from '../format/key-tree-node.ts';

/** Text counts as its UTF-8. */
type KeyOrBytes = string | Uint8Array;

/** Keys of a backup: all where nothing is given, else those that `prefix`, `prefixes` or `keys` name. */
export interface RestoreChoice {
  /** Only keys with this prefix. */
  prefix?: KeyOrBytes;
  /** Only keys with one of these prefixes. */
  prefixes?: readonly KeyOrBytes[];
  /** Only these keys. */
  keys?: readonly KeyOrBytes[];
  /** Only the keys of this space; where only keys or prefixes are given, of the store's own keys. */
  space?: string;
}

/** Names of the options of a choice. */
export const choiceNames = ['prefix', 'prefixes', 'keys', 'space'] as const;

/** Keys of the tree: from <= key < to; without `to` up to the last. */
export interface TreeRange {
  readonly from: Uint8Array;
  readonly to?: Uint8Array;
}

/** VARVE_INVALID_ARGUMENT names what is out of range. */
export function checkChoice({ prefix, prefixes, keys, space }: RestoreChoice): void {
  if (prefix !== undefined && !isKey(prefix)) throw invalid('prefix is a string or bytes');
  for (const [name, list] of Object.entries({ prefixes, keys })) {
    const isList = list === undefined || (Array.isArray(list) && list.every(isKey));
    if (!isList) throw invalid(`${name} is an array of strings or bytes`);
  }
  if (space !== undefined && (typeof space !== 'string' || space === '')) throw invalid('space is a name');
}

/** Everything of all spaces is meant. */
export function isEverything({ prefix, prefixes, keys, space }: RestoreChoice): boolean {
  return prefix === undefined && prefixes === undefined && keys === undefined && space === undefined;
}

/** Text that is equal for equal choices. */
export function choiceText({ prefix, prefixes, keys, space }: RestoreChoice): string {
  const texts = (some: readonly KeyOrBytes[] | undefined) => some?.map((one) => toHex(bytesOf(one)));
  const old = [space ?? null, prefix === undefined ? null : toHex(bytesOf(prefix))];
  const isOld = prefixes === undefined && keys === undefined;
  return JSON.stringify(isOld ? old : [...old, texts(prefixes) ?? null, texts(keys) ?? null]);
}

/**
 * The ranges of a choice that `isEverything` is not true of, rising, without overlap; `space`: its number.
 */
export function rangesOf({ prefix, prefixes, keys }: RestoreChoice, space: number): TreeRange[] {
  const ranges: TreeRange[] = [];
  const isWhole = prefix === undefined && prefixes === undefined && keys === undefined;
  const all = [...(prefix === undefined ? [] : [prefix]), ...(prefixes ?? []), ...(isWhole ? [''] : [])];
  for (const one of all) ranges.push(treeRange(boundsOf({ prefix: bytesOf(one) }, space)));
  for (const key of keys ?? []) {
    const bytes = bytesOf(key);
    ranges.push(treeRange(boundsOf({ gte: bytes, lte: bytes }, space)));
  }
  return joined(ranges);
}

/** All keys of all spaces. */
export const everyKey: TreeRange = { from: Uint8Array.of(keyTreeTags.keys) };

/** The row the leaf stands on lies in the range. */
export function isWithin(leaf: KeyTreeNode, range: TreeRange): boolean {
  return isTreeKeyWithin(leaf.key.subarray(0, leaf.keyBytes), range);
}

/** The tree key of a row of a key. */
export function treeKeyOf(prefix: Uint8Array): Uint8Array {
  return concatBytes([Uint8Array.of(keyTreeTags.keys), prefix]);
}

export function isTreeKeyWithin(key: Uint8Array, { from, to }: TreeRange): boolean {
  return compareBytes(key, from) >= 0 && (to === undefined || compareBytes(key, to) < 0);
}

function treeRange({ from, to }: { from: Uint8Array; to: Uint8Array | undefined }): TreeRange {
  const tag = Uint8Array.of(keyTreeTags.keys);
  const low = concatBytes([tag, from]);
  return to === undefined ? { from: low } : { from: low, to: concatBytes([tag, to]) };
}

function joined(ranges: readonly TreeRange[]): TreeRange[] {
  const out: TreeRange[] = [];
  for (const range of [...ranges].sort((a, b) => compareBytes(a.from, b.from))) {
    const last = out.at(-1);
    const touches = last !== undefined && (last.to === undefined || compareBytes(range.from, last.to) <= 0);
    if (!touches) out.push(range);
    else if (last.to !== undefined && (range.to === undefined || compareBytes(range.to, last.to) > 0))
      out[out.length - 1] = range.to === undefined ? { from: last.from } : { from: last.from, to: range.to };
  }
  return out;
}

function bytesOf(key: KeyOrBytes): Uint8Array {
  return typeof key === 'string' ? encodeUtf8(key, 'key') : key;
}

function isKey(value: unknown): value is KeyOrBytes {
  return typeof value === 'string' || value instanceof Uint8Array;
}
