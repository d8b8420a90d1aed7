/** From how much work on threads are started, on this machine. */
import type { Clock } from '../base/clock.ts';
import { KiB } from '../base/limits.ts';
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';

const probeBytes = 256 * KiB;
/** The quickest counts: the first runs cold, and others may be interrupted. */
const probes = 4;
/** What `probeBytes` take where nothing but arithmetic computes SHA-256, in ms. */
const slowMs = 0.65;
/** A clock that hardly moved says nothing. */
const timesMax = 8;

/**
 * `slowBytes` is what threads save their start on where SHA-256 is slow, 2.5 ns a byte: where the calling
 * thread hashes quicker, by instructions of its own, as much more. Takes about a millisecond.
 */
export function startBytesHere(slowBytes: number, clock: Clock): number {
  const bytes = new Uint8Array(probeBytes);
  const digest = new Uint8Array(sha256Bytes);
  let quickest = slowMs;
  for (let i = 0; i < probes; i++) {
    const begun = clock.monotonic();
    sha256Into(bytes, 0, probeBytes, digest, 0);
    const took = clock.monotonic() - begun;
    if (took > 0) quickest = Math.min(quickest, took);
  }
  return Math.round(slowBytes * Math.min(timesMax, slowMs / quickest));
}
