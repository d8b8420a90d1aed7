import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex, viewOf } from '../../src/base/bytes.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import { type Catalog, catalogHead, decodeCatalogFile, encodeCatalogFile } from '../../src/format/catalog.ts';
import { fileHeader } from '../../src/format/file-header.ts';
import { frameHeaderBytes, logFrame } from '../../src/format/log-frame.ts';

const ids = { dbUuid: new Uint8Array(16).fill(3), salt: Uint8Array.from({ length: 12 }, (_, i) => i + 20) };
const file = 'cat/x.cat';

const small: Catalog = {
  no: 12,
  generation: 30,
  previousCatalogNo: 11,
  checkpointSeq: 500,
  walFirstNo: 10,
  nextFileNo: 13,
  timelineId: 1,
  features: 0,
  tables: [
    {
      tree: 1,
      level: 2,
      no: 4,
      size: 8192,
      entries: 77,
      minKey: Uint8Array.of(1, 2, 3),
      maxKey: Uint8Array.of(9),
      minSeq: 5,
      maxSeq: 499,
      checksum: 0xfedc_ba98_7654_3210n,
    },
  ],
  sealed: [{ no: 5, class: 0, size: 9000, frames: 12, dataLen: 8000, trailerChecksum: 1n }],
  unsealed: [{ no: 6, class: 4, committedOff8: 99 }],
  dropped: [
    { kind: 'tab', no: 2 },
    { kind: 'seg', no: 3 },
    { kind: 'wal', no: 1 },
    { kind: 'cat', no: 7 },
  ],
};

const decode = (bytes: Uint8Array, no = 12): ReturnType<typeof decodeCatalogFile> =>
  decodeCatalogFile(bytes, { no, dbUuid: ids.dbUuid }, file);

const u32 = fc.nat(0xffff_ffff);
const nat = fc.maxSafeNat();
const hash = fc.bigInt(0n, 2n ** 64n - 1n);
const key = fc.uint8Array({ maxLength: 30 });
const catalogs = fc.record({
  no: nat,
  generation: nat,
  previousCatalogNo: nat,
  checkpointSeq: nat,
  walFirstNo: nat,
  nextFileNo: nat,
  timelineId: nat,
  features: fc.constant(0),
  tables: fc.array(
    fc.record({
      tree: fc.nat(255),
      level: fc.nat(255),
      no: nat,
      size: nat,
      entries: nat,
      minKey: key,
      maxKey: key,
      minSeq: nat,
      maxSeq: nat,
      checksum: hash,
    }),
    { maxLength: 5 },
  ),
  sealed: fc.array(
    fc.record({ no: nat, class: fc.nat(255), size: nat, frames: u32, dataLen: nat, trailerChecksum: hash }),
    { maxLength: 5 },
  ),
  unsealed: fc.array(fc.record({ no: nat, class: fc.nat(255), committedOff8: u32 }), { maxLength: 5 }),
  dropped: fc.array(
    fc.record({
      kind: fc.constantFrom('cat' as const, 'wal' as const, 'tab' as const, 'seg' as const),
      no: nat,
    }),
    { maxLength: 5 },
  ),
});

/** Changes the payload of both bodies and makes their checksums right again. */
function forged(change: (payload: Uint8Array) => void): Uint8Array {
  const { bytes } = encodeCatalogFile(small, ids);
  const length = (bytes.length - fileHeader.size) / 2;
  const seed = new FileSeed(ids.salt);
  for (const at of [fileHeader.size, fileHeader.size + length]) {
    const payloadLen = viewOf(bytes).getUint32(at + logFrame.at.payloadLen, true);
    const end = at + frameHeaderBytes + payloadLen;
    change(bytes.subarray(at + frameHeaderBytes, end));
    writeChecksum(bytes, at + logFrame.at.checksum, at + logFrame.at.seqFirst, end, seed.at(at));
  }
  return bytes;
}

