/**
 * The streaming chunker: bytes are copied once into the window of a kernel, cut there, and hashed there while
 * they are still in the processor's cache.
 *
 * With s the chunk's start and n the end of the stream, a chunk ends
 *     at n                                     when n - s <= min,
 *     at the smallest strict c in [s+min, s+N), else the smallest loose c in [s+N, s+max), c < n,
 *     else at min(n, s+max).
 *
 * Invariants
 * - cuts depend on the bytes alone, never on how they were split into writes
 *   (test: "any split into writes gives the cuts of one write").
 * - each byte is scanned once, but for 64 bytes of warm-up at every `next` that goes on with a chunk:
 *   `#scanned` is the first position not yet tested
 *   (test: "a chunk that grows byte by byte is scanned once").
 * - `next(false)` = 0 leaves room for at least one byte, so that fill and drain cannot come to a halt
 *   (test: "the window takes bytes again after every drain").
 * - a window serves one stream at a time (test: "a released chunker cannot touch the window it gave back").
 *
 * Memory: one window of 2 max + 1 MiB for each open stream and each one kept.
 */
import { assert } from '../../base/assert.ts';
import { invalid } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { fastcdcKernel } from './fastcdc.ts';
import { fastcdcReferenceKernel } from './fastcdc-reference.ts';
import { type ChunkerKey, deriveChunkerKey } from './key.ts';
import { type ChunkerParams, nameOfAlgorithm, paramsProblem } from './params.ts';
import type { ScanKernel } from './scan-kernel.ts';
import { sieveKernel } from './sieve.ts';
import { sieveReferenceKernel } from './sieve-reference.ts';

const wordBytes = 8;

/** Windows a pool keeps for reuse unless told otherwise. */
export const chunkerWindowsKept = 4;

/** How a chunker is made; everything has a default. */
export interface ChunkerOptions {
  /** Key of the parameters' algorithm; the public key when omitted. */
  key?: ChunkerKey;
  /** 'javascript' never uses WebAssembly; 'auto' (default) does where it can. The cuts are the same. */
  kernel?: 'auto' | 'javascript';
}

/** Windows for the streams of one store: a released one is used again by the next stream. */
export class ChunkerPool {
  readonly params: ChunkerParams;
  readonly key: ChunkerKey;
  readonly #kernel: 'auto' | 'javascript';
  readonly #kept: number;
  readonly #idle: ScanKernel[] = [];

  /**
   * Keeps up to `options.kept` released windows (chunkerWindowsKept). VARVE_INVALID_ARGUMENT when `params`
   * cannot be run on or the key is of another algorithm.
   */
  constructor(params: ChunkerParams, options: ChunkerOptions & { kept?: number } = {}) {
    const problem = paramsProblem(params);
    const algorithm = nameOfAlgorithm(params.algorithmId);
    if (problem !== undefined || algorithm === undefined) throw invalid(`chunker parameters: ${problem}`);
    this.params = { ...params };
    this.key = options.key ?? deriveChunkerKey(algorithm);
    if (this.key.algorithm !== algorithm) throw invalid(`chunker key must be of ${algorithm}`);
    this.#kernel = options.kernel ?? 'auto';
    this.#kept = options.kept ?? chunkerWindowsKept;
  }

  /** A chunker for one stream at a time, empty. Give it back with `release`. */
  open(): StreamChunker {
    const kernel = this.#idle.pop() ?? this.#makeKernel();
    return new StreamChunker(this.params, kernel, () => {
      if (this.#idle.length < this.#kept) this.#idle.push(kernel);
    });
  }

  /** Windows kept for reuse right now. */
  get idle(): number {
    return this.#idle.length;
  }

  #makeKernel(): ScanKernel {
    const { params, key } = this;
    const bytes = 2 * params.max + MiB;
    const fast = key.algorithm === 'fastcdc' ? fastcdcKernel : sieveKernel;
    const plain = key.algorithm === 'fastcdc' ? fastcdcReferenceKernel : sieveReferenceKernel;
    const made = this.#kernel === 'auto' ? fast(params, key, bytes) : undefined;
    return made ?? plain(params, key, bytes);
  }
}

/** A chunker with a window of its own; `release` drops it. Use a ChunkerPool for more than one stream. */
export function createChunker(params: ChunkerParams, options: ChunkerOptions = {}): StreamChunker {
  return new ChunkerPool(params, { ...options, kept: 0 }).open();
}

/**
 * Cuts one stream. Fill with `write` (or `space` and `advance`), then take chunks with `next` and `consume`
 * until `next` returns 0; at the end of the stream `next(true)` until 0. `reset` starts the next stream.
 */
export class StreamChunker {
  readonly params: ChunkerParams;
  readonly #giveBack: () => void;
  /** Undefined once released. */
  #kernel: ScanKernel | undefined;
  /** Where the current chunk starts in the window. */
  #start = 0;
  /** End of the bytes in the window. */
  #filled = 0;
  /** First position not yet tested for the current chunk. */
  #scanned = 0;
  /** Length of the current chunk, 0 while not known. */
  #length = 0;
  #ended = false;

  constructor(params: ChunkerParams, kernel: ScanKernel, giveBack: () => void) {
    this.params = params;
    this.#kernel = kernel;
    this.#giveBack = giveBack;
  }

  /** The window: one array for the life of this chunker, never detached. */
  get buffer(): Uint8Array {
    return this.#live().window;
  }

  /** How the kernel runs: 'wasm' or 'javascript'. */
  get kind(): ScanKernel['kind'] {
    return this.#live().kind;
  }

