/**
 * Pieces of shared memory for the streams of one store: a bounded number, made when first needed, handed
 * round. A stream never waits for another's: where none is left it goes on without.
 *
 * Invariants (test/pool/buffer-ring.test.ts)
 * - never more than `count` are out; a stream has at most its share ("streams share the buffers evenly").
 */

import { MiB } from '../base/limits.ts';

/** Memory of all buffers together, at most. */
const ringBytesMax = 32 * MiB;
const bufferBytesTarget = 2 * MiB;
const bufferBytesMax = 8 * MiB;

export class BufferRing {
  /** Bytes of one buffer. */
  readonly bufferBytes: number;
  /** Buffers there may be. */
  readonly count: number;
  readonly #idle: SharedArrayBuffer[] = [];
  #made = 0;
  #users = 0;

  constructor(bufferBytes: number, count: number) {
    this.bufferBytes = bufferBytes;
    this.count = count;
  }

  /** A user begins; pair with `leave`. */
  join(): void {
    this.#users++;
  }

  leave(): void {
    this.#users--;
  }

  /** Users now. */
  get users(): number {
    return this.#users;
  }

  /** Bytes of memory held. */
  get bytes(): number {
    return this.#made * this.bufferBytes;
  }

  /** Buffers out. */
  get out(): number {
    return this.#made - this.#idle.length;
  }

  /** A buffer with any content for a user that has `held`, or undefined. Give it back. */
  take(held: number): SharedArrayBuffer | undefined {
    if (held >= Math.max(1, Math.floor(this.count / this.#users))) return undefined;
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#made >= this.count) return undefined;
    const made = allocate(this.bufferBytes);
    if (made !== undefined) this.#made++;
    return made;
  }

  give(buffer: SharedArrayBuffer): void {
    this.#idle.push(buffer);
  }
}

/** Undefined when the machine has no memory left: work then goes on without. */
function allocate(bytes: number): SharedArrayBuffer | undefined {
  try {
    return new SharedArrayBuffer(bytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * The ring for a store with chunks of up to `chunkMax` bytes and `threads` threads; undefined where chunks
 * are so large that a buffer would hold but a few.
 */
export function ringFor(chunkMax: number, threads: number): BufferRing | undefined {
  // A multiple of the largest chunk: constant runs, which are cut there, then line up with the buffers.
  const bytes = Math.ceil(bufferBytesTarget / chunkMax) * chunkMax;
  const roomy = Math.max(chunkMax * 4, bytes);
  if (roomy > bufferBytesMax) return undefined;
  return new BufferRing(roomy, Math.min(2 * threads + 4, Math.floor(ringBytesMax / roomy)));
}
