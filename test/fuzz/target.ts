/** What a fuzzer needs to know of a decoder. */
import { deepStrictEqual } from 'node:assert';
import { equalBytes, toHex } from '../../src/base/bytes.ts';
import type { Prng } from '../../src/base/prng.ts';

export interface Target {
  readonly name: string;
  /** Encodes something made from `prng`, decodes it and throws unless that gives the same; the bytes. */
  sample(prng: Prng): Uint8Array;
  /** Decodes borrowed bytes. Throws VarveError to refuse them and any other error for a fault. */
  run(bytes: Uint8Array): void;
  /** Makes checksums fit, in place: half of the inputs go through it. */
  reseal?(bytes: Uint8Array): void;
}

/** The format allows one encoding only. */
export function sameBytes(accepted: Uint8Array, encoded: Uint8Array): void {
  if (equalBytes(accepted, encoded)) return;
  throw new Error(
    `accepted bytes encode differently: ${toHex(accepted.slice(0, 200))}, ${toHex(encoded.slice(0, 200))}`,
  );
}

export function sameValue(actual: unknown, expected: unknown): void {
  deepStrictEqual(actual, expected);
}
