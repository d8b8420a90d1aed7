import { describe, expect, test } from 'vitest';
import { toHex, viewOf } from '../../../src/base/bytes.ts';
import { Prng } from '../../../src/base/prng.ts';
import {
  deriveChunkerKey,
  passCount,
  publicChunkerSeed,
  sieveByte,
} from '../../../src/kernels/chunker/key.ts';
import { sha256 } from '../../../src/kernels/hash/sha256.ts';

const counted = Uint8Array.from({ length: 32 }, (_, i) => i);

describe('golden keys', () => {
  test('the public seed never changes', () => {
    expect(toHex(publicChunkerSeed())).toBe(
      '98f442dc4c6d8bc0677e2b70d77f5095715bd00ec8cdc950d4a4eb41c8278b78',
    );
  });

  test('the gear table of the public seed never changes', () => {
    const key = deriveChunkerKey('fastcdc');
    expect(key.bytes.length).toBe(2048);
    expect(toHex(key.bytes.subarray(0, 16))).toBe('c38a54d816457ead5fdf5c54f58b8710');
    expect(key.check).toBe(0xfc9c3756c54f546dn);
  });

  test('the sieve key of the public seed never changes', () => {
    const key = deriveChunkerKey('sieve');
    expect(toHex(key.bytes)).toBe(
      'af5e5143060d5f7f152d8fcd2cf7883f9edba39d0ffed517a58d3f69e37ac16dc19195' +
        'fb3feb1b17ebb35ec9f59735bdfa4dbe8307335985fae84291e206cc6b2ec220',
    );
    expect(key.check).toBe(0xbbc7ec1e053e25d3n);
  });

  test('keys of another seed are others and never change', () => {
    expect(deriveChunkerKey('fastcdc', counted).check).toBe(0x53fd644168fa036n);
    expect(deriveChunkerKey('sieve', counted).check).toBe(0x3a0e4c3fd8c251f3n);
  });
});

test('the check value is the first 8 bytes of the hash of the derived bytes', () => {
  for (const algorithm of ['fastcdc', 'sieve'] as const) {
    const key = deriveChunkerKey(algorithm, counted);
    expect(key.check).toBe(viewOf(sha256(key.bytes)).getBigUint64(0, true));
  }
});

test('a seed of another length is refused', () => {
  for (const length of [0, 31, 33]) {
    expect(() => deriveChunkerKey('fastcdc', new Uint8Array(length))).toThrow('32 bytes');
  }
});

test('every part of a sieve key is odd and lets streams of two byte values pass', () => {
  const prng = new Prng(11);
  for (let round = 0; round < 200; round++) {
    const { bytes } = deriveChunkerKey('sieve', prng.bytes(32));
    expect(bytes.length).toBe(67);
    const view = viewOf(bytes);
    const odd = [view.getUint16(0, true), bytes[2]!];
    for (let at = 3; at < 67; at += 4) odd.push(view.getUint32(at, true));
    expect(odd.every((part) => part % 2 === 1)).toBe(true);
    expect(passCount(odd[0]!, odd[1]!, 0, 1)).toBeGreaterThanOrEqual(128);
    expect(passCount(odd[0]!, odd[1]!, 0, 255)).toBeGreaterThanOrEqual(128);
  }
});

test('the count of passing strings equals one made by trying them all', () => {
  const prng = new Prng(3);
  for (const [x, y] of [
    [0, 1],
    [0, 255],
    [48, 49],
  ] as const) {
    const k = prng.below(32_768) * 2 + 1;
    const filterKey = prng.below(128) * 2 + 1;
    let count = 0;
    for (let bits = 0; bits < 65_536; bits++) {
      const b = (i: number): number => ((bits >> i) & 1 ? y : x);
      const m = (i: number): number => sieveByte(b(i - 1) + 256 * b(i), k);
      const s2 = (i: number): number => (m(i) - m(i - 2)) & 255;
      const s3 = (i: number): number => s2(i) ^ ((2 * s2(i - 4)) & 255);
      if (((s3(15) - s3(7)) & 255) === filterKey) count++;
    }
    expect(passCount(k, filterKey, x, y)).toBe(count);
  }
});
