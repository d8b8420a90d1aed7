/**
 * What a transaction depends on: keys and ranges of row prefixes of tree K, and ranges of tree X (entries of
 * indexes), that nobody else may change between its view and its commit.
 */
import { compareBytes, compareRange, toHex } from '../base/bytes.ts';

/** Row prefixes from <= prefix < to; `to` undefined: to the end of the tree. */
export interface PrefixRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
}

/** The name of a row prefix in maps. */
export function nameOfPrefix(prefix: Uint8Array): string {
  return toHex(prefix);
}

/** Keys and ranges; each key once. */
export class Claims {
  readonly keys: Map<string, Uint8Array> = new Map();
  readonly ranges: PrefixRange[] = [];
  /** Of tree X. */
  readonly entries: PrefixRange[] = [];

  /** `prefix` is kept as it is. */
  addKey(prefix: Uint8Array): void {
    this.keys.set(nameOfPrefix(prefix), prefix);
  }

  /** Bounds are kept as they are; an empty range is nothing. */
  addRange(range: PrefixRange): void {
    if (range.to === undefined || compareBytes(range.from, range.to) < 0) this.ranges.push(range);
  }

  /** The same for entries of indexes. */
  addEntries(range: PrefixRange): void {
    if (range.to === undefined || compareBytes(range.from, range.to) < 0) this.entries.push(range);
  }

  /** Some range of entries holds the row prefix of tree X. */
  holdsEntry(prefix: Uint8Array): boolean {
    return this.entries.some((range) => isIn(range, prefix));
  }

  /** Some key or range holds the row prefix. */
  holdsKey(prefix: Uint8Array): boolean {
    if (this.keys.has(nameOfPrefix(prefix))) return true;
    return this.ranges.some((range) => isIn(range, prefix));
  }

  /** Some key or range has something in common with the range. */
  meetsRange(range: PrefixRange): boolean {
    for (const prefix of this.keys.values()) if (isIn(range, prefix)) return true;
    return this.ranges.some((own) => overlap(own, range));
  }
}

function isIn({ from, to }: PrefixRange, prefix: Uint8Array): boolean {
  if (compareBytes(prefix, from) < 0) return false;
  return to === undefined || compareRange(prefix, 0, prefix.length, to, 0, to.length) < 0;
}

function overlap(a: PrefixRange, b: PrefixRange): boolean {
  const aEndsFirst = a.to !== undefined && compareBytes(a.to, b.from) <= 0;
  const bEndsFirst = b.to !== undefined && compareBytes(b.to, a.from) <= 0;
  return !aEndsFirst && !bEndsFirst;
}
