/** Random edits: what a small change costs, since whole chunks around it are stored anew. */
import { concatBytes } from '../base/bytes.ts';
import { Prng } from '../base/prng.ts';

/**
 * The bytes with `count` edits of `length` bytes at places spread over them: in turn bytes are inserted,
 * overwritten and removed. A fresh array; the seed decides everything.
 */
export function edited(bytes: Uint8Array, count: number, length: number, seed: number): Uint8Array {
  const prng = new Prng(seed);
  const stride = Math.floor(bytes.length / count);
  const parts: Uint8Array[] = [];
  let from = 0;
  for (let i = 0; i < count; i++) {
    const at = Math.max(from, i * stride + prng.below(Math.max(1, stride)));
    parts.push(bytes.subarray(from, at));
    if (i % 3 !== 2) parts.push(prng.bytes(length));
    from = Math.min(bytes.length, i % 3 === 0 ? at : at + length);
  }
  parts.push(bytes.subarray(from));
  return concatBytes(parts);
}
