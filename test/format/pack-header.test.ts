import { expect, test } from 'vitest';
import { PackBuilder } from '../../src/backup/pack-builder.ts';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { encodeFileHeader } from '../../src/format/file-header.ts';
import { decodePackHeader, encodePackHeader, packNamings } from '../../src/format/pack-header.ts';
import { sha256, sha256Hex } from '../../src/kernels/hash/sha256.ts';

const vaultId = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const salt = Uint8Array.from({ length: 12 }, (_, i) => 0xa0 + i);

test('the header of a pack says that the skeleton names it', () => {
  const header = encodePackHeader(vaultId, salt);
  expect(toHex(header)).toBe(
    '895652500d0a1a0a00015001000000000000000000000000' +
      '0102030405060708090a0b0c0d0e0f10a0a1a2a3a4a5a6a7a8a9aaab00000000db51935a8bf01167',
  );
  expect(decodePackHeader(header, vaultId, 'p').subKind).toBe(packNamings.skeleton);
  for (let bit = 0; bit < header.length * 8; bit++) {
    const damaged = header.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect(() => decodePackHeader(damaged, vaultId, 'p')).toThrow();
  }
});

test('a pack that is named in another way is of a newer format, one named by its bytes is known', () => {
  const of = (subKind: number) =>
    encodeFileHeader({ kind: 'pack', subKind, fileNo: 0, dbUuid: vaultId, salt });
  expect(decodePackHeader(of(0), vaultId, 'p').subKind).toBe(packNamings.bytes);
  const refused = (): unknown => {
    try {
      return decodePackHeader(of(2), vaultId, 'p');
    } catch (error) {
      return error;
    }
  };
  expect(isVarveError(refused(), 'VARVE_FORMAT_VERSION')).toBe(true);
});

test('the name is a hash of header, headers of frames, trailer and footer, in this order', () => {
  const builder = new PackBuilder(vaultId, salt, 4096);
  const [a, b] = [fromHex('010203'), new Uint8Array(20).fill(7)];
  builder.addChunk(sha256(a), a, 0);
  builder.addChunk(sha256(b), b, 2);
  const { bytes, hash } = builder.finish();
  const skeleton = [bytes.subarray(0, 128), bytes.subarray(136, 200), bytes.subarray(224)];
  expect(sha256Hex(Buffer.concat(skeleton))).toBe(hash);
  expect(hash).toBe('d2fcca12ab13115306afddcbdd37b466af2b88c3af30bca41cce32e406d49171');
});
