/** Bounds of row prefixes turned back into the bounds of callers' keys that they were made from. */
import { u32be } from '../base/bytes.ts';
import type { KeyRange } from './internal-key.ts';

/**
 * Bounds on keys of `space` that hold the same keys as from <= row prefix < to. `from` and `to` are what
 * boundsOf gives; a bound of another space is none.
 */
export function keyBoundsOf(from: Uint8Array, to: Uint8Array | undefined, space: number): KeyRange {
  const range: KeyRange = {};
  const low = boundKey(from, space);
  if (low !== undefined && (low.key.length > 0 || low.isBehind)) range[low.isBehind ? 'gt' : 'gte'] = low.key;
  const high = to === undefined ? undefined : boundKey(to, space);
  if (high !== undefined) range[high.isBehind ? 'lte' : 'lt'] = high.key;
  return range;
}

/** The key of a bound, and whether it lies behind all versions of that key. */
function boundKey(bound: Uint8Array, space: number): { key: Uint8Array; isBehind: boolean } | undefined {
  if (bound.length < 4) return undefined;
  const own = u32be(bound, 0);
  if (own !== space) return undefined;
  const key = new Uint8Array(bound.length);
  let length = 0;
  let at = 4;
  for (; at < bound.length; at++) {
    const byte = bound[at]!;
    if (byte === 0 && bound[at + 1] !== 0xff)
      return { key: key.slice(0, length), isBehind: bound[at + 1] === 2 };
    key[length++] = byte;
    if (byte === 0) at++;
  }
  return { key: key.slice(0, length), isBehind: false };
}
