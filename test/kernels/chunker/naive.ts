/** Both algorithms straight from their definitions, position by position, with bigint: slow and plain. */
import { viewOf } from '../../../src/base/bytes.ts';
import type { ChunkerKey } from '../../../src/kernels/chunker/key.ts';
import type { ChunkerParams } from '../../../src/kernels/chunker/params.ts';

type HashAt = (bytes: Uint8Array, c: number) => number | undefined;

/** Hash of position c, or undefined where a filter rules the position out. */
function hashOf(key: ChunkerKey): HashAt {
  const view = viewOf(key.bytes);
  if (key.algorithm === 'fastcdc') {
    const gear = Array.from({ length: 256 }, (_, i) => view.getBigUint64(i * 8, true));
    return (bytes, c) => {
      let h = 0n;
      for (let p = c - 64; p < c; p++) h = BigInt.asUintN(64, 2n * h + gear[bytes[p]!]!);
      return Number(h >> 32n);
    };
  }
  const k = BigInt(view.getUint16(0, true));
  const words = Array.from({ length: 16 }, (_, j) => BigInt(view.getUint32(3 + 4 * j, true)));
  const mod8 = (x: number): number => ((x % 256) + 256) % 256;
  const m = (b: Uint8Array, i: number): number => {
    const w = BigInt(b[i - 1]! + 256 * b[i]!);
    return Number(((w * (w + k)) % 65536n) >> 8n);
  };
  const s2 = (b: Uint8Array, i: number): number => mod8(m(b, i) - m(b, i - 2));
  const s3 = (b: Uint8Array, i: number): number => s2(b, i) ^ mod8(2 * s2(b, i - 4));
  return (bytes, c) => {
    const i = c - 1;
    if (mod8(s3(bytes, i) - s3(bytes, i - 8)) !== view.getUint8(2)) return undefined;
    const data = viewOf(bytes);
    let a = 0n;
    for (let j = 0; j < 16; j++) a += BigInt(data.getUint32(c - 64 + 4 * j, true)) * words[j]!;
    a = BigInt.asUintN(32, a);
    a ^= a >> 15n;
    a = BigInt.asUintN(32, a * 0x85ebca6bn);
    a ^= a >> 13n;
    a = BigInt.asUintN(32, a * 0xc2b2ae35n);
    a ^= a >> 16n;
    return Number(a);
  };
}

/** Ends of all chunks of one stream. */
export function naiveCuts(params: ChunkerParams, key: ChunkerKey, bytes: Uint8Array): number[] {
  const hash = hashOf(key);
  const below = (c: number, threshold: number): boolean => {
    const a = hash(bytes, c);
    return a !== undefined && a < threshold;
  };
  const n = bytes.length;
  const ends: number[] = [];
  let s = 0;
  while (s < n) {
    let cut = n;
    if (n - s > params.min) {
      const e = Math.min(n, s + params.max);
      let c = s + params.min;
      while (c < e && !below(c, c < s + params.normal ? params.strict : params.loose)) c++;
      cut = c;
    }
    ends.push(cut);
    s = cut;
  }
  return ends;
}

/** Every position from 64 on, the end of `bytes` excluded, whose hash is below `threshold`. */
export function naivePositions(key: ChunkerKey, bytes: Uint8Array, threshold: number): number[] {
  const hash = hashOf(key);
  const found: number[] = [];
  for (let c = 64; c < bytes.length; c++) {
    const a = hash(bytes, c);
    if (a !== undefined && a < threshold) found.push(c);
  }
  return found;
}