describe('catalog file', () => {
  test('has the bytes that version 1.0 wrote', () => {
    const { bytes, bodyChecksum } = encodeCatalogFile(small, ids);
    expect(toHex(bytes)).toBe(golden);
    expect(bodyChecksum).toBe(goldenBody);
  });

  test('decodes to what was encoded, with the same body checksum', () => {
    fc.assert(
      fc.property(catalogs, (catalog) => {
        const { bytes, bodyChecksum } = encodeCatalogFile(catalog, ids);
        expect(decode(bytes, catalog.no)).toEqual({ catalog, bodyChecksum, damage: undefined });
      }),
      { numRuns: 60 },
    );
  });

  test('a flipped bit in any byte is either reported beside the right catalog or refused', () => {
    const { bytes, bodyChecksum } = encodeCatalogFile(small, ids);
    for (let bit = 0; bit < bytes.length * 8; bit += bit % 64 < 16 ? 1 : 7) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (bit < fileHeader.size * 8) {
        expect(() => decode(bytes)).toThrow(expect.objectContaining({ code: 'VARVE_CORRUPT' }));
      } else {
        const read = decode(bytes);
        expect(read.damage?.code, `bit ${bit}`).toBe('VARVE_CORRUPT');
        expect(read.bodyChecksum).toBe(bodyChecksum);
        if (bit % 61 === 0) expect(read.catalog).toEqual(small);
      }
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  test('either body may be lost, not both, and a cut file is read as far as it is whole', () => {
    const { bytes } = encodeCatalogFile(small, ids);
    const length = (bytes.length - fileHeader.size) / 2;
    const second = fileHeader.size + length;
    expect(decode(bytes.slice().fill(0xff, fileHeader.size, second)).catalog).toEqual(small);
    expect(decode(bytes.slice().fill(0xff, second)).catalog).toEqual(small);
    expect(decode(bytes.subarray(0, bytes.length - 8))).toMatchObject({
      catalog: small,
      damage: { code: 'VARVE_CORRUPT' },
    });
    expect(() => decode(bytes.slice().fill(0, fileHeader.size))).toThrow(
      expect.objectContaining({ code: 'VARVE_CORRUPT', file, offset: 64 }),
    );
    for (const end of [0, 63, 64, second - 1])
      expect(() => decode(bytes.subarray(0, end))).toThrow(
        expect.objectContaining({ code: 'VARVE_CORRUPT' }),
      );
    const longer = new Uint8Array(bytes.length + 16);
    longer.set(bytes);
    expect(decode(longer)).toMatchObject({ catalog: small, damage: { code: 'VARVE_CORRUPT' } });
  });

  test('another number, store or kind of file is refused', () => {
    const { bytes } = encodeCatalogFile(small, ids);
    expect(() => decode(bytes, 13)).toThrow('file number differs');
    expect(() => decodeCatalogFile(bytes, { no: 12, dbUuid: new Uint8Array(16) }, file)).toThrow(
      'another store',
    );
  });

  test('counts beyond the body and unknown kinds are refused before anything is made of them', () => {
    for (const field of ['tables', 'sealed', 'unsealed', 'dropped'] as const) {
      const bytes = forged((payload) => viewOf(payload).setUint32(catalogHead.at[field], 0xffff_ffff, true));
      expect(() => decode(bytes)).toThrow('counts exceed');
    }
    expect(() =>
      decode(
        forged((payload) => {
          payload[payload.length - 8] = 5;
        }),
      ),
    ).toThrow('unknown kind');
    expect(() =>
      decode(
        forged((payload) => {
          payload[catalogHead.at.dropped] = 3;
        }),
      ),
    ).toThrow('left over');
    expect(() =>
      decode(forged((payload) => viewOf(payload).setUint32(catalogHead.at.features, 2 ** 31, true))),
    ).toThrow(expect.objectContaining({ code: 'VARVE_FORMAT_VERSION' }));
  });
});

const golden = [
  '895652430d0a1a0a00014300000000000c00000000000000030303030303030303030303030303031415161718191a1b',
  '1c1d1e1f00000000346f526eeb48d1f75652434700010000daaa2119559b7e8a1e000000000000000100000005000000',
  '000000000000000000000000000000000b00000000000000f4010000000000000a000000000000000d00000000000000',
  '010000000000000000000000010000000100000001000000040000000000000004000000000000000020000000000000',
  '4d000000000000000500000000000000f3010000000000001032547698badcfe03000000010000000102000000000000',
  '010203090000000005000000000000002823000000000000401f00000000000001000000000000000c00000000000000',
  '060000000000000063000000040000000200000000000000030000000000000003000000000000000400000000000000',
  '010000000000000002000000000000000700000000000000010000000000000056524347000100000dc579387e38094c',
  '1e000000000000000100000005000000000000000000000000000000000000000b00000000000000f401000000000000',
  '0a000000000000000d000000000000000100000000000000000000000100000001000000010000000400000000000000',
  '040000000000000000200000000000004d000000000000000500000000000000f3010000000000001032547698badcfe',
  '03000000010000000102000000000000010203090000000005000000000000002823000000000000401f000000000000',
  '01000000000000000c000000000000000600000000000000630000000400000002000000000000000300000000000000',
  '030000000000000004000000000000000100000000000000020000000000000007000000000000000100000000000000',
].join('');
const goldenBody = 12618215024056364076n;
