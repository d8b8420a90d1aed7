/** Changes of bytes that tend to reach further into a decoder. */
import type { Prng } from '../../src/base/prng.ts';

const lengthMax = 16 * 1024;
/** Mostly one: a second change tends to undo what the first one got right. */
const changesAtOnce = [1, 1, 1, 2, 4, 8];
const bytesOfNote = [0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0x81, 0xc0, 0xfe, 0xff];
const numbersOfNote = [
  0,
  1,
  15,
  16,
  17,
  48,
  64,
  255,
  256,
  2048,
  4096,
  65535,
  65536,
  2 ** 24,
  2 ** 31,
  2 ** 32 - 1,
];

type Bytes = Uint8Array<ArrayBufferLike>;
type Change = (prng: Prng, bytes: Bytes, other: Bytes) => Bytes;

const changes: readonly Change[] = [
  (prng, bytes) => {
    bytes[prng.below(bytes.length)]! ^= 1 << prng.below(8);
    return bytes;
  },
  (prng, bytes) => {
    bytes[prng.below(bytes.length)] = prng.below(256);
    return bytes;
  },
  (prng, bytes) => {
    bytes[prng.below(bytes.length)] = prng.pick(bytesOfNote);
    return bytes;
  },
  (prng, bytes) => {
    const at = prng.below(bytes.length);
    bytes[at] = bytes[at]! + prng.below(9) - 4;
    return bytes;
  },
  (prng, bytes) => {
    const width = prng.pick([2, 4]);
    if (bytes.length < width) return bytes;
    const at = prng.below(bytes.length - width + 1);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const little = prng.chance(0.8);
    const value = prng.pick(numbersOfNote) + prng.below(3) - 1;
    if (width === 2) view.setUint16(at, value, little);
    else view.setUint32(at, value, little);
    return bytes;
  },
  (prng, bytes) => {
    const at = prng.below(bytes.length);
    return bytes.fill(prng.pick(bytesOfNote), at, at + 1 + prng.below(16));
  },
  (prng, bytes) => splice(bytes, prng.below(bytes.length), 1 + prng.below(8), new Uint8Array(0)),
  (prng, bytes) => splice(bytes, prng.below(bytes.length + 1), 0, prng.bytes(1 + prng.below(8))),
  (prng, bytes) => {
    const from = prng.below(bytes.length);
    const piece = bytes.slice(from, from + 1 + prng.below(64));
    return splice(bytes, prng.below(bytes.length + 1), prng.chance(0.5) ? piece.length : 0, piece);
  },
  (prng, bytes, other) => {
    if (other.length === 0) return bytes;
    const from = prng.below(other.length);
    const piece = other.slice(from, from + 1 + prng.below(128));
    return splice(bytes, prng.chance(0.5) ? from : prng.below(bytes.length + 1), piece.length, piece);
  },
  (prng, bytes) => bytes.slice(0, prng.below(bytes.length + 1)),
  (prng, bytes) => splice(bytes, bytes.length, 0, prng.bytes(1 + prng.below(32))),
];

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const to = Math.min(bytes.length, at + remove);
  const out = new Uint8Array(at + insert.length + bytes.length - to);
  out.set(bytes.subarray(0, at));
  out.set(insert, at);
  out.set(bytes.subarray(to), at + insert.length);
  return out;
}

/** A changed copy of `bytes`; pieces may come from `other`. Both are borrowed and left as they are. */
export function mutate(prng: Prng, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let out: Bytes = bytes.slice();
  for (let left = prng.pick(changesAtOnce); left > 0; left--) {
    out = out.length === 0 ? prng.bytes(1 + prng.below(64)) : prng.pick(changes)(prng, out, other);
  }
  return out.length > lengthMax ? out.slice(0, lengthMax) : out;
}
