/**
 * SHA-256 behind one switch: the entry point binds a provider (node:crypto, or the portable one), every
 * other module imports only this file.
 *
 * Invariants
 * - every provider gives the digest of FIPS 180-4, so the choice never shows on disk
 *   (test: "both providers agree at every length around the block size").
 */
import { assert } from '../../base/assert.ts';
import { toHex } from '../../base/bytes.ts';

/** Length of a digest. */
export const sha256Bytes = 32;

/** A digest over bytes that arrive in pieces. */
export interface IncrementalSha256 {
  /** Takes in `bytes` (borrowed for the call). */
  update(bytes: Uint8Array): void;
  /** The 32-byte digest, a fresh array. Ends the object: nothing may be called after it. */
  digest(): Uint8Array;
}

/** An implementation of SHA-256. */
export interface Sha256Provider {
  /** For stats and messages, such as 'node:crypto'. */
  readonly name: string;
  /** Writes the digest of buf[from..to) into out[at..at+32). Both arrays are borrowed for the call. */
  into(buf: Uint8Array, from: number, to: number, out: Uint8Array, at: number): void;
  incremental(): IncrementalSha256;
  /** The digest of `bytes` in lower-case hex, where the provider has a quicker way to it than `into`. */
  hex?(bytes: Uint8Array): string;
}

let provider: Sha256Provider | undefined;

/** Binds the implementation for this thread. Entry points, of workers too, call it before anything hashes. */
export function setSha256(chosen: Sha256Provider): void {
  provider = chosen;
}

function bound(): Sha256Provider {
  assert(provider !== undefined, 'setSha256 has run');
  return provider;
}

/** Name of the bound provider, for stats. */
export function sha256Provider(): string {
  return bound().name;
}

/** Writes the digest of buf[from..to) into out[at..at+32). The arrays may share memory. Borrows both. */
export function sha256Into(buf: Uint8Array, from: number, to: number, out: Uint8Array, at: number): void {
  assert(from >= 0 && from <= to && to <= buf.length, 'hashed range lies in its buffer');
  assert(at >= 0 && at + sha256Bytes <= out.length, 'digest fits into its buffer');
  bound().into(buf, from, to, out, at);
}

/** The 32-byte digest of `bytes`, a fresh array. */
export function sha256(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(sha256Bytes);
  bound().into(bytes, 0, bytes.length, out, 0);
  return out;
}

/** The digest of `bytes` as 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array): string {
  return bound().hex?.(bytes) ?? toHex(sha256(bytes));
}

/** Starts a digest over bytes that arrive in pieces. */
export function incrementalSha256(): IncrementalSha256 {
  return bound().incremental();
}
