import { describe, expect, test } from 'vitest';
import { encodeUtf8, toHex } from '../../../src/base/bytes.ts';
import { Prng } from '../../../src/base/prng.ts';
import {
  incrementalSha256,
  type Sha256Provider,
  setSha256,
  sha256,
  sha256Hex,
  sha256Into,
  sha256Provider,
} from '../../../src/kernels/hash/sha256.ts';
import { nobleSha256 } from '../../../src/kernels/hash/sha256-noble.ts';
import { intoByCharCodes, intoByCreateHash, nodeSha256 } from '../../../src/kernels/hash/sha256-node.ts';

// FIPS 180-4 examples.
const vectors: [string, string][] = [
  ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
];

function using<T>(provider: Sha256Provider, body: () => T): T {
  setSha256(provider);
  try {
    return body();
  } finally {
    setSha256(nodeSha256);
  }
}

describe.each([nodeSha256, nobleSha256])('$name', (provider) => {
  test('gives the published digests', () => {
    using(provider, () => {
      for (const [text, hex] of vectors) expect(sha256Hex(encodeUtf8(text))).toBe(hex);
      expect(sha256Provider()).toBe(provider.name);
    });
  });

  test('writes the digest of a range at a position and touches nothing else', () => {
    using(provider, () => {
      const bytes = encodeUtf8('..abc..');
      const out = new Uint8Array(40).fill(0xaa);
      sha256Into(bytes, 2, 5, out, 4);
      expect(toHex(out)).toBe(`aaaaaaaa${vectors[1]![1]}aaaaaaaa`);
    });
  });

  test('writes into a view that starts inside its buffer', () => {
    using(provider, () => {
      const whole = new Uint8Array(64);
      sha256Into(encodeUtf8('abc'), 0, 3, whole.subarray(8, 48), 8);
      expect(toHex(whole)).toBe(`${'00'.repeat(16)}${vectors[1]![1]}${'00'.repeat(16)}`);
    });
  });

  test('an incremental digest equals the one-shot digest however the bytes are split', () => {
    using(provider, () => {
      const prng = new Prng(7);
      const bytes = prng.bytes(3_000);
      for (let round = 0; round < 20; round++) {
        const hash = incrementalSha256();
        let at = 0;
        while (at < bytes.length) {
          const n = Math.min(bytes.length - at, prng.below(300));
          hash.update(bytes.subarray(at, at + n));
          at += n;
        }
        expect(toHex(hash.digest())).toBe(sha256Hex(bytes));
      }
    });
  });
});

test('both providers and every slower form agree at every length around the block size', () => {
  const bytes = new Prng(1).bytes(300);
  const out = [new Uint8Array(32), new Uint8Array(32), new Uint8Array(32), new Uint8Array(32)] as const;
  for (let n = 0; n <= 260; n++) {
    nodeSha256.into(bytes, n % 40, (n % 40) + n, out[0], 0);
    nobleSha256.into(bytes, n % 40, (n % 40) + n, out[1], 0);
    intoByCreateHash(bytes, n % 40, (n % 40) + n, out[2], 0);
    intoByCharCodes(bytes, n % 40, (n % 40) + n, out[3], 0);
    for (const other of out.slice(1)) expect(toHex(other)).toBe(toHex(out[0]));
  }
});

test('bytes in WebAssembly memory hash like any others', () => {
  const scope = globalThis as unknown as {
    WebAssembly: { Memory: new (d: { initial: number }) => { buffer: ArrayBuffer } };
  };
  const memory = new Uint8Array(new scope.WebAssembly.Memory({ initial: 1 }).buffer);
  memory.set(encodeUtf8('abc'), 100);
  expect(toHex(sha256(memory.subarray(100, 103)))).toBe(vectors[1]![1]);
});

test('a range outside its buffer is refused before anything is read or written', () => {
  const out = new Uint8Array(32);
  expect(() => sha256Into(new Uint8Array(4), 0, 5, out, 0)).toThrow('hashed range');
  expect(() => sha256Into(new Uint8Array(4), 3, 2, out, 0)).toThrow('hashed range');
  expect(() => sha256Into(new Uint8Array(4), 0, 4, out, 1)).toThrow('digest fits');
});
