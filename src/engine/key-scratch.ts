/** Row prefixes of callers' keys, encoded one after another into the same memory. */
import { type KeyRoom, writeKey } from './key-args.ts';
import type { Key } from './types.ts';

/** Longer keys are rare enough to take an array of their own. */
const keyLengthMax = 4096;

export class KeyScratch implements KeyRoom {
  /** The row prefix encoded last, from 0 on; replaced when it grows. */
  bytes: Uint8Array = new Uint8Array(256);

  /**
   * Encodes the row prefix of `key` and returns its length; 0 for what is no key or a long one. A string with
   * a lone surrogate is VARVE_INVALID_ARGUMENT.
   */
  aim(space: number, key: Key): number {
    if (typeof key !== 'string' && !(key instanceof Uint8Array)) return 0;
    return key.length > keyLengthMax ? 0 : writeKey(this, space, key);
  }

  scratch(bytes: number): Uint8Array {
    if (bytes > this.bytes.length) this.bytes = new Uint8Array(2 * bytes);
    return this.bytes;
  }
}
