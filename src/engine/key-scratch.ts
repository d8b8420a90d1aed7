/** Row prefixes of callers' keys, encoded one after another into the same memory. */
import { writeRowPrefix, writeRowPrefixText } from '../format/internal-key.ts';
import type { Key } from './types.ts';

/** Longer keys are rare enough to take an array of their own. */
const keyLengthMax = 4096;

export class KeyScratch {
  /** The row prefix encoded last, from 0 on; replaced when it grows. */
  bytes: Uint8Array = new Uint8Array(256);

  /**
   * Encodes the row prefix of `key` and returns its length; 0 for what is no key or a long one. A string with
   * a lone surrogate is VARVE_INVALID_ARGUMENT.
   */
  aim(space: number, key: Key): number {
    const isText = typeof key === 'string';
    if (!isText && !(key instanceof Uint8Array)) return 0;
    const { length } = key;
    if (length > keyLengthMax) return 0;
    // A character takes three bytes at most, and a zero two.
    const room = 6 + 3 * length;
    if (room > this.bytes.length) this.bytes = new Uint8Array(2 * room);
    return isText ? writeRowPrefixText(this.bytes, 0, space, key) : writeRowPrefix(this.bytes, 0, space, key);
  }
}
