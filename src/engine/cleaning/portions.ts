/** How the segments of a cycle are taken in portions. */
import type { FileNo } from '../../base/brands.ts';
import { GiB } from '../../base/limits.ts';
import type { LiveFrames } from '../../chunk/liveness.ts';

/** Copied before it is said where the copies lie, at most: bytes, and frames (60 B of memory each). */
const portionBytesMax = GiB / 2;
const portionFramesMax = 128 * 1024;

/** A segment and its live frames. */
export type Found = readonly [FileNo, LiveFrames];

/** The segments of a cycle in portions of up to `copyMax` bytes; one segment is always allowed. */
export function* portionsOf(
  found: ReadonlyMap<FileNo, LiveFrames>,
  copyMax: number,
): Generator<readonly Found[]> {
  const bytesMax = Math.min(portionBytesMax, copyMax);
  let portion: Found[] = [];
  let [bytes, frames] = [0, 0];
  for (const one of found) {
    const [, live] = one;
    if (portion.length > 0 && (bytes + live.bytes > bytesMax || frames + live.count > portionFramesMax)) {
      yield portion;
      portion = [];
      [bytes, frames] = [0, 0];
    }
    portion.push(one);
    bytes += live.bytes;
    frames += live.count;
  }
  if (portion.length > 0) yield portion;
}
