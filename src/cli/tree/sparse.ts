/** Files with holes: which parts of them need not be written. */
import type { BigIntStats } from 'node:fs';
import { isZero } from '../../base/bytes.ts';

/** File systems give and take space in such blocks. */
const blockBytes = 4096;
const statBlockBytes = 512n;

/**
 * True when the file takes at least a block less of the disk than it is long: it has holes, or is compressed,
 * which does no harm to think.
 */
export function looksSparse({ size, blocks }: BigIntStats): boolean {
  return process.platform !== 'win32' && blocks * statBlockBytes + BigInt(blockBytes) <= size;
}

/**
 * The parts of `bytes`, which lie at `at` in a file, that are not zero: pairs of from and to, as whole blocks
 * of the file as far as `bytes` has them whole.
 */
export function* dataRanges(bytes: Uint8Array, at: number): Generator<readonly [number, number]> {
  let from = -1;
  for (let block = 0; block < bytes.length; ) {
    const end = Math.min(bytes.length, block + blockBytes - ((at + block) % blockBytes));
    if (isZero(bytes, block, end)) {
      if (from >= 0) yield [from, block];
      from = -1;
    } else if (from < 0) from = block;
    block = end;
  }
  if (from >= 0) yield [from, bytes.length];
}