  /** Where the current chunk starts in `buffer`. Moves at `consume`, and at `write` and `space`. */
  get start(): number {
    return this.#start;
  }

  /** Bytes written and not yet consumed. */
  get pending(): number {
    return this.#filled - this.#start;
  }

  /** Bytes the next `write` or `space` can take; 0 means: take chunks first. */
  room(): number {
    const { window } = this.#live();
    return window.length - this.#filled + (this.#mustMove(window) ? this.#movable() : 0);
  }

  /**
   * The free part of the window, to be written in place and made known with `advance`. Ends every borrow of
   * chunk bytes: what is pending moves to the front when the free part behind it has become small.
   */
  space(): Uint8Array {
    const { window } = this.#live();
    assert(!this.#ended, 'nothing is written after the end of a stream');
    if (this.#mustMove(window)) this.#moveToFront(window);
    return window.subarray(this.#filled);
  }

  /** Says that `n` bytes were written at the front of `space()`. */
  advance(n: number): void {
    const { window } = this.#live();
    assert(!this.#ended, 'nothing is written after the end of a stream');
    assert(n >= 0 && n <= window.length - this.#filled, 'bytes written lie in the window');
    this.#filled += n;
  }

  /**
   * Copies bytes[from..] into the window, as many as fit; returns how many. `bytes` is borrowed for the call.
   * Ends every borrow of chunk bytes. 0 for bytes left over means: take chunks first.
   */
  write(bytes: Uint8Array, from = 0): number {
    const free = this.space();
    const taken = Math.min(free.length, bytes.length - from);
    assert(taken >= 0, 'written range lies in its buffer');
    free.set(from === 0 && taken === bytes.length ? bytes : bytes.subarray(from, from + taken));
    this.#filled += taken;
    return taken;
  }

  /**
   * Length of the chunk at `start`, or 0 when more bytes are needed (or, at the end, none are left). `atEnd`
   * says that every byte of the stream has been written. The chunk's bytes are buffer[start .. start+length),
   * borrowed until the next `write`, `space`, `reset` or `release`, also after `consume`.
   */
  next(atEnd: boolean): number {
    const kernel = this.#live();
    if (atEnd) this.#ended = true;
    else assert(!this.#ended, 'the end of a stream is final');
    if (this.#length === 0) this.#length = this.#find(kernel);
    return this.#length;
  }

  /** A view of the current chunk, which `next` has found. Borrowed like the chunk itself. */
  chunk(): Uint8Array {
    assert(this.#length > 0, 'there is a chunk');
    return this.#live().window.subarray(this.#start, this.#start + this.#length);
  }

  /** Goes on after the current chunk, which `next` has found. Moves no bytes. */
  consume(): void {
    assert(this.#length > 0, 'there is a chunk to consume');
    this.#start += this.#length;
    this.#length = 0;
    this.#scanned = this.#start + this.params.min;
  }

  /** Drops what is pending and starts a new stream. */
  reset(): void {
    assert(this.#kernel !== undefined, 'the chunker is not released');
    this.#start = 0;
    this.#filled = 0;
    this.#scanned = this.params.min;
    this.#length = 0;
    this.#ended = false;
  }

  /** Gives the window back. Idempotent; nothing else may be called after it, and every borrow ends. */
  release(): void {
    if (this.#kernel === undefined) return;
    this.#kernel = undefined;
    this.#length = 0;
    this.#giveBack();
  }

  #find(kernel: ScanKernel): number {
    const { min, normal, max } = this.params;
    const start = this.#start;
    const available = this.#filled - start;
    if (available <= min) return this.#ended ? available : 0;
    const from = Math.max(start + min, this.#scanned);
    const end = start + Math.min(available, max);
    if (from < end) {
      const cut = kernel.scan(from, start + normal, end);
      if (cut !== 0) return cut - start;
      this.#scanned = end;
    }
    if (available >= max) return max;
    return this.#ended ? available : 0;
  }

  /** After a drain less than max is pending, so that a move of it pays for at least 1 MiB of new bytes. */
  #mustMove(window: Uint8Array): boolean {
    return this.#start > 0 && this.#filled >= window.length - this.params.max;
  }

  /**
   * Whole words: what comes from shared memory, where it lies alike within a word, is copied far more quickly
   * (base/shared-copy.ts).
   */
  #movable(): number {
    return this.#start - (this.#start % wordBytes);
  }

  #moveToFront(window: Uint8Array): void {
    const moved = this.#movable();
    window.copyWithin(0, moved, this.#filled);
    this.#start -= moved;
    this.#filled -= moved;
    this.#scanned -= moved;
  }

  #live(): ScanKernel {
    assert(this.#kernel !== undefined, 'the chunker is not released');
    return this.#kernel;
  }
}

/**
 * Ends of all chunks of `bytes` (borrowed) taken as one stream; the last is bytes.length. Needs an empty
 * chunker and leaves it empty.
 */
export function chunkAll(chunker: StreamChunker, bytes: Uint8Array): Uint32Array {
  assert(chunker.pending === 0, 'the chunker is empty');
  chunker.reset();
  // No chunk but the last is shorter than min.
  const ends = new Uint32Array(Math.ceil(bytes.length / chunker.params.min));
  let count = 0;
  let end = 0;
  let taken = 0;
  for (;;) {
    taken += chunker.write(bytes, taken);
    const atEnd = taken === bytes.length;
    for (let n = chunker.next(atEnd); n > 0; n = chunker.next(atEnd)) {
      end += n;
      ends[count++] = end;
      chunker.consume();
    }
    if (atEnd) break;
  }
  chunker.reset();
  return ends.slice(0, count);
}
