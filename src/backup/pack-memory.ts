/**
 * Memory of packs, kept for the next run for a while: a run needs as much as two packs, and threads that were
 * shown it hold it until their own garbage is collected, so without this a run has its memory beside that of
 * the run before it.
 *
 * Invariants (test/backup/pack-memory.test.ts)
 * - What is taken is nobody else's, is long enough, and of the kind asked for ("memory is given out once, to
 *   whoever it fits").
 * - None is kept for longer than `idleMs`, and no more than that of two runs ("memory that nobody takes is
 *   let go").
 */

import { isAligned } from '../base/aligned-bytes.ts';
import type { Clock } from '../base/clock.ts';
import type { PackMemoryKind } from './pack-builder.ts';

/** As long as threads are kept. */
const idleMs = 10_000;
/** Two runs of two packs each. */
const spareMax = 4;

interface Spare {
  readonly buffer: ArrayBufferLike;
  /** Ends the wait for its end. */
  readonly taken: AbortController;
}

/** Given last last. */
const spare: Spare[] = [];

/** Memory of `least` bytes or more with any content, the caller's; undefined where there is none. */
export function takePackMemory(least: number, kind: PackMemoryKind): Uint8Array | undefined {
  const isKind = { shared: isShared, any: () => true, own: isOwn }[kind];
  const fits = ({ buffer }: Spare): boolean => buffer.byteLength >= least && isKind(buffer);
  const one = spare.findLast(fits);
  if (one === undefined) return undefined;
  letGo(one);
  one.taken.abort();
  return new Uint8Array(one.buffer);
}

/** Takes all the memory `bytes` lie in, which nobody uses any more. */
export function givePackMemory({ buffer }: Uint8Array, clock: Clock): void {
  const one = { buffer, taken: new AbortController() };
  spare.push(one);
  // The sleep is rejected when it is taken.
  clock.sleep(idleMs, one.taken.signal).then(
    () => letGo(one),
    () => undefined,
  );
  if (spare.length <= spareMax) return;
  const oldest = spare[0]!;
  letGo(oldest);
  oldest.taken.abort();
}

function letGo(one: Spare): void {
  const at = spare.indexOf(one);
  if (at >= 0) spare.splice(at, 1);
}

function isShared(buffer: ArrayBufferLike): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer;
}

function isOwn(buffer: ArrayBufferLike): boolean {
  return !isShared(buffer) && !isAligned({ buffer });
}
