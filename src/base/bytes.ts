/** Byte helpers: comparison in the one order the engine knows, hex, UTF-8, little-endian access. */
import { invalid } from './errors.ts';

export const emptyBytes: Uint8Array = new Uint8Array(0);

/** Unsigned byte order: negative, 0 or positive. The only order of keys anywhere in the engine. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const d = a[i]! - b[i]!;
    if (d !== 0) return d;
  }
  return a.length - b.length;
}

/** Compares `a[aFrom..aTo)` with `b[bFrom..bTo)` without making views. */
export function compareRange(
  a: Uint8Array,
  aFrom: number,
  aTo: number,
  b: Uint8Array,
  bFrom: number,
  bTo: number,
): number {
  const n = Math.min(aTo - aFrom, bTo - bFrom);
  for (let i = 0; i < n; i++) {
    const d = a[aFrom + i]! - b[bFrom + i]!;
    if (d !== 0) return d;
  }
  return aTo - aFrom - (bTo - bFrom);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}

/** The smallest byte string above every string that starts with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i]! < 0xff) {
      const end = prefix.slice(0, i + 1);
      end[i]!++;
      return end;
    }
  }
  return undefined;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let total = 0;
  for (const part of parts) total += part.length;
  const out = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const hexDigits = '0123456789abcdef';
const hexPairs: string[] = Array.from({ length: 256 }, (_, b) => hexDigits[b >> 4]! + hexDigits[b & 15]!);

export function toHex(bytes: Uint8Array): string {
  let out = '';
  for (let i = 0; i < bytes.length; i++) out += hexPairs[bytes[i]!];
  return out;
}

/** The first byte of a number in memory is its lowest. */
const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Little-endian words (copied): whole ones. Word by word where the machine has them otherwise. */
export function wordsOf(bytes: Uint8Array, asInMemory: boolean = isLittleEndian): Uint32Array {
  const words = new Uint32Array(bytes.length / 4);
  if (asInMemory) new Uint8Array(words.buffer).set(bytes);
  else {
    const view = viewOf(bytes);
    for (let i = 0; i < words.length; i++) words[i] = view.getUint32(4 * i, true);
  }
  return words;
}

/** Inverse of toHex; VARVE_INVALID_ARGUMENT on anything but an even number of hex digits. */
export function fromHex(hex: string): Uint8Array {
  if (hex.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(hex)) throw invalid('not a hex string');
  const out = new Uint8Array(hex.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16);
  return out;
}

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const looseDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** UTF-8 of a well-formed string. Lone surrogates are refused: they would all map to the same bytes. */
export function encodeUtf8(text: string, what = 'string'): Uint8Array {
  if (!isWellFormed(text))
    throw invalid(`${what} has a lone surrogate: give a Uint8Array for arbitrary bytes`);
  return encoder.encode(text);
}

/** Text of `bytes`, or undefined when they are not valid UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** Text of `bytes` for people: invalid sequences become U+FFFD. Never for keys. */
export function displayText(bytes: Uint8Array): string {
  return looseDecoder.decode(bytes);
}

const surrogate = /[\ud800-\udfff]/;
const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

export function isWellFormed(text: string): boolean {
  return !surrogate.test(text) || !loneSurrogate.test(text);
}

/** Rounds up to a multiple of 8. */
export function align8(n: number): number {
  return n % 8 === 0 ? n : n + (8 - (n % 8));
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Long stretches are compared by words. */
const wordsFrom = 256;

/** True when `bytes[from..to)` are all zero. */
export function isZero(bytes: Uint8Array, from = 0, to: number = bytes.length): boolean {
  let at = from;
  if (to - from >= wordsFrom && to <= bytes.length) {
    for (; (bytes.byteOffset + at) % 4 !== 0; at++) if (bytes[at] !== 0) return false;
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, Math.floor((to - at) / 4));
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
    at += words.length * 4;
  }
  for (; at < to; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** The unsigned 32-bit number in the four bytes at `at`, little-endian; not bounds-checked, makes no view. */
export function u32le(bytes: Uint8Array, at: number): number {
  return i32le(bytes, at) >>> 0;
}

/** The same, big-endian. */
export function u32be(bytes: Uint8Array, at: number): number {
  return i32be(bytes, at) >>> 0;
}

/** The same as a signed number: for hashes and comparisons, where it stays a small integer. */
export function i32le(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** The signed one, big-endian. */
export function i32be(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** The 48-bit number in the six bytes at `at`, little-endian: a time. */
export function u48le(bytes: Uint8Array, at: number): number {
  return u32le(bytes, at) + (bytes[at + 4]! | (bytes[at + 5]! << 8)) * 2 ** 32;
}

/** Below this a loop beats `set` on a fresh view. */
const loopBytesMax = 32;

/** Copies `from[start..end)` to `to` at `at`; makes no object for a short range. */
export function copyRange(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start > loopBytesMax) {
    to.set(from.subarray(start, end), at);
    return;
  }
  for (let i = start; i < end; i++) to[at++] = from[i]!;
}

/** Bytes that two arrays both begin with. */
export function sharedBytes(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}

const headBytes = 6;

/**
 * The six bytes buf[from..to) begins with as a number, zeros where it is shorter: of two ranges whose numbers
 * differ, the one with the lower number comes first; where they are equal it takes `compareRange` to tell.
 */
export function keyHead(buf: Uint8Array, from: number, to: number): number {
  let head = 0;
  for (let i = from; i < from + headBytes; i++) head = head * 256 + (i < to ? buf[i]! : 0);
  return head;
}
