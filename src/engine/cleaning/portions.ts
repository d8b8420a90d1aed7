/** How the segments of a cycle are taken in portions. */
import type { FileNo } from '../../base/brands.ts';
import { GiB } from '../../base/limits.ts';
import type { LiveFrames, Liveness } from '../../chunk/liveness.ts';
import type { CatalogSegment } from '../../format/catalog.ts';

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

/** Live frames of a segment, about, by what a scan has found. */
export function expectedFrames(
  sealed: readonly CatalogSegment[],
  liveness: Liveness | undefined,
): (no: FileNo) => number {
  const byNo = new Map(sealed.map((info) => [info.no, info]));
  return (no) => {
    const { frames, dataLen } = byNo.get(no) ?? { frames: 0, dataLen: 0 };
    const share = (liveness?.live.get(no) ?? 0) / Math.max(1, dataLen);
    return Math.ceil(frames * Math.min(1, share * 1.1));
  };
}
