/**
 * Key material of the chunkers, derived from a 32-byte seed.
 *
 * Plain stores use the fixed public seed, so that two stores cut the same bytes alike and can replicate chunk
 * by chunk. A store keeps the check value of its key beside its parameters: a derivation that changed then
 * fails at open, where it would otherwise end deduplication in silence.
 */
import { encodeUtf8, viewOf } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { sha256 } from '../hash/sha256.ts';
import type { ChunkerAlgorithm } from './params.ts';

/** Length of a seed. */
export const chunkerSeedBytes = 32;

/** Derived key material of one algorithm. */
export interface ChunkerKey {
  readonly algorithm: ChunkerAlgorithm;
  /**
   * fastcdc: the gear table, 256 u64 LE. sieve: K u16 LE, FK u8, then CK, 16 u32 LE; all of them odd.
   * Never modified after the derivation.
   */
  readonly bytes: Uint8Array;
  /** First 8 bytes of SHA-256(bytes), little-endian. */
  readonly check: bigint;
}

const gearBytes = 256 * 8;
const gearDomain = 'varve gear v1';

const sieveBytes = 2 + 1 + 16 * 4;
const sieveDomain = 'varve chunker v1';

const sieveBlocks = 3;
/** Bits stored as bytes: the two-valued streams that are common enough to matter. */
const starvedAlphabets = [
  [0, 1],
  [0, 255],
] as const;
/**
 * A key that passes fewer strings over such an alphabet is rejected: about one in three, many of which would
 * cut these streams at the largest chunk nearly always and so find few duplicates in them.
 */
const passCountMin = 128;

const digestBytes = 32;

/** The seed of stores without encryption: SHA-256("varve public chunker seed"). Never changes. */
export function publicChunkerSeed(): Uint8Array {
  return sha256(encodeUtf8('varve public chunker seed'));
}

/** Keys of the public seed, derived once in a process: every open asks for one. */
const publicKeys = new Map<ChunkerAlgorithm, ChunkerKey>();

/**
 * Derives the key of `algorithm` from `seed` (borrowed, 32 bytes; VARVE_INVALID_ARGUMENT otherwise), the
 * public one when none is given.
 */
export function deriveChunkerKey(algorithm: ChunkerAlgorithm, seed?: Uint8Array): ChunkerKey {
  if (seed !== undefined) return derive(algorithm, seed);
  const known = publicKeys.get(algorithm);
  if (known !== undefined) return known;
  const key = derive(algorithm, publicChunkerSeed());
  publicKeys.set(algorithm, key);
  return key;
}

function derive(algorithm: ChunkerAlgorithm, seed: Uint8Array): ChunkerKey {
  if (seed.length !== chunkerSeedBytes) {
    throw invalid(`chunker seed must be ${chunkerSeedBytes} bytes, not ${seed.length}`);
  }
  const bytes = algorithm === 'fastcdc' ? deriveGear(seed) : deriveSieve(seed);
  return { algorithm, bytes, check: viewOf(sha256(bytes)).getBigUint64(0, true) };
}

function deriveGear(seed: Uint8Array): Uint8Array {
  return keyBlocks(gearDomain, seed, 0, gearBytes / digestBytes);
}

/** Attempt t reads the blocks 3t, 3t+1, 3t+2; a rejected key is rejected whole. */
function deriveSieve(seed: Uint8Array): Uint8Array {
  for (let attempt = 0; ; attempt++) {
    const bytes = keyBlocks(sieveDomain, seed, attempt * sieveBlocks, sieveBlocks).slice(0, sieveBytes);
    bytes[0]! |= 1;
    bytes[2]! |= 1;
    for (let at = 3; at < sieveBytes; at += 4) bytes[at]! |= 1;
    const k = bytes[0]! + 256 * bytes[1]!;
    const filterKey = bytes[2]!;
    if (starvedAlphabets.every(([x, y]) => passCount(k, filterKey, x, y) >= passCountMin)) return bytes;
  }
}

/**
 * How many of the 2^16 strings of 16 bytes over {x, y} pass the sieve's filter; 256 is what chance gives.
 *
 * The filter value is s3(i) - s3(i-8) mod 256, and s3(i) depends on the bytes i-7 .. i only: the two terms
 * range over the same 256 values independently, so their difference is counted from one histogram.
 */
export function passCount(k: number, filterKey: number, x: number, y: number): number {
  const symbol = (bits: number, at: number): number => ((bits >> at) & 1 ? y : x);
  /** m of the pair that ends at bit `at`; older bytes are higher bits. */
  const m = (bits: number, at: number): number => sieveByte(symbol(bits, at + 1) + 256 * symbol(bits, at), k);
  const s2 = (bits: number, at: number): number => (m(bits, at) - m(bits, at + 2)) & 255;
  const histogram = new Uint16Array(256);
  for (let bits = 0; bits < 256; bits++) histogram[s2(bits, 0) ^ ((2 * s2(bits, 4)) & 255)]!++;
  let count = 0;
  for (let value = 0; value < 256; value++)
    count += histogram[value]! * histogram[(value - filterKey) & 255]!;
  return count;
}

/** m(w) = ((w * (w + K)) mod 2^16) >> 8, for w and K of 16 bits. */
export function sieveByte(w: number, k: number): number {
  // Below 2^33 a product is exact in a double; `& 0xffff` takes it modulo 2^32 first.
  return ((w * (w + k)) & 0xffff) >>> 8;
}

/** `count` blocks SHA-256(domain || seed || u32le(counter)) from counter `first` on. */
function keyBlocks(domain: string, seed: Uint8Array, first: number, count: number): Uint8Array {
  const name = encodeUtf8(domain);
  const input = new Uint8Array(name.length + seed.length + 4);
  input.set(name);
  input.set(seed, name.length);
  const view = viewOf(input);
  const out = new Uint8Array(count * digestBytes);
  for (let i = 0; i < count; i++) {
    view.setUint32(name.length + seed.length, first + i, true);
    out.set(sha256(input), i * digestBytes);
  }
  return out;
}
