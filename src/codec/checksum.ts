/**
 * xxh64 over one contiguous range (xxhash-wasm). 64-bit values stay inside this file and the cold paths
 * of format/: hot paths write and compare checksums in place and never hold a bigint.
 *
 * `initChecksum` must have resolved once in the process (each worker) before anything else here is called.
 */
import xxhash, { type XXHashAPI } from 'xxhash-wasm';
import { assert } from '../base/assert.ts';
import { viewOf } from '../base/bytes.ts';
import { KiB } from '../base/limits.ts';

/** Eight bytes on their way to a bigint: a view of every buffer would cost more than copying them. */
const word = new Uint8Array(8);
const wordView = viewOf(word);

/**
 * Longer ranges are hashed in pieces: they fit into the memory WebAssembly begins with, which takes
 * milliseconds to grow, and into the cache of the processor, where a MiB at once is a fifth slower.
 */
const pieceBytes = 60 * KiB;

let api: XXHashAPI | undefined;

/** Compiles the WebAssembly module. Idempotent; called by every entry point that opens a store. */
export async function initChecksum(): Promise<void> {
  api ??= await xxhash();
}

/** xxh64 of `bytes` with `seed`. */
export function xxh64(bytes: Uint8Array, seed = 0n): bigint {
  assert(api !== undefined, 'initChecksum has run');
  if (bytes.length <= pieceBytes) return api.h64Raw(bytes, seed);
  const hash = api.create64(seed);
  for (let at = 0; at < bytes.length; at += pieceBytes) hash.update(bytes.subarray(at, at + pieceBytes));
  return hash.digest();
}

/** Writes xxh64(seed; buf[from..to)) at `at`, little-endian. */
export function writeChecksum(buf: Uint8Array, at: number, from: number, to: number, seed = 0n): void {
  assert(at >= 0 && at + word.length <= buf.length, 'a checksum fits into its buffer');
  wordView.setBigUint64(0, xxh64(buf.subarray(from, to), seed), true);
  for (let i = 0; i < 8; i++) buf[at + i] = word[i]!;
}

/** True when the 8 bytes at `at` are xxh64(seed; buf[from..to)). */
export function checksumMatches(buf: Uint8Array, at: number, from: number, to: number, seed = 0n): boolean {
  return storedChecksum(buf, at) === xxh64(buf.subarray(from, to), seed);
}

/** The checksum stored at `at`, for messages and references to it. */
export function storedChecksum(buf: Uint8Array, at: number): bigint {
  for (let i = 0; i < 8; i++) word[i] = buf[at + i]!;
  return wordView.getBigUint64(0, true);
}

/**
 * Seeds for the structures of one file: low 64 bits of the file's salt, XORed with a position.
 * A block that reappears in another file or at another place fails its checksum.
 */
export class FileSeed {
  readonly base: bigint;

  /** `salt` is the 12-byte salt of the file's header. */
  constructor(salt: Uint8Array) {
    this.base = viewOf(salt).getBigUint64(0, true);
  }

  at(position: number): bigint {
    return this.base ^ BigInt(position);
  }
}

/** xxh64 over a whole file given in pieces (costs 1.1 us of set-up; use `xxh64` for single structures). */
export class StreamingChecksum {
  readonly #state: { update(input: Uint8Array): unknown; digest(): bigint };

  constructor(seed = 0n) {
    assert(api !== undefined, 'initChecksum has run');
    this.#state = api.create64(seed);
  }

  update(bytes: Uint8Array): void {
    this.#state.update(bytes);
  }

  digest(): bigint {
    return this.#state.digest();
  }
}
