import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { hashKey32, keyHashVersion, mix32 } from '../../src/codec/key-hash.ts';

/** Published vectors of MurmurHash3 x86_32 with seed 0. */
const vectors: [string, number][] = [
  ['', 0],
  ['hello', 0x248bfa47],
  ['hello, world', 0x149bbb7f],
  ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
];

describe('key hash', () => {
  test('version 1 gives the published Murmur3 results', () => {
    expect(keyHashVersion).toBe(1);
    for (const [text, hash] of vectors) {
      const bytes = encodeUtf8(text);
      expect([text, hashKey32(bytes, 0, bytes.length).toString(16)]).toEqual([text, hash.toString(16)]);
    }
  });

  test('bytes above 7f are unsigned and every result is a u32', () => {
    expect(hashKey32(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 0, 4)).toBe(0x76293b50);
    expect(hashKey32(Uint8Array.of(0x21, 0x43, 0x65, 0x87), 0, 4)).toBe(0xf55b516b);
    expect(hashKey32(Uint8Array.of(0x21, 0x43, 0x65), 0, 3)).toBe(0x7e4a8634);
    expect(hashKey32(Uint8Array.of(0x21, 0x43), 0, 2)).toBe(0xa0f7b07a);
    expect(hashKey32(Uint8Array.of(0x21), 0, 1)).toBe(0x72661cf4);
    expect(hashKey32(Uint8Array.of(0, 0, 0, 0), 0, 4)).toBe(0x2362f9de);
  });

  test('a range hashes as its copy, whatever stands around it', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), (front, key, back) => {
        const all = Uint8Array.of(...front, ...key, ...back);
        const hash = hashKey32(all, front.length, front.length + key.length);
        expect(hash).toBe(hashKey32(key, 0, key.length));
        expect(hash).toBe(hash >>> 0);
      }),
    );
  });

  test('the finalizer is the published one', () => {
    expect(mix32(0)).toBe(0);
    expect(mix32(1)).toBe(0x514e28b7);
    expect(mix32(-1)).toBe(0x81f16f39);
  });
});
